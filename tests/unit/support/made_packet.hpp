// A frame with an ND packet in it, from whomever, with the checksums that it should have.
#pragma once

#include <utility>
#include <vector>

#include "lcore/framing.hpp"
#include "unit/support/made_host.hpp"
#include "wire/packet_format.hpp"

namespace nd::test {

/// `fill(packet_writer&)` writes what is behind the header.
template <class Fill>
std::vector<std::byte> made_packet(const core::host_address& from, const core::packet_route& route,
                                   const wire::channel_header& header, Fill&& fill) {
  // The header room of an mbuf, without one.
  constexpr std::size_t start = 128;
  std::vector<std::byte> buffer(start + 9216);
  const bool crc = !from.udp && (route.checksum || wire::is_handshake(header.kind));
  wire::packet_writer writer(&buffer[start], header, {from.ip, route.ip, from.protocol(), crc});
  fill(writer);
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

/// To host `to`. `checksums`: false where both ends leave them out.
template <class Fill>
std::vector<std::byte> made_packet(const core::host_address& from, std::size_t to,
                                   const wire::channel_header& header, Fill&& fill,
                                   std::uint8_t dscp_ecn = wire::ecn_ect0, bool checksums = true) {
  core::packet_route route;
  route.mac = made_mac(to);
  route.ip = made_ip(to);
  route.udp_source = 50000;
  route.dscp_ecn = dscp_ecn;
  route.checksum = checksums;
  return made_packet(from, route, header, std::forward<Fill>(fill));
}

}  // namespace nd::test
