// Scripted packets (packetdrill's idea): one whole host, production code from the port up, and a
// script that plays its peer at the wire. Each frame that the host sends must be expected, in order
// and in time; docs/reliability.md says how a script is written.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/counters.hpp"
#include "script/support/packet.hpp"
#include "script/support/script_port.hpp"
#include "sim/checks.hpp"
#include "unit/support/app.hpp"
#include "unit/support/made_host.hpp"

namespace nd::script {

constexpr duration operator""_us(unsigned long long n) {
  return duration::microseconds(static_cast<std::int64_t>(n));
}
constexpr duration operator""_ms(unsigned long long n) {
  return duration::milliseconds(static_cast<std::int64_t>(n));
}
constexpr duration operator""_s(unsigned long long n) {
  return duration::seconds(static_cast<std::int64_t>(n));
}

using test::app_socket;

/// A counter of the host, as counters.def names it.
using counter = count counters::*;

struct script_options {
  bool udp = false;
  std::uint16_t mtu = 1500;  ///< of the host's device
  std::function<void(settings&)> adjust = {};
  std::function<void(core::host_config&)> configure = {};
  /// Told of the first failure, in place of the test framework; the script goes on.
  std::function<void(const std::string&)> on_failure = {};
};

/// What the peer knows of one channel. Numbers are counted from the first one of their direction.
struct channel_end {
  std::uint32_t id = 0;   ///< the peer's
  std::uint32_t tag = 0;  ///< the peer's
  std::uint32_t first = 5000;
  std::uint8_t traffic_class = 0;
  std::uint32_t host_id = 0;
  std::uint32_t host_tag = 0;
  std::uint32_t host_first = 0;
  std::int64_t next = 0;             ///< of the peer's packets
  std::int64_t seen = 0;             ///< one more than the largest of the host's that was expected
  std::int64_t floor = 0;            ///< what the host has acknowledged
  std::optional<std::int64_t> held;  ///< acknowledged in place of `seen`
  std::uint32_t ce_bytes = 0;
  cookie its_cookie{};
  bool checksums = true;
};

/// Ports and id of the connection that records belong to unless they say otherwise.
struct stream {
  std::uint16_t peer_port = 7000;
  std::uint16_t host_port = 80;
  std::uint64_t connection = 77'000;
};

class script {
 public:
  /// Later than a deadline a timer may fire: a tick of the wheel, and a turn of the loop.
  static constexpr duration slack = duration::nanoseconds(17'500);
  /// What is expected without a time comes within this.
  static constexpr duration at_once = duration::microseconds(5);

  explicit script(script_options options = {});
  ~script();
  script(const script&) = delete;
  script& operator=(const script&) = delete;

  // The peer.

  /// The packet arrives now.
  void send(const packet& p, int line = __builtin_LINE());
  /// The same; the host drops it, and counts it there.
  void send_in_vain(const packet& p, counter reason, int line = __builtin_LINE());
  /// Any frame.
  void send_raw(std::vector<std::byte> frame);
  std::vector<std::byte> encoded(const packet& p) const;
  /// The host's next frame is this one, and leaves at once.
  packet expect(const packet& p, int line = __builtin_LINE());
  /// It leaves within `limit`; time goes on until it does.
  packet expect_within(duration limit, const packet& p, int line = __builtin_LINE());
  /// It leaves in `wait` from now, not earlier, and at most `slack` later.
  packet expect_after(duration wait, const packet& p, int line = __builtin_LINE());
  /// Time goes on, and the host sends nothing.
  void expect_nothing(duration span = at_once, int line = __builtin_LINE());
  void after(duration span, int line = __builtin_LINE()) { expect_nothing(span, line); }
  /// Frames that leave meanwhile are not looked at; the peer has not seen them.
  std::vector<packet> ignore_for(duration span);

  // What scripts often begin with.

  /// INIT to COOKIE_ACK, by the peer or by a host whose application has connected.
  void peer_opens(std::size_t channel = 0, int line = __builtin_LINE());
  void host_opens(std::size_t channel = 0, int line = __builtin_LINE());
  /// The peer opens a channel and connects to port 80, which the script listens at.
  app_socket peer_connects(int line = __builtin_LINE());
  /// The host opens a channel and connects to the peer's port 9000.
  app_socket host_connects(int line = __builtin_LINE());
  /// From here on the peer is a later boot: another channel end, with other numbers.
  void peer_restarts(std::uint64_t new_epoch);

  // The host's application.

  void listen(std::uint16_t port = 80, unsigned backlog = 128);
  void stop_listening();
  app_socket accept(int line = __builtin_LINE());
  app_socket connect(std::uint16_t port = 9000, std::uint8_t traffic_class = 0);
  static std::size_t write(app_socket& s, const std::string& text);
  /// All that there is; the host gets turns meanwhile, but time stands still.
  std::string read(app_socket& s);

  // What is known, and may be changed.

  channel_end& end(std::size_t channel = 0) { return ends_[channel]; }
  core::host& host() { return *host_; }
  std::uint64_t value(counter c) const { return (host_->stats().*c).value(); }
  instant now() const { return now_; }
  const settings& values() const { return values_; }
  test::host_pools& pools() const { return *pools_; }
  script_port& device() { return port_; }
  bool failed() const { return failed_; }

  static constexpr std::uint64_t host_epoch = 1'000'000;
  std::uint64_t epoch = 50'000;   ///< of the peer
  std::uint16_t mtu = 1200;       ///< the peer says; so small that there is no search for a larger
  std::uint64_t grant = 100'000;  ///< in the peer's records
  std::uint64_t host_grant = 0;   ///< in the last record of the host's that was expected
  stream current;

 private:
  struct sent_frame {
    instant when;
    std::vector<std::byte> bytes;
  };

  packet complete(packet p) const;
  packet expectation(packet p) const;
  record complete(record r) const;
  void poll();
  bool run_until_frame(instant limit);
  packet take(const packet& expected, instant earliest, int line);
  void learn(const packet& p, std::size_t channel);
  std::optional<packet> understood(const std::vector<std::byte>& frame) const;
  std::string time_of(instant t) const;
  void note(instant when, const char* who, const std::string& what);
  void fail(const std::string& what, int line);
  void unexpected(const std::string& instead_of, int line);
  way from_peer() const;
  way from_host() const;

  script_options options_;
  settings values_;
  test::host_pools* pools_;
  unsigned in_use_before_;
  instant now_{2'000'000'000};
  instant start_ = now_;
  script_port port_;
  std::unique_ptr<core::host> host_;
  std::unique_ptr<sim::host_checks> checks_;
  std::vector<std::unique_ptr<test::app_listener>> listeners_;
  std::vector<channel_end> ends_;
  std::deque<sent_frame> frames_;
  std::vector<std::string> ladder_;
  bool failed_ = false;
};

}  // namespace nd::script
