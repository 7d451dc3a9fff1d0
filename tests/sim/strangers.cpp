#include "sim/strangers.hpp"

#include <array>

#include "unit/support/made_packet.hpp"
#include "wire/icmp.hpp"

namespace nd::sim {
namespace {

template <class T>
void randomize(rng& random, T& value) {
  for (std::byte& b : std::as_writable_bytes(std::span(&value, 1)))
    b = static_cast<std::byte>(random.next());
}

std::vector<std::byte> nd_frame(rng& random, const core::host_address& from, std::size_t to) {
  constexpr std::array kinds{wire::packet_kind::init,     wire::packet_kind::cookie_echo,
                             wire::packet_kind::data,     wire::packet_kind::ack,
                             wire::packet_kind::close,    wire::packet_kind::abort,
                             wire::packet_kind::init_ack, wire::packet_kind::cookie_ack};
  wire::channel_header header;
  randomize(random, header);
  header.version = random.chance(0.02) ? std::uint8_t{9} : wire::nd_version;
  header.kind = kinds[random.below(kinds.size())];
  header.channel = static_cast<std::uint32_t>(random.below(4));
  return test::made_packet(from, to, header, [&](wire::packet_writer& writer) {
    if (!wire::is_handshake(header.kind)) return;
    wire::handshake_body body;
    randomize(random, body);
    body.traffic_class = static_cast<std::uint8_t>(random.below(2));
    body.mtu = 1500;
    writer.append_body(wire::bytes_of(body));
  });
}

std::vector<std::byte> frame_of(const mac_address& from, std::size_t to, std::uint16_t type,
                                std::size_t size) {
  std::vector<std::byte> frame(std::max(size, wire::ethernet_min_frame));
  auto& ethernet = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
  ethernet.destination = test::made_mac(to);
  ethernet.source = from;
  ethernet.type = type;
  return frame;
}

std::vector<std::byte> arp_frame(rng& random, const core::host_address& from, std::size_t to) {
  auto frame = frame_of(from.mac, to, wire::ethertype_arp, 0);
  const std::uint16_t operation = random.chance(0.5) ? wire::arp_request : wire::arp_reply;
  wire::at<wire::arp_packet>(static_cast<void*>(&frame[sizeof(wire::ethernet_header)])) =
      wire::make_arp(operation, from.mac, from.ip, test::made_mac(to),
                     random.chance(0.8) ? test::made_ip(to) : test::made_ip(50));
  return frame;
}

std::vector<std::byte> ping_frame(rng& random, const core::host_address& from, std::size_t to) {
  constexpr std::size_t start = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
  const std::size_t size = sizeof(wire::icmp_header) + random.below(1600);
  auto frame = frame_of(from.mac, to, wire::ethertype_ipv4, start + size);
  void* const ip = &frame[sizeof(wire::ethernet_header)];
  wire::write_ipv4(wire::at<wire::ipv4_header>(ip), from.ip, test::made_ip(to), wire::protocol_icmp,
                   0, size);
  auto& icmp = wire::at<wire::icmp_header>(static_cast<void*>(&frame[start]));
  icmp.type = random.chance(0.8) ? wire::icmp_echo_request : static_cast<std::uint8_t>(3);
  icmp.checksum = std::uint16_t{0};
  icmp.checksum = wire::inet_checksum(wire::inet_sum(0, std::span(frame).subspan(start, size)));
  return frame;
}

}  // namespace

std::vector<std::byte> stranger_frame(rng& random, const scenario& s, std::size_t to) {
  const std::uint64_t what = random.below(10);
  // Half of the packets have the address of a host that there is, and another one's MAC address.
  const bool known = what >= 3 && random.chance(0.5);
  const core::host_address from{
      .ip = known ? test::made_ip((to + 1) % s.hosts)
                  : test::made_ip(100) + static_cast<std::uint32_t>(random.below(100)),
      .prefix = 24,
      .mac = {2, 9, 9, 9, 9, static_cast<std::uint8_t>(random.next())},
      .udp = s.udp,
      .ip_protocol = 19,
      .udp_port = 9019};
  std::vector<std::byte> frame = what == 0   ? arp_frame(random, from, to)
                                 : what == 1 ? ping_frame(random, from, to)
                                             : nd_frame(random, from, to);
  // Some end early, down to nothing.
  if (random.chance(0.2)) frame.resize(random.below(frame.size() + 1));
  // What the device has buffers for.
  frame.resize(std::min<std::size_t>(frame.size(), sizeof(wire::ethernet_header) + s.mtu[to]));
  return frame;
}

}  // namespace nd::sim
