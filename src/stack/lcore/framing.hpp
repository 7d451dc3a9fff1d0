// From ND packets to frames and back: Ethernet, IPv4 and UDP around them.
#pragma once

#include <cstdint>
#include <span>

#include "base/mbuf.hpp"
#include "base/port.hpp"
#include "wire/ethernet.hpp"
#include "wire/ip.hpp"

namespace nd::core {

/// Who and where this host is, and what carries its packets.
struct host_address {
  std::uint32_t ip = 0;
  std::uint8_t prefix = 24;
  mac_address mac{};
  bool udp = false;               ///< encap udp
  std::uint8_t ip_protocol = 19;  ///< of encap ip
  std::uint16_t udp_port = 0;     ///< destination port of encap udp

  std::uint8_t protocol() const noexcept { return udp ? wire::protocol_udp : ip_protocol; }
  std::uint16_t ip_overhead() const noexcept {
    return sizeof(wire::ipv4_header) + (udp ? sizeof(wire::udp_header) : 0);
  }
  bool on_link(std::uint32_t other) const noexcept { return (other & mask()) == (ip & mask()); }
  /// The prefix's broadcast address; the prefixes 31 and 32 have none (RFC 3021).
  bool is_broadcast(std::uint32_t other) const noexcept {
    return prefix < 31 && other == (ip | ~mask());
  }
  /// An address that one other host may have: answers to others would be multiplied, or come back.
  bool is_another_host(std::uint32_t other) const noexcept {
    return other != 0 && other >> 24 != 127 && other >> 28 < 14 && other != ip &&
           !is_broadcast(other);
  }
  std::uint32_t mask() const noexcept {
    return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
  }
};

/// Where a packet goes.
struct packet_route {
  mac_address mac{};
  std::uint32_t ip = 0;
  std::uint16_t udp_source = 0;  ///< differs by channel, for RSS and ECMP
  std::uint8_t dscp_ecn = 0;
  bool checksum = true;  ///< of UDP; off where both ends agreed
};

/// Puts headers in front of the ND packet in `m`; its UDP checksum is left to the device where
/// `capabilities` has that.
void write_frame(rte_mbuf* m, const host_address& from, const packet_route& to,
                 const port_capabilities& capabilities) noexcept;

/// An ND packet (or an ICMP message) within a received frame, and what its headers said.
struct received_packet {
  std::span<std::byte> bytes;  ///< from the channel header on, or ICMP's
  mac_address source_mac{};
  std::uint32_t source_ip = 0;
  std::uint16_t length = 0;  ///< of the IP packet, as its header says
  bool congestion_experienced = false;
  bool checksummed = true;  ///< encap udp: the checksum was there (and right)
};

enum class frame_verdict : std::uint8_t {
  nd_packet,
  arp,
  icmp,
  not_ours,
  malformed,
  bad_checksum,
  cut,  ///< for us, but its end is missing
};

/// Looks at a frame in one segment. `out` is filled in for nd_packet and icmp; for a packet that
/// was cut, with its source and what there is of it behind the IP header.
frame_verdict parse_frame(rte_mbuf* m, const host_address& host, received_packet& out) noexcept;

/// Makes an ICMP echo request, as parse_frame() left it, the reply to its sender.
void turn_into_echo_reply(rte_mbuf* m, const host_address& host,
                          const received_packet& request) noexcept;

}  // namespace nd::core
