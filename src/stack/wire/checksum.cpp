#include "wire/checksum.hpp"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "wire/crc32c_fold.hpp"

namespace nd::wire {

std::uint32_t crc32c_by_library(std::uint32_t state, std::span<const std::byte> bytes) noexcept {
  auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t n = bytes.size();
  // ISA-L takes an int and, unlike its other CRCs, neither inverts before nor after.
  while (n > 0) {
    const std::size_t chunk = std::min<std::size_t>(n, 1U << 30);
    state = crc32_iscsi(const_cast<unsigned char*>(p), static_cast<int>(chunk), state);
    p += chunk;
    n -= chunk;
  }
  return state;
}

std::uint32_t copy_crc32c(std::uint32_t state, std::byte* to,
                          std::span<const std::byte> from) noexcept {
  static const bool folds = can_fold();
  if (folds && from.size() >= fold_least) {
    const std::size_t n = fold_copy_crc32c(state, to, from.data(), from.size());
    to += n;
    from = from.subspan(n);
  }
  constexpr std::size_t block = 4096;  // still in the first-level cache when it is read again
  while (!from.empty()) {
    const auto piece = from.first(std::min(block, from.size()));
    std::memcpy(to, piece.data(), piece.size());
    state = crc32c(state, {to, piece.size()});
    to += piece.size();
    from = from.subspan(piece.size());
  }
  return state;
}

std::uint64_t inet_sum(std::uint64_t sum, std::span<const std::byte> bytes) noexcept {
  const std::byte* p = bytes.data();
  std::size_t n = bytes.size();
  // 64-bit words with the carries counted aside: 2^64 is 1 in ones' complement arithmetic.
  std::array<std::uint64_t, 4> lane{};
  std::uint64_t carries = 0;
  for (; n >= 32; n -= 32, p += 32) {
    std::array<std::uint64_t, 4> word;
    std::memcpy(word.data(), p, 32);
    for (std::size_t i = 0; i < 4; ++i)
      carries += __builtin_add_overflow(lane[i], word[i], &lane[i]) ? 1 : 0;
  }
  for (; n >= 8; n -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    carries += __builtin_add_overflow(lane[0], word, &lane[0]) ? 1 : 0;
  }
  // The rest by fixed sizes: a memcpy of `n` bytes is a call, and stalls what reads its word.
  if (n >= 4) {
    std::uint32_t word;
    std::memcpy(&word, p, 4);
    sum += word;
    n -= 4;
    p += 4;
  }
  if (n >= 2) {
    std::uint16_t word;
    std::memcpy(&word, p, 2);
    sum += word;
    n -= 2;
    p += 2;
  }
  if (n > 0) sum += static_cast<std::uint8_t>(*p);
  sum += carries;
  for (const std::uint64_t l : lane) sum += (l & 0xffffffff) + (l >> 32);
  return (sum & 0xffffffff) + (sum >> 32);
}

be16 inet_checksum(std::uint64_t sum) noexcept {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return be16::from_raw(static_cast<std::uint16_t>(~sum));
}

}  // namespace nd::wire
