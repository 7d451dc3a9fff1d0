#include "lcore/framing.hpp"

#include <algorithm>

#include "wire/icmp.hpp"
#include "wire/packet_format.hpp"

namespace nd::core {
namespace {

// Only the last mbuf of a chain may have an odd number of bytes: what stands before the
// application's are headers.
static_assert(
    (sizeof(wire::udp_header) + sizeof(wire::channel_header) + sizeof(wire::record_header)) % 2 ==
    0);

std::uint64_t sum_of_chain(std::uint64_t sum, rte_mbuf* m) noexcept {
  for (; m != nullptr; m = m->next) sum = wire::inet_sum(sum, mbuf_bytes(m));
  return sum;
}

}  // namespace

void write_frame(rte_mbuf* m, const host_address& from, const packet_route& to,
                 const port_capabilities& capabilities) noexcept {
  m->ol_flags = 0;
  if (from.udp) {
    const auto kind = wire::at<wire::channel_header>(rte_pktmbuf_mtod(m, const void*)).kind;
    const std::size_t length = sizeof(wire::udp_header) + m->pkt_len;
    auto& udp = wire::at<wire::udp_header>(
        static_cast<void*>(rte_pktmbuf_prepend(m, sizeof(wire::udp_header))));
    udp.source = to.udp_source;
    udp.destination = from.udp_port;
    udp.length = static_cast<std::uint16_t>(length);
    udp.checksum = std::uint16_t{0};
    if (to.checksum || wire::is_handshake(kind)) {
      const auto pseudo = wire::make_pseudo_header(from.ip, to.ip, wire::protocol_udp, length);
      const std::uint64_t sum = wire::inet_sum(0, wire::bytes_of(pseudo));
      if (capabilities.tx_udp_checksum) {
        // The device wants the folded sum of the pseudo-header, not inverted.
        udp.checksum = static_cast<std::uint16_t>(~wire::inet_checksum(sum));
        m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4;
        m->l2_len = sizeof(wire::ethernet_header);
        m->l3_len = sizeof(wire::ipv4_header);
      } else {
        const wire::be16 checksum = wire::inet_checksum(sum_of_chain(sum, m));
        udp.checksum = checksum == 0 ? wire::be16(std::uint16_t{0xffff}) : checksum;
      }
    }
  }
  const std::size_t payload = m->pkt_len;
  auto& ip = wire::at<wire::ipv4_header>(
      static_cast<void*>(rte_pktmbuf_prepend(m, sizeof(wire::ipv4_header))));
  wire::write_ipv4(ip, from.ip, to.ip, from.protocol(), to.dscp_ecn, payload);
  auto& ethernet = wire::at<wire::ethernet_header>(
      static_cast<void*>(rte_pktmbuf_prepend(m, sizeof(wire::ethernet_header))));
  ethernet.destination = to.mac;
  ethernet.source = from.mac;
  ethernet.type = wire::ethertype_ipv4;
}

namespace {

/// Checks the UDP header in front of the packet and cuts it off.
frame_verdict parse_udp(const rte_mbuf* m, const wire::ipv4_header& ip, const host_address& host,
                        received_packet& out) noexcept {
  std::span<std::byte>& bytes = out.bytes;
  if (bytes.size() < sizeof(wire::udp_header)) return frame_verdict::malformed;
  const auto& udp = wire::at<wire::udp_header>(static_cast<const void*>(bytes.data()));
  if (udp.destination != host.udp_port) return frame_verdict::not_ours;
  if (udp.length < sizeof(wire::udp_header) || udp.length > bytes.size())
    return frame_verdict::malformed;
  bytes = bytes.first(udp.length);
  out.checksummed = udp.checksum != 0;
  // BAD is not believed: some devices say it of datagrams that have no checksum.
  const auto offload = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  if (out.checksummed && offload != RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
    const auto pseudo =
        wire::make_pseudo_header(ip.source, ip.destination, wire::protocol_udp, bytes.size());
    const std::uint64_t sum = wire::inet_sum(0, wire::bytes_of(pseudo));
    // virtio between guests of one machine leaves the checksum unfinished, and says that the bytes
    // are right. Others (hinic) say NONE of what they have not looked at.
    const bool left_open = offload == RTE_MBUF_F_RX_L4_CKSUM_NONE &&
                           udp.checksum == static_cast<std::uint16_t>(~wire::inet_checksum(sum));
    if (!left_open && wire::inet_checksum(wire::inet_sum(sum, bytes)) != 0)
      return frame_verdict::bad_checksum;
  }
  bytes = bytes.subspan(sizeof(wire::udp_header));
  return frame_verdict::nd_packet;
}

/// Answers go only where they can't be multiplied: RFC 1122, section 3.2.2.6, lets us be silent to
/// broadcasts, and no host has the senders that are refused here (section 3.2.1.3).
frame_verdict parse_icmp(const wire::ethernet_header& ethernet, const host_address& host,
                         const received_packet& in) noexcept {
  if (ethernet.destination != host.mac || !host.is_another_host(in.source_ip))
    return frame_verdict::not_ours;
  if (in.bytes.size() < sizeof(wire::icmp_header)) return frame_verdict::malformed;
  if (!wire::is_icmp_intact(in.bytes)) return frame_verdict::bad_checksum;
  return frame_verdict::icmp;
}

}  // namespace

frame_verdict parse_frame(rte_mbuf* m, const host_address& host, received_packet& out) noexcept {
  std::span<std::byte> frame = mbuf_bytes(m);
  if (frame.size() < sizeof(wire::ethernet_header)) return frame_verdict::malformed;
  const auto& ethernet = wire::at<wire::ethernet_header>(static_cast<const void*>(frame.data()));
  if (ethernet.destination != host.mac && ethernet.destination != mac_broadcast)
    return frame_verdict::not_ours;
  if (ethernet.type == wire::ethertype_arp) return frame_verdict::arp;
  if (ethernet.type != wire::ethertype_ipv4) return frame_verdict::not_ours;

  frame = frame.subspan(sizeof(wire::ethernet_header));
  if (frame.size() < sizeof(wire::ipv4_header)) return frame_verdict::malformed;
  const auto& ip = wire::at<wire::ipv4_header>(static_cast<const void*>(frame.data()));
  if (ip.version_length != wire::ipv4_no_options || ip.total_length < sizeof ip)
    return frame_verdict::malformed;
  if (wire::ipv4_checksum(ip) != 0) return frame_verdict::bad_checksum;
  if (ip.destination != host.ip) return frame_verdict::not_ours;
  const bool icmp = ip.protocol != host.protocol() && ip.protocol == wire::protocol_icmp;
  if (ip.protocol != host.protocol() && !icmp) return frame_verdict::not_ours;
  if ((ip.fragment & wire::ipv4_fragment_mask) != 0) return frame_verdict::malformed;

  out.source_mac = ethernet.source;
  out.source_ip = ip.source;
  out.length = ip.total_length;
  if (ip.total_length > frame.size()) {
    out.bytes = frame.subspan(sizeof ip);
    return frame_verdict::cut;
  }
  out.congestion_experienced = (ip.dscp_ecn & wire::ecn_mask) == wire::ecn_ce;
  // What Ethernet padded behind the IP packet is not part of it.
  out.bytes = frame.first(ip.total_length).subspan(sizeof ip);
  if (icmp) return parse_icmp(ethernet, host, out);
  return host.udp ? parse_udp(m, ip, host, out) : frame_verdict::nd_packet;
}

void turn_into_echo_reply(rte_mbuf* m, const host_address& host,
                          const received_packet& request) noexcept {
  m->ol_flags = 0;
  wire::turn_into_echo_reply(request.bytes);
  auto& ethernet = wire::at<wire::ethernet_header>(rte_pktmbuf_mtod(m, void*));
  ethernet.destination = request.source_mac;
  ethernet.source = host.mac;
  auto& ip = wire::at<wire::ipv4_header>(rte_pktmbuf_mtod_offset(m, void*, sizeof ethernet));
  wire::write_ipv4(ip, host.ip, request.source_ip, wire::protocol_icmp, ip.dscp_ecn,
                   request.bytes.size());
}

}  // namespace nd::core
