#include "sim/strangers.hpp"

#include <array>

#include "lcore/framing.hpp"
#include "unit/support/made_host.hpp"
#include "wire/packet_format.hpp"

namespace nd::sim {
namespace {

template <class T>
void randomize(rng& random, T& value) {
  for (std::byte& b : std::as_writable_bytes(std::span(&value, 1)))
    b = static_cast<std::byte>(random.next());
}

}  // namespace

std::vector<std::byte> stranger_frame(rng& random, const scenario& s, std::size_t to) {
  // Half of them use the address of a host that there is, and another one's MAC address.
  const bool known = random.chance(0.5);
  const core::host_address from{
      .ip = known ? test::made_ip((to + 1) % s.hosts)
                  : test::made_ip(100) + static_cast<std::uint32_t>(random.below(100)),
      .prefix = 24,
      .mac = {2, 9, 9, 9, 9, static_cast<std::uint8_t>(random.next())},
      .udp = s.udp,
      .ip_protocol = 19,
      .udp_port = 9019};
  core::packet_route route;
  route.mac = test::made_mac(to);
  route.ip = test::made_ip(to);
  route.udp_source = 50000;

  constexpr std::array kinds{wire::packet_kind::init,     wire::packet_kind::cookie_echo,
                             wire::packet_kind::data,     wire::packet_kind::ack,
                             wire::packet_kind::close,    wire::packet_kind::abort,
                             wire::packet_kind::init_ack, wire::packet_kind::cookie_ack};
  wire::channel_header header;
  randomize(random, header);
  header.version = wire::nd_version;
  header.kind = kinds[random.below(kinds.size())];
  header.channel = static_cast<std::uint32_t>(random.below(4));

  // The header room of an mbuf, without one.
  std::array<std::byte, 512> buffer{};
  constexpr std::size_t start = 128;
  wire::packet_writer writer(
      &buffer[start], header,
      {.source = from.ip, .destination = route.ip, .protocol = from.protocol(), .crc = !from.udp});
  if (wire::is_handshake(header.kind)) {
    wire::handshake_body body;
    randomize(random, body);
    body.traffic_class = static_cast<std::uint8_t>(random.below(2));
    body.mtu = 1500;
    writer.append_body(wire::bytes_of(body));
  }
  rte_mbuf m{};
  m.buf_addr = buffer.data();
  m.buf_len = static_cast<std::uint16_t>(buffer.size());
  m.nb_segs = 1;
  m.data_off = start;
  m.data_len = static_cast<std::uint16_t>(writer.finish());
  m.pkt_len = m.data_len;
  core::write_frame(&m, from, route, port_capabilities{});
  const auto frame = mbuf_bytes(&m);
  return {frame.begin(), frame.end()};
}

}  // namespace nd::sim
