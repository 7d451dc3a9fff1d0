// Before a valid cookie nobody gets more than he has sent; and each frame is counted, once.
#include "unit/support/connection.hpp"
#include "unit/support/made_peer.hpp"
#include "unit/support/packet_sums.hpp"
#include "wire/icmp.hpp"

namespace nd::test {
namespace {

constexpr std::uint32_t stranger_ip = 0x0a000042;

std::vector<std::byte> ethernet_frame(std::uint16_t type, std::size_t size) {
  std::vector<std::byte> frame(std::max(size, wire::ethernet_min_frame));
  auto& e = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
  e.destination = made_mac(0);
  e.source = {2, 6, 6, 6, 6, 6};
  e.type = type;
  return frame;
}

std::vector<std::byte> arp_frame(std::uint16_t operation, std::uint32_t sender,
                                 std::uint32_t target) {
  auto frame = ethernet_frame(wire::ethertype_arp, 0);
  wire::at<wire::arp_packet>(static_cast<void*>(&frame[sizeof(wire::ethernet_header)])) =
      wire::make_arp(operation, {2, 6, 6, 6, 6, 6}, sender, {}, target);
  return frame;
}

std::vector<std::byte> ping_frame(std::size_t payload, std::uint8_t type) {
  constexpr std::size_t start = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
  const std::size_t size = sizeof(wire::icmp_header) + payload;
  auto frame = ethernet_frame(wire::ethertype_ipv4, start + size);
  void* const ip = &frame[sizeof(wire::ethernet_header)];
  wire::write_ipv4(wire::at<wire::ipv4_header>(ip), stranger_ip, made_ip(0), wire::protocol_icmp, 0,
                   size);
  auto& icmp = wire::at<wire::icmp_header>(static_cast<void*>(&frame[start]));
  icmp.type = type;
  icmp.checksum = std::uint16_t{0};
  icmp.checksum = wire::inet_checksum(wire::inet_sum(0, std::span(frame).subspan(start, size)));
  return frame;
}

core::host_address stranger(bool udp) {
  return {.ip = stranger_ip,
          .prefix = 24,
          .mac = {2, 6, 6, 6, 6, 6},
          .udp = udp,
          .ip_protocol = 19,
          .udp_port = 9019};
}

/// A packet of `kind` with a body of that size, or a record with it.
std::vector<std::byte> nd_frame(wire::packet_kind kind, std::size_t size, bool udp,
                                std::uint32_t channel, std::uint32_t tag) {
  wire::channel_header h{};
  h.version = wire::nd_version;
  h.kind = kind;
  h.channel = channel;
  h.tag = tag;
  std::vector<std::byte> body(size, std::byte{1});
  wire::handshake_body asked;  // of an INIT that makes sense, where there is room for it
  std::memset(&asked, 1, sizeof asked);
  asked.mtu = std::uint16_t{1500};
  if (size >= sizeof asked) std::memcpy(body.data(), &asked, sizeof asked);
  return made_packet(stranger(udp), 0, h, [&](wire::packet_writer& w) {
    if (!wire::has_records(kind)) return w.append_body(body);
    if (size < sizeof(wire::record_header)) return;
    wire::record r;
    r.length = static_cast<std::uint16_t>(size - sizeof(wire::record_header));
    const auto payload = std::span<const std::byte>(body).first(r.length);
    w.append(r, payload, wire::crc32c(wire::crc32c_start, payload));
  });
}

/// Sends frames to host 0, each after what the last one may have provoked.
struct provoked {
  explicit provoked(bool udp) : pair({.udp = udp}) {
    pair.net.on_frame = [this](made_frame& f, frame_fate&) {
      if (f.from != pair.device(0).number()) return;
      ++answers;
      bytes += std::max(f.bytes.size(), wire::ethernet_min_frame);
    };
  }
  void send(const std::vector<std::byte>& frame) {
    const std::uint64_t had = answers;
    bytes = 0;
    pair.net.inject(pair.now, pair.device(0).number(), frame);
    // Long enough for any limit of rate to have been forgotten.
    pair.now = pair.now + duration::milliseconds(2);
    for (int i = 0; i < 3; ++i) {
      pair.host(0).poll(pair.now);
      pair.now = pair.now + duration::microseconds(10);
    }
    REQUIRE(answers - had <= 1);
    REQUIRE(bytes <= std::max(frame.size(), wire::ethernet_min_frame));
    REQUIRE(packets_add_up(pair.stats(0)));
    REQUIRE(pair.host(0).holdings().peers == 0);
  }
  std::uint64_t answers = 0;
  std::uint64_t bytes = 0;  ///< of the last answer
  host_pair pair;           ///< sends until it is gone
};

TEST_CASE("No answer to a stranger is larger than what provoked it", "[pair][hostile]") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  provoked p(udp);
  for (unsigned kind = 0; kind <= 12; ++kind) {
    constexpr std::array<std::size_t, 13> sizes{0,  1,  15, 16,  17,  40,  47,
                                                48, 49, 64, 100, 500, 1400};
    for (const std::size_t size : sizes) {
      CAPTURE(kind, size);
      for (const std::uint32_t channel : {0U, 1U, 5U, 0xffffffffU})
        for (const std::uint32_t tag : {0U, 1234U})
          p.send(nd_frame(static_cast<wire::packet_kind>(kind), size, udp, channel, tag));
    }
  }
  const counters& c = p.pair.stats(0);
  CHECK(c.aborts_sent.value() > 100);
  CHECK(c.handshake_packets_received.value() > 10);
  for (const std::uint16_t operation : {wire::arp_request, wire::arp_reply})
    for (const std::uint32_t sender : {0U, stranger_ip, 0xc0a80001U})
      for (const std::uint32_t target : {made_ip(0), made_ip(1), 0U})
        p.send(arp_frame(operation, sender, target));
  CHECK(c.arp_replies_sent.value() > 0);
  for (std::size_t payload = 0; payload <= 1472; payload += 23) {
    p.send(ping_frame(payload, wire::icmp_echo_request));
    p.send(ping_frame(payload, wire::icmp_unreachable));
  }
  CHECK(c.icmp_echo_answered.value() > 60);
  CHECK(p.answers == c.aborts_sent.value() + c.handshake_packets_received.value() +
                         c.arp_replies_sent.value() + c.icmp_echo_answered.value());
}

TEST_CASE("Each frame is counted once, however short or wrong it is", "[pair][hostile]") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  provoked p(udp);
  using wire::packet_kind;
  rng random(5);
  std::vector<std::vector<std::byte>> frames{
      nd_frame(packet_kind::init, sizeof(wire::handshake_body), udp, 0, 0),
      nd_frame(packet_kind::cookie_echo, sizeof(wire::handshake_body), udp, 0, 0),
      nd_frame(packet_kind::data, 60, udp, 1, 7),
      nd_frame(packet_kind::abort, 0, udp, 1, 7),
      nd_frame(packet_kind::probe, 100, udp, 1, 7),
      arp_frame(wire::arp_request, stranger_ip, made_ip(0)),
      ping_frame(20, wire::icmp_echo_request)};
  std::uint64_t sent = 0;
  for (const auto& frame : frames) {
    for (std::size_t size = 0; size <= frame.size(); ++size, ++sent) {
      CAPTURE(size);
      p.send({frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size)});
    }
    // One byte of it is another.
    for (std::size_t at = 0; at < frame.size(); ++at, ++sent) {
      auto other = frame;
      other[at] = static_cast<std::byte>(random.next());
      CAPTURE(at);
      p.send(other);
    }
  }
  CHECK(p.pair.stats(0).rx_packets.value() == sent);
  CHECK(p.pair.stats(0).drop_malformed.value() > 50);
  CHECK(p.pair.stats(0).drop_cut.value() > 20);
  CHECK(p.pair.stats(0).drop_checksum.value() > 100);
  CHECK(p.pair.stats(0).drop_not_ours.value() > 20);
}

TEST_CASE("Each frame of a connection is counted once, whatever became of it on its way",
          "[pair][hostile]") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  host_pair p({.seed = 3, .udp = udp});
  rng random(9);
  {
    connection c(p);
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      const std::size_t to = f.from == p.device(0).number() ? 1 : 0;
      if (!random.chance(0.2)) return;
      std::vector<std::byte> copy = f.bytes;
      if (random.chance(0.5))
        copy.resize(random.below(copy.size() + 1));
      else
        copy[random.below(copy.size())] ^= std::byte{0x10};
      p.net.inject(p.now + p.net.latency, p.device(to).number(), copy);
      if (random.chance(0.3)) fate.copies = 2;
    };
    writer a{c.client, 400'000, 1}, b{c.server, 400'000, 2};
    reader ra{c.client, 2}, rb{c.server, 1};
    const auto both = transfer(a, ra, b, rb);
    CHECK(p.run_until(
        [&] {
          REQUIRE(packets_add_up(p.stats(0)));
          REQUIRE(packets_add_up(p.stats(1)));
          return both();
        },
        duration::seconds(5)));
    CHECK(ra.wrong + rb.wrong == 0);
    CHECK(p.stats(0).drop_duplicate.value() > 0);
    p.net.on_frame = nullptr;
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
