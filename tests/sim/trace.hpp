// What happened in a run: always as a hash, and as text where it is asked for.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <cstdio>
#include <span>
#include <utility>

#include "base/time.hpp"
#include "unit/support/made_wire.hpp"
#include "wire/checksum.hpp"

namespace nd::sim {

class trace {
 public:
  /// Prints to `out` where it is not null.
  explicit trace(std::FILE* out = nullptr) : out_(out) {}

  std::uint64_t hash() const noexcept { return hash_; }
  bool printing() const noexcept { return out_ != nullptr; }

  void mix(std::uint64_t value) noexcept {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15u;
    hash_ ^= hash_ >> 29;
  }
  void mix(std::span<const std::byte> bytes) noexcept {
    mix(wire::crc32c(wire::crc32c_start, bytes));
  }

  /// Something that is no frame. The arguments are hashed as they are printed.
  template <class... Args>
  void note(instant now, fmt::format_string<Args...> text, Args&&... args) {
    const std::string line = fmt::format(text, std::forward<Args>(args)...);
    mix(static_cast<std::uint64_t>(now.ns()));
    mix(std::as_bytes(std::span(line)));
    print(now, line);
  }
  /// A frame on its way from host `from` to host `to`; it arrives in each of `arrivals`.
  void frame(instant now, std::size_t from, std::size_t to, test::made_frame& f,
             std::span<const test::frame_arrival> arrivals, const char* fate);

 private:
  void print(instant now, const std::string& line);

  std::FILE* out_;
  std::uint64_t hash_ = 0x243f6a8885a308d3u;
};

/// One line: its kind, numbers and records.
std::string describe(test::made_frame& f);

}  // namespace nd::sim
