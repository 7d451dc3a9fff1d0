#include "common/pattern.hpp"

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace {

using nd::apps::pattern;

std::vector<std::byte> made(const pattern& p, std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> out(size);
  p.fill(out, offset);
  return out;
}

}  // namespace

TEST_CASE("pattern: a byte depends on seed and offset only, not on how it is cut") {
  const pattern p(99);
  const std::vector<std::byte> whole = made(p, 0, 1000);
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t from = random() % whole.size();
    const std::size_t size = random() % (whole.size() - from + 1);
    const std::vector<std::byte> part = made(p, from, size);
    REQUIRE(
        std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(from)));
    REQUIRE(p.mismatches(part, from) == 0);
  }
}

TEST_CASE("pattern: each wrong byte is counted") {
  const pattern p(1);
  std::mt19937_64 random(6);
  for (int i = 0; i < 500; ++i) {
    const std::uint64_t offset = random() >> (random() % 60);
    std::vector<std::byte> bytes = made(p, offset, 1 + random() % 300);
    std::size_t wrong = 0;
    for (std::byte& b : bytes) {
      if (random() % 8 != 0) continue;
      b ^= static_cast<std::byte>(1U << random() % 8);
      ++wrong;
    }
    REQUIRE(p.mismatches(bytes, offset) == wrong);
  }
}

TEST_CASE("pattern: bytes of another place or another stream do not pass") {
  const pattern p(1000);
  const std::vector<std::byte> bytes = made(p, 4096, 256);
  for (const std::int64_t shift : {1, 7, 8, 64, 4096, 1 << 20, -1, -8, -4096}) {
    const auto place = static_cast<std::uint64_t>(4096 + shift);
    CHECK(p.mismatches(bytes, place) > 200);
  }
  for (const std::uint64_t seed : {0U, 1U, 999U, 1001U}) {
    CHECK(pattern(seed).mismatches(bytes, 4096) > 200);
  }
  const std::vector<std::byte> zeros(256);
  CHECK(p.mismatches(zeros, 0) > 200);
}
