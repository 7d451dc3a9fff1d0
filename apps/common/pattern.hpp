// Contents that can be checked at any place of a stream.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace nd::apps {

/// The bytes of a stream as a function of (seed, offset). The 8 bytes at each multiple of 8 are one
/// word, mixed from its number: one multiplication, so several GB/s, and no two words of a stream
/// are equal (the mix is a bijection). What is lost, repeated, moved, or belongs to a stream with
/// another seed shows.
class pattern {
 public:
  explicit constexpr pattern(std::uint64_t seed) noexcept : base_(spread(seed)) {}

  /// Writes the bytes of [offset, offset + out.size()).
  void fill(std::span<std::byte> out, std::uint64_t offset) const noexcept {
    std::byte* p = out.data();
    std::size_t left = out.size();
    const std::uint64_t base = base_;  // a member could alias `out`, and be loaded for each word
    std::uint64_t number = offset / 8;
    if (const std::size_t skip = offset % 8; skip != 0 && left != 0) {
      const std::size_t n = std::min(8 - skip, left);
      const std::uint64_t w = word(base, number++);
      std::memcpy(p, reinterpret_cast<const std::byte*>(&w) + skip, n);
      p += n;
      left -= n;
    }
    for (; left >= 8; left -= 8, p += 8) {
      const std::uint64_t w = word(base, number++);
      std::memcpy(p, &w, 8);
    }
    if (left != 0) {
      const std::uint64_t w = word(base, number);
      std::memcpy(p, &w, left);
    }
  }

  /// How many bytes of `in`, which stands at `offset`, are wrong.
  std::size_t mismatches(std::span<const std::byte> in, std::uint64_t offset) const noexcept {
    const std::byte* p = in.data();
    std::size_t left = in.size();
    std::uint64_t number = offset / 8;
    std::size_t wrong = 0;
    if (const std::size_t skip = offset % 8; skip != 0 && left != 0) {
      const std::size_t n = std::min(8 - skip, left);
      wrong += differing(p, n, word(base_, number++) >> (8 * skip));
      p += n;
      left -= n;
    }
    // Blocks first, with one branch each: a wrong byte is rare, and where it is, looked for again.
    for (constexpr std::size_t block = 64; left >= block; left -= block, p += block) {
      std::uint64_t difference = 0;
      for (std::size_t i = 0; i < block; i += 8) {
        difference |= load(p + i) ^ word(base_, number + i / 8);
      }
      if (difference != 0) [[unlikely]] {
        for (std::size_t i = 0; i < block; i += 8) {
          wrong += differing(p + i, 8, word(base_, number + i / 8));
        }
      }
      number += block / 8;
    }
    for (; left != 0;) {
      const std::size_t n = std::min<std::size_t>(8, left);
      wrong += differing(p, n, word(base_, number++));
      p += n;
      left -= n;
    }
    return wrong;
  }

 private:
  static_assert(std::endian::native == std::endian::little,
                "the first byte of a word is its lowest; both ends must agree");

  // Streams of neighbouring seeds must not be each other's shifted by a word.
  static constexpr std::uint64_t spread(std::uint64_t x) noexcept {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdU + 0x632be59bd9b4e019U;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53U;
    return x ^ (x >> 33);
  }
  static std::uint64_t word(std::uint64_t base, std::uint64_t number) noexcept {
    const std::uint64_t x = (base + number) * 0x9e3779b97f4a7c15U;
    return x ^ (x >> 32);
  }
  static std::uint64_t load(const std::byte* p) noexcept {
    std::uint64_t w = 0;
    std::memcpy(&w, p, 8);
    return w;
  }
  static std::size_t differing(const std::byte* p, std::size_t n, std::uint64_t expected) noexcept {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < n; ++i, expected >>= 8) {
      wrong += std::to_integer<std::uint64_t>(p[i]) != (expected & 0xff) ? 1U : 0U;
    }
    return wrong;
  }

  std::uint64_t base_;
};

}  // namespace nd::apps
