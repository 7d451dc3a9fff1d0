// Checksums: CRC32C for our packets, the ones' complement sum for IPv4 and UDP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "wire/endian.hpp"

namespace nd::wire {

/// CRC32C (Castagnoli; RFC 9260, appendix A) as a running state: start with `crc32c_start`, feed
/// bytes, and put `crc32c_final(state)` on the wire. State fed with A and then B is the state of
/// A followed by B, so a segment that grows keeps its state.
inline constexpr std::uint32_t crc32c_start = 0xffffffff;
std::uint32_t crc32c(std::uint32_t state, std::span<const std::byte> bytes) noexcept;
constexpr std::uint32_t crc32c_final(std::uint32_t state) noexcept {
  return ~state;
}

/// Copies and returns the CRC32C state of the bytes, block by block, so that each byte is still in
/// the first-level cache when it is read for the second time. The ranges must not overlap.
std::uint32_t copy_crc32c(std::uint32_t state, std::byte* to,
                          std::span<const std::byte> from) noexcept;

/// The ones' complement sum of RFC 1071, not folded and not inverted. `bytes` must start at an even
/// offset of what is summed.
std::uint64_t inet_sum(std::uint64_t sum, std::span<const std::byte> bytes) noexcept;
/// The value of a checksum field that was zero when it was summed; zero when the field holds the
/// right value and was summed with the rest.
be16 inet_checksum(std::uint64_t sum) noexcept;

}  // namespace nd::wire
