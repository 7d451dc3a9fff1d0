// Two ends of byte streams in memory, which move bytes in pieces as bad as a network's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <system_error>

#include "nd-echo/network.hpp"

namespace nd::apps::test {

/// One direction.
struct pipe {
  std::deque<std::byte> bytes;
  std::size_t room = 20000;
  bool fin = false;
};

struct connection_state {
  pipe there;
  pipe back;
  bool reset = false;
};

/// Takes and gives random amounts, and now and then nothing.
class fake_stream {
 public:
  fake_stream(std::shared_ptr<connection_state> state, bool client, std::mt19937_64& random)
      : state_(std::move(state)), client_(client), random_(&random) {}

  io_status connect_status() {
    return state_ ? io_status::ok : fail(std::errc::connection_refused);
  }

  io_result read_some(std::span<std::byte> in) {
    if (state_->reset) return {0, fail(std::errc::connection_reset)};
    pipe& p = client_ ? state_->back : state_->there;
    const std::size_t n = some(std::min(in.size(), p.bytes.size()));
    if (n == 0) return {0, p.bytes.empty() && p.fin ? io_status::eof : io_status::would_block};
    std::copy_n(p.bytes.begin(), n, in.begin());
    p.bytes.erase(p.bytes.begin(), p.bytes.begin() + static_cast<std::ptrdiff_t>(n));
    return {n, io_status::ok};
  }

  io_result write_some(std::span<const std::byte> out) {
    if (state_->reset) return {0, fail(std::errc::connection_reset)};
    pipe& p = client_ ? state_->there : state_->back;
    const std::size_t n = some(std::min(out.size(), p.room - p.bytes.size()));
    if (n == 0) return {};
    p.bytes.insert(p.bytes.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n));
    return {n, io_status::ok};
  }

  void shutdown_send() { (client_ ? state_->there : state_->back).fin = true; }
  std::error_code error() const { return error_; }
  std::string peer() const { return "fake"; }
  std::size_t unacknowledged() const { return 0; }

 private:
  std::size_t some(std::size_t most) {
    const std::uint64_t r = (*random_)();
    if (most == 0 || r % 4 == 0) return 0;
    return r % 4 == 1 ? most : 1 + (r >> 8) % most;
  }
  io_status fail(std::errc code) {
    error_ = std::make_error_code(code);
    return io_status::failed;
  }

  std::shared_ptr<connection_state> state_;
  bool client_;
  std::mt19937_64* random_;
  std::error_code error_;
};

/// Connections wait in `accepted` for the test's server; each poll() first calls `on_poll`.
class fake_network {
 public:
  using stream = fake_stream;
  struct listener {
    std::optional<fake_stream> accept(bool) { return std::nullopt; }
  };

  explicit fake_network(std::uint64_t seed) : random(seed) {}

  void poll(bool) {
    if (on_poll) on_poll();
  }
  stream connect(const host_port&, echo::mode) {
    if (refusals != 0) {
      --refusals;
      return {nullptr, true, random};
    }
    last = std::make_shared<connection_state>();
    accepted.emplace_back(last, false, random);
    return {last, true, random};
  }
  listener listen(std::uint16_t) { return {}; }
  static connect_failure classify(std::error_code) { return connect_failure::no_server; }

  std::mt19937_64 random;
  unsigned refusals = 0;
  std::function<void()> on_poll;
  std::deque<fake_stream> accepted;
  std::shared_ptr<connection_state> last;
};

static_assert(echo::network<fake_network>);

}  // namespace nd::apps::test
