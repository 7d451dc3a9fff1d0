// IPv4 (RFC 791) and UDP (RFC 768) headers.
#pragma once

#include <array>
#include <cstring>
#include <span>

#include "wire/checksum.hpp"
#include "wire/endian.hpp"

namespace nd::wire {

struct ipv4_header {
  std::uint8_t version_length;
  std::uint8_t dscp_ecn;
  be16 total_length;
  be16 identification;
  be16 fragment;
  std::uint8_t time_to_live;
  std::uint8_t protocol;
  be16 checksum;
  be32 source;
  be32 destination;
};
static_assert(sizeof(ipv4_header) == 20 && alignof(ipv4_header) == 1);

inline constexpr std::uint8_t ipv4_no_options = 0x45;
inline constexpr std::uint16_t ipv4_dont_fragment = 0x4000;
inline constexpr std::uint16_t ipv4_fragment_mask = 0x3fff;  // more fragments, and the offset
inline constexpr std::uint8_t protocol_udp = 17;

/// RFC 3168, section 5.
inline constexpr std::uint8_t ecn_mask = 3;
inline constexpr std::uint8_t ecn_ect0 = 2;
inline constexpr std::uint8_t ecn_ce = 3;
/// DSCP by traffic class, in place: throughput is AF11, latency is AF41 (RFC 2597).
inline constexpr std::uint8_t dscp_throughput = 10 << 2;
inline constexpr std::uint8_t dscp_latency = 34 << 2;

struct udp_header {
  be16 source;
  be16 destination;
  be16 length;
  be16 checksum;
};
static_assert(sizeof(udp_header) == 8 && alignof(udp_header) == 1);

template <class T>
std::span<const std::byte> bytes_of(const T& header) noexcept {
  return std::as_bytes(std::span<const T, 1>(&header, 1));
}

/// The checksum over a header as it is: what inet_checksum(inet_sum(0, h)) is, without a loop.
inline be16 ipv4_checksum(const ipv4_header& h) noexcept {
  std::array<std::uint32_t, 5> words;
  std::memcpy(words.data(), &h, sizeof h);
  std::uint64_t sum = 0;
  for (const std::uint32_t w : words) sum += w;
  sum = (sum & 0xffffffff) + (sum >> 32);
  return inet_checksum((sum & 0xffffffff) + (sum >> 32));
}

/// Fills in the whole header, checksum included.
inline void write_ipv4(ipv4_header& h, std::uint32_t source, std::uint32_t destination,
                       std::uint8_t protocol, std::uint8_t dscp_ecn,
                       std::size_t payload_length) noexcept {
  h.version_length = ipv4_no_options;
  h.dscp_ecn = dscp_ecn;
  h.total_length = static_cast<std::uint16_t>(sizeof h + payload_length);
  h.identification = std::uint16_t{0};  // atomic datagram: RFC 6864, section 4.1
  h.fragment = ipv4_dont_fragment;
  h.time_to_live = 64;
  h.protocol = protocol;
  h.checksum = std::uint16_t{0};
  h.source = source;
  h.destination = destination;
  h.checksum = ipv4_checksum(h);
}

/// The pseudo-header of RFC 768, which also starts the CRC32C of our packets.
struct pseudo_header {
  be32 source;
  be32 destination;
  std::uint8_t zero = 0;
  std::uint8_t protocol = 0;
  be16 length;
};
static_assert(sizeof(pseudo_header) == 12 && alignof(pseudo_header) == 1);

inline pseudo_header make_pseudo_header(std::uint32_t source, std::uint32_t destination,
                                        std::uint8_t protocol, std::size_t length) noexcept {
  pseudo_header p;
  p.source = source;
  p.destination = destination;
  p.protocol = protocol;
  p.length = static_cast<std::uint16_t>(length);
  return p;
}

}  // namespace nd::wire
