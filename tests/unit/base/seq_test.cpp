// seq32: widening and comparison around the wrap.
#include "base/seq.hpp"

#include <catch2/catch.hpp>

#include "base/rng.hpp"

using nd::seq32;

namespace {
constexpr std::uint64_t wrap = std::uint64_t{1} << 32;
constexpr std::uint64_t half = std::uint64_t{1} << 31;
}  // namespace

TEST_CASE("a sequence number is before another in the nearer half of the circle", "[seq]") {
  CHECK(seq32(1).is_before(seq32(2)));
  CHECK_FALSE(seq32(2).is_before(seq32(1)));
  CHECK_FALSE(seq32(7).is_before(seq32(7)));
  CHECK(seq32(0xffffffff).is_before(seq32(0)));
  CHECK_FALSE(seq32(0).is_before(seq32(0xffffffff)));
  CHECK(seq32(0).is_before(seq32(0x7fffffff)));
}

TEST_CASE("widening finds the number again wherever the reference is near", "[seq]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3));
  CAPTURE(seed);
  nd::rng random(seed);
  for (int i = 0; i < 20000; ++i) {
    // Around a multiple of 2^32 every other time, where both halves differ.
    std::uint64_t number = random.next() >> random.below(40);
    if (i % 2 == 0) number = (number & ~(wrap - 1)) + random.below(64);
    const std::uint64_t distance = random.below(half);
    const std::uint64_t reference =
        random.chance(0.5) ? number + distance : number - std::min(number, distance);
    CAPTURE(number, reference);
    REQUIRE(seq32::low_bits_of(number).widen(reference) == number);
  }
}

TEST_CASE("numbers below zero do not exist", "[seq]") {
  CHECK(seq32(0xffffffff).widen(0) == 0xffffffff);
  CHECK(seq32(0xfffffff0).widen(10) == 0xfffffff0);
  CHECK(seq32(0).widen(0) == 0);
  CHECK(seq32(5).widen(10) == 5);
  CHECK(seq32(0).widen(10) == 0);
  CHECK(seq32(0x80000000).widen(0) == half);
  CHECK(seq32(0x80000001).widen(0) == half + 1);
}

TEST_CASE("widening across the wrap", "[seq]") {
  CHECK(seq32(0).widen(wrap - 1) == wrap);
  CHECK(seq32(0xffffffff).widen(wrap) == wrap - 1);
  CHECK(seq32(3).widen(5 * wrap - 2) == 5 * wrap + 3);
  CHECK(seq32(0xfffffffe).widen(5 * wrap + 2) == 5 * wrap - 2);
}
