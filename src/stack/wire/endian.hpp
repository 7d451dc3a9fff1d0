// Integers as they lie in a packet: network order, no alignment.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace nd::wire {

template <std::unsigned_integral T>
class big_endian {
 public:
  big_endian() noexcept = default;
  big_endian(T v) noexcept { *this = v; }  // NOLINT: a number by any other name

  big_endian& operator=(T v) noexcept {
    v = swap(v);
    std::memcpy(bytes_, &v, sizeof v);
    return *this;
  }
  /// From a number whose bytes in memory are already those of the wire.
  static big_endian from_raw(T raw) noexcept {
    big_endian b;
    std::memcpy(b.bytes_, &raw, sizeof raw);
    return b;
  }
  operator T() const noexcept {
    T v;
    std::memcpy(&v, bytes_, sizeof v);
    return swap(v);
  }

 private:
  static T swap(T v) noexcept {
    if constexpr (std::endian::native == std::endian::big) return v;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
  }
  unsigned char bytes_[sizeof(T)];
};

using be16 = big_endian<std::uint16_t>;
using be32 = big_endian<std::uint32_t>;
using be64 = big_endian<std::uint64_t>;

/// The bytes at `p` seen as a wire struct. Wire structs hold bytes only, so any address will do.
template <class T>
T& at(void* p) noexcept {
  static_assert(alignof(T) == 1);
  return *static_cast<T*>(p);
}
template <class T>
const T& at(const void* p) noexcept {
  static_assert(alignof(T) == 1);
  return *static_cast<const T*>(p);
}

}  // namespace nd::wire
