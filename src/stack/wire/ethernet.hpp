// Ethernet II and ARP for IPv4 (RFC 826).
#pragma once

#include "base/port.hpp"
#include "wire/endian.hpp"

namespace nd::wire {

struct ethernet_header {
  mac_address destination;
  mac_address source;
  be16 type;
};
static_assert(sizeof(ethernet_header) == 14 && alignof(ethernet_header) == 1);

inline constexpr std::uint16_t ethertype_ipv4 = 0x0800;
inline constexpr std::uint16_t ethertype_arp = 0x0806;
/// Shorter frames are padded to this (without FCS).
inline constexpr std::size_t ethernet_min_frame = 60;

struct arp_packet {
  be16 hardware_type;
  be16 protocol_type;
  std::uint8_t hardware_length;
  std::uint8_t protocol_length;
  be16 operation;
  mac_address sender_mac;
  be32 sender_ip;
  mac_address target_mac;
  be32 target_ip;
};
static_assert(sizeof(arp_packet) == 28 && alignof(arp_packet) == 1);

inline constexpr std::uint16_t arp_request = 1;
inline constexpr std::uint16_t arp_reply = 2;

/// A request (target_mac zero) or a reply.
inline arp_packet make_arp(std::uint16_t operation, const mac_address& sender_mac,
                           std::uint32_t sender_ip, const mac_address& target_mac,
                           std::uint32_t target_ip) noexcept {
  arp_packet p;
  p.hardware_type = std::uint16_t{1};
  p.protocol_type = ethertype_ipv4;
  p.hardware_length = 6;
  p.protocol_length = 4;
  p.operation = operation;
  p.sender_mac = sender_mac;
  p.sender_ip = sender_ip;
  p.target_mac = target_mac;
  p.target_ip = target_ip;
  return p;
}

inline bool is_valid(const arp_packet& p) noexcept {
  return p.hardware_type == 1 && p.protocol_type == ethertype_ipv4 && p.hardware_length == 6 &&
         p.protocol_length == 4;
}

}  // namespace nd::wire
