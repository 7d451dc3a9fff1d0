// Ping: what is answered, what is not, and how much of it.
#include "wire/icmp.hpp"
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

constexpr std::size_t icmp_at = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);

struct ping {
  std::size_t payload = 56;
  std::uint32_t source = host_pair::ip_of(0);
  std::uint32_t target = host_pair::ip_of(1);
  mac_address target_mac = host_pair::mac_of(1);
  std::uint8_t type = wire::icmp_echo_request;
  std::uint8_t code = 0;
};

std::vector<std::byte> frame_of(const ping& p) {
  const std::size_t size = sizeof(wire::icmp_header) + p.payload;
  std::vector<std::byte> f(std::max(icmp_at + size, wire::ethernet_min_frame), std::byte{0xee});
  auto& e = wire::at<wire::ethernet_header>(static_cast<void*>(f.data()));
  e.destination = p.target_mac;
  e.source = host_pair::mac_of(0);
  e.type = wire::ethertype_ipv4;
  wire::write_ipv4(wire::at<wire::ipv4_header>(static_cast<void*>(f.data() + sizeof e)), p.source,
                   p.target, wire::protocol_icmp, 0, size);
  auto& icmp = wire::at<wire::icmp_header>(static_cast<void*>(f.data() + icmp_at));
  icmp.type = p.type;
  icmp.code = p.code;
  icmp.identifier = std::uint16_t{0x1234};
  icmp.sequence = std::uint16_t{7};
  icmp.checksum = std::uint16_t{0};
  for (std::size_t i = 0; i < p.payload; ++i)
    f[icmp_at + sizeof icmp + i] = static_cast<std::byte>(i * 5);
  icmp.checksum = wire::inet_checksum(wire::inet_sum(0, std::span(f).subspan(icmp_at, size)));
  return f;
}

/// Sends frames to host 1, and keeps what it sends.
struct pinged {
  pinged() {
    pair.net.on_frame = [this](made_frame& f, frame_fate&) {
      if (f.from == 1) answers.push_back(f.bytes);
    };
  }
  void send(std::vector<std::byte> frame) { pair.net.inject(pair.now, 1, std::move(frame)); }
  const counters& stats() { return pair.stats(1); }

  host_pair pair;
  std::vector<std::vector<std::byte>> answers;
};

TEST_CASE("Echo requests of every size up to the MTU are answered", "[pair][icmp]") {
  constexpr std::size_t mtu = 1500;
  pinged p;
  const std::size_t most = mtu - sizeof(wire::ipv4_header) - sizeof(wire::icmp_header);
  for (const std::size_t payload : {std::size_t{0}, std::size_t{1}, std::size_t{56}, most}) {
    CAPTURE(payload);
    const std::vector<std::byte> request = frame_of({.payload = payload});
    p.answers.clear();
    p.send(request);
    p.pair.run_for(duration::milliseconds(1));
    REQUIRE(p.answers.size() == 1);
    std::vector<std::byte>& reply = p.answers.front();
    const auto& e = wire::at<wire::ethernet_header>(static_cast<const void*>(reply.data()));
    CHECK(e.destination == host_pair::mac_of(0));
    CHECK(e.source == host_pair::mac_of(1));
    const auto& ip = wire::at<wire::ipv4_header>(static_cast<const void*>(reply.data() + sizeof e));
    CHECK(wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(ip))) == 0);
    CHECK(ip.source == host_pair::ip_of(1));
    CHECK(ip.destination == host_pair::ip_of(0));
    CHECK(ip.time_to_live == 64);
    const std::size_t size = sizeof(wire::icmp_header) + payload;
    REQUIRE(ip.total_length == sizeof ip + size);
    const auto message = std::span(reply).subspan(icmp_at, size);
    CHECK(wire::is_icmp_intact(message));
    CHECK(message[0] == std::byte{wire::icmp_echo_reply});
    // Identifier, sequence and payload come back as they were.
    CHECK(
        std::ranges::equal(message.subspan(4), std::span(request).subspan(icmp_at + 4, size - 4)));
  }
  CHECK(p.stats().icmp_echo_received.value() == 4);
  CHECK(p.stats().icmp_echo_answered.value() == 4);
  p.pair.net.on_frame = nullptr;
  require_nothing_left(p.pair);
}

TEST_CASE("Pings that must not be answered are counted", "[pair][icmp]") {
  struct row {
    const char* what;
    ping request;
    std::size_t broken_byte;  ///< 0: none
    count counters::*counter;
  };
  const std::size_t data = icmp_at + sizeof(wire::icmp_header);
  const std::array rows{
      row{"another host's address", {.target = 0x0a000009}, 0, &counters::drop_not_ours},
      row{"the prefix's broadcast address", {.target = 0x0a0000ff}, 0, &counters::drop_not_ours},
      row{"everybody's MAC address", {.target_mac = mac_broadcast}, 0, &counters::drop_not_ours},
      row{"from nobody", {.source = 0}, 0, &counters::drop_not_ours},
      row{"from the broadcast address", {.source = 0x0a0000ff}, 0, &counters::drop_not_ours},
      row{"from a multicast address", {.source = 0xe0000001}, 0, &counters::drop_not_ours},
      row{"from ourselves", {.source = 0x0a000002}, 0, &counters::drop_not_ours},
      row{"from 127.0.0.1", {.source = 0x7f000001}, 0, &counters::drop_not_ours},
      row{"a reply", {.type = wire::icmp_echo_reply}, 0, &counters::drop_not_ours},
      row{"an unknown code", {.code = 1}, 0, &counters::drop_not_ours},
      row{"unreachable", {.type = 3, .code = 2}, 0, &counters::icmp_unreachable_received},
      row{"a wrong checksum", {}, data + 3, &counters::drop_checksum},
      row{"larger than the MTU", {.payload = 1473}, 0, &counters::icmp_echo_limited},
  };
  pinged p;
  for (const row& r : rows) {
    CAPTURE(r.what);
    std::vector<std::byte> f = frame_of(r.request);
    if (r.broken_byte != 0) f[r.broken_byte] ^= std::byte{0x10};
    const std::uint64_t before = (p.stats().*r.counter).value();
    p.send(std::move(f));
    p.pair.run_for(duration::milliseconds(1));
    CHECK((p.stats().*r.counter).value() == before + 1);
    CHECK(p.answers.empty());
  }
  // Cut off within the ICMP header.
  std::vector<std::byte> f = frame_of({});
  wire::write_ipv4(
      wire::at<wire::ipv4_header>(static_cast<void*>(f.data() + sizeof(wire::ethernet_header))),
      host_pair::ip_of(0), host_pair::ip_of(1), wire::protocol_icmp, 0, 7);
  p.send(std::move(f));
  p.pair.run_for(duration::milliseconds(1));
  CHECK(p.stats().drop_malformed.value() == 1);
  CHECK(p.answers.empty());
  p.pair.net.on_frame = nullptr;
  require_nothing_left(p.pair);
}

TEST_CASE("A flood of pings is answered in part, and does not stop a connection", "[pair][icmp]") {
  pinged p;
  {
    connection c(p.pair);
    const instant start = p.pair.now;
    p.answers.clear();
    constexpr int flood = 2000;
    for (int i = 0; i < flood; ++i)
      p.pair.net.inject(start + duration::microseconds(i * 5), 1, frame_of({}));
    c.client.write(bytes_of_text("through"));
    CHECK(read_all(p.pair, c.server, 7) == bytes_of_text("through"));
    p.pair.run_for(start + duration::milliseconds(11) - p.pair.now);
    CHECK(p.stats().icmp_echo_received.value() == flood);
    CHECK(p.stats().icmp_echo_answered.value() >= 900);
    CHECK(p.stats().icmp_echo_answered.value() <= 1200);
    CHECK(p.stats().icmp_echo_answered.value() + p.stats().icmp_echo_limited.value() == flood);
  }
  p.pair.net.on_frame = nullptr;
  require_nothing_left(p.pair);
}

}  // namespace
}  // namespace nd::test
