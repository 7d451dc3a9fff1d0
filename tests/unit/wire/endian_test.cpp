// Integers in network order, at any address.
#include "wire/endian.hpp"

#include <array>
#include <catch2/catch.hpp>

#include "base/rng.hpp"

using nd::wire::be16;
using nd::wire::be32;
using nd::wire::be64;

namespace {

/// A big-endian integer, byte by byte.
std::uint64_t by_hand(const unsigned char* p, std::size_t n) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i) v = v << 8 | p[i];
  return v;
}

template <class B, class T>
void round_trip(T value) {
  static_assert(sizeof(B) == sizeof(T) && alignof(B) == 1);
  std::array<unsigned char, sizeof(B) + 1> bytes{};
  B& field = nd::wire::at<B>(static_cast<void*>(&bytes[1]));
  field = value;
  REQUIRE(by_hand(&bytes[1], sizeof(B)) == value);
  REQUIRE(static_cast<T>(field) == value);
  REQUIRE(static_cast<T>(B(value)) == value);
  T raw;
  std::memcpy(&raw, &bytes[1], sizeof raw);
  REQUIRE(static_cast<T>(B::from_raw(raw)) == value);
}

}  // namespace

TEST_CASE("big-endian integers lie most significant byte first", "[endian]") {
  nd::rng random(5);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t n = random.next();
    round_trip<be16>(static_cast<std::uint16_t>(n));
    round_trip<be32>(static_cast<std::uint32_t>(n));
    round_trip<be64>(n);
  }
  round_trip<be16>(std::uint16_t{0x1234});
  round_trip<be32>(std::uint32_t{0});
  round_trip<be64>(~std::uint64_t{0});
}
