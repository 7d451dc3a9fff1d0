// Checksums: CRC32C for our packets, the ones' complement sum for IPv4 and UDP.
#pragma once

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/endian.hpp"

namespace nd::wire {

/// CRC32C (Castagnoli; RFC 9260, appendix A) as a running state: start with `crc32c_start`, feed
/// bytes, and put `crc32c_final(state)` on the wire. State fed with A and then B is the state of
/// A followed by B, so a segment that grows keeps its state.
inline constexpr std::uint32_t crc32c_start = 0xffffffff;
inline std::uint32_t crc32c(std::uint32_t state, std::span<const std::byte> bytes) noexcept;
constexpr std::uint32_t crc32c_final(std::uint32_t state) noexcept {
  return ~state;
}

/// Copies and returns the CRC32C state of the bytes, which are read once where the CPU can fold
/// (crc32c_fold.hpp). The ranges must not overlap.
std::uint32_t copy_crc32c(std::uint32_t state, std::byte* to,
                          std::span<const std::byte> from) noexcept;

/// The ones' complement sum of RFC 1071, not folded and not inverted. `bytes` must start at an even
/// offset of what is summed.
std::uint64_t inet_sum(std::uint64_t sum, std::span<const std::byte> bytes) noexcept;
/// The value of a checksum field that was zero when it was summed; zero when the field holds the
/// right value and was summed with the rest.
be16 inet_checksum(std::uint64_t sum) noexcept;

// --- Implementation -----------------------------------------------------------------------------

std::uint32_t crc32c_by_library(std::uint32_t state, std::span<const std::byte> bytes) noexcept;

// Headers and small messages: a call costs more than the bytes do.
inline std::uint32_t crc32c(std::uint32_t state, std::span<const std::byte> bytes) noexcept {
#if defined(__SSE4_2__)
  if (bytes.size() <= 128) {
    const std::byte* p = bytes.data();
    std::size_t n = bytes.size();
    std::uint64_t wide = state;
    for (; n >= 8; n -= 8, p += 8) {
      std::uint64_t word;
      std::memcpy(&word, p, 8);
      wide = _mm_crc32_u64(wide, word);
    }
    auto narrow = static_cast<std::uint32_t>(wide);
    for (; n > 0; --n, ++p) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*p));
    return narrow;
  }
#endif
  return crc32c_by_library(state, bytes);
}

}  // namespace nd::wire
