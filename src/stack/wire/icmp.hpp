// ICMP (RFC 792): echo, which is answered, and what says that packets do not arrive.
#pragma once

#include <span>

#include "wire/checksum.hpp"
#include "wire/endian.hpp"

namespace nd::wire {

/// The first 8 bytes of an echo request or reply; of other types the last 4 differ.
struct icmp_header {
  std::uint8_t type;
  std::uint8_t code;
  be16 checksum;
  be16 identifier;
  be16 sequence;
};
static_assert(sizeof(icmp_header) == 8 && alignof(icmp_header) == 1);

inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t icmp_echo_reply = 0;
inline constexpr std::uint8_t icmp_unreachable = 3;
inline constexpr std::uint8_t icmp_echo_request = 8;

/// Whether `message`, from its header to its end, has the right checksum.
inline bool is_icmp_intact(std::span<const std::byte> message) noexcept {
  return inet_checksum(inet_sum(0, message)) == 0;
}

/// Makes an echo request its reply, in place.
inline void turn_into_echo_reply(std::span<std::byte> message) noexcept {
  auto& icmp = at<icmp_header>(static_cast<void*>(message.data()));
  icmp.type = icmp_echo_reply;
  icmp.checksum = std::uint16_t{0};
  icmp.checksum = inet_checksum(inet_sum(0, message));
}

}  // namespace nd::wire
