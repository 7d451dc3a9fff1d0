// What the lanes of one client share.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/histogram.hpp"
#include "nd-echo/turn_clock.hpp"

namespace nd::apps::echo {

/// What was measured in some time.
struct sums {
  histogram latency;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;  ///< stream, mixed: what the server received; else: what came back

  void merge(const sums& other) noexcept {
    latency.merge(other.latency);
    messages += other.messages;
    bytes += other.bytes;
  }
  void clear() noexcept {
    latency.clear();
    messages = 0;
    bytes = 0;
  }
};

/// One thread's, like the loop that it belongs to. A lane is one connection at a time.
class bench {
 public:
  explicit bench(std::string tool) : tool_(std::move(tool)) {}

  turn_clock clock;
  bool measuring = false;     ///< warm-up is over, and the end not reached
  bool streams_only = false;  ///< mixed: what is echoed is not in `current.bytes`
  sums current;               ///< since the last interval line
  std::uint64_t errors = 0;
  std::uint64_t verify_failures = 0;  ///< wrong bytes, found at either end

  /// Where to read into. One for all lanes, so that it stays in the cache.
  std::span<std::byte> scratch() noexcept { return scratch_; }

  /// `count` messages of `size` bytes have come back by clock.now(), first written at `sent`.
  void record(turn_clock::time_point sent, std::uint64_t count, std::uint64_t size) noexcept {
    if (!measuring) return;
    const auto ns = static_cast<std::uint64_t>((clock.now() - sent).count());
    for (std::uint64_t i = 0; i < count; ++i) current.latency.record(ns);
    current.messages += count;
    if (!streams_only) current.bytes += count * size;
  }

  /// Counts an error of a connection, and says so.
  void error(std::string_view peer, std::string_view what) {
    ++errors;
    fmt::print(stderr, "{}: {}: {}\n", tool_, peer, what);
  }

 private:
  std::string tool_;
  std::vector<std::byte> scratch_ = std::vector<std::byte>(65536);
};

}  // namespace nd::apps::echo
