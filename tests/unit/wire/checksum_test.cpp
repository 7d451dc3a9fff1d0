// CRC32C and the ones' complement sum against slow references, at every length and alignment.
#include "wire/checksum.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "base/rng.hpp"

using nd::wire::be16;
using nd::wire::copy_crc32c;
using nd::wire::crc32c;
using nd::wire::crc32c_final;
using nd::wire::crc32c_start;
using nd::wire::inet_checksum;
using nd::wire::inet_sum;

namespace {

std::vector<std::byte> random_bytes(nd::rng& random, std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

/// Bit by bit, with the reflected polynomial.
std::uint32_t slow_crc32c(std::uint32_t state, std::span<const std::byte> bytes) {
  for (const std::byte b : bytes) {
    state ^= static_cast<std::uint32_t>(b);
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? 0x82f63b78 : 0);
  }
  return state;
}

/// RFC 1071: 16 bits at a time, in network order, a lone last byte in front of a zero.
std::uint16_t slow_checksum(std::span<const std::byte> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i]) << 8;
    if (i + 1 < bytes.size()) sum += static_cast<std::uint32_t>(bytes[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

std::uint32_t crc_of(std::span<const std::byte> bytes) {
  return crc32c_final(crc32c(crc32c_start, bytes));
}

}  // namespace

TEST_CASE("CRC32C of the examples of RFC 3720, B.4", "[checksum]") {
  std::vector<std::byte> bytes(32, std::byte{0});
  CHECK(crc_of(bytes) == 0x8a9136aa);
  std::ranges::fill(bytes, std::byte{0xff});
  CHECK(crc_of(bytes) == 0x62a8ab43);
  for (std::size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
  CHECK(crc_of(bytes) == 0x46dd794e);
  std::ranges::reverse(bytes);
  CHECK(crc_of(bytes) == 0x113fdb5c);
  // An iSCSI SCSI Read (10) command.
  const unsigned char command[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
                                     0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                     0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0};
  CHECK(crc_of(std::as_bytes(std::span(command))) == 0xd9963a56);
  CHECK(crc_of(std::as_bytes(std::span("123456789", 9))) == 0xe3069283);
  CHECK(crc_of({}) == 0);
}

TEST_CASE("CRC32C at every small length and alignment", "[checksum]") {
  nd::rng random(1);
  for (std::size_t length = 0; length <= 300; ++length) {
    for (std::size_t start = 0; start < 8; ++start) {
      const auto bytes = random_bytes(random, start + length);
      const auto part = std::span(bytes).subspan(start);
      const auto state = static_cast<std::uint32_t>(random.next());
      CAPTURE(length, start, state);
      REQUIRE(crc32c(state, part) == slow_crc32c(state, part));
    }
  }
}

TEST_CASE("a CRC32C state goes on where it stopped", "[checksum]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3));
  CAPTURE(seed);
  nd::rng random(seed);
  for (int i = 0; i < 200; ++i) {
    const auto bytes = random_bytes(random, 1 + random.below(3000));
    const std::size_t cut = random.below(bytes.size() + 1);
    CAPTURE(bytes.size(), cut);
    const std::uint32_t first = crc32c(crc32c_start, std::span(bytes).first(cut));
    REQUIRE(crc32c(first, std::span(bytes).subspan(cut)) == slow_crc32c(crc32c_start, bytes));
  }
}

TEST_CASE("copying takes the CRC32C of exactly what it copies", "[checksum]") {
  nd::rng random(2);
  constexpr std::byte untouched{0xa5};
  const auto copies = [&](std::size_t length, std::size_t from, std::size_t to) {
    const auto source = random_bytes(random, from + length);
    std::vector<std::byte> target(to + length + 16, untouched);
    const auto part = std::span(source).subspan(from);
    const auto state = static_cast<std::uint32_t>(random.next());
    CAPTURE(length, from, to, state);
    REQUIRE(copy_crc32c(state, target.data() + to, part) == slow_crc32c(state, part));
    REQUIRE(std::equal(part.begin(), part.end(), target.begin() + static_cast<std::ptrdiff_t>(to)));
    REQUIRE(std::count(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(to),
                       untouched) == static_cast<std::ptrdiff_t>(to));
    REQUIRE(std::count(target.end() - 16, target.end(), untouched) == 16);
  };
  for (std::size_t length = 0; length <= 200; ++length)
    for (std::size_t from = 0; from < 8; ++from) copies(length, from, random.below(8));
  for (std::size_t to = 0; to < 16; ++to) copies(129, 0, to);
  for (std::size_t length = 201; length <= 700; ++length)
    copies(length, random.below(64), random.below(64));
  for (const std::size_t length : {4095U, 4096U, 4097U, 8191U, 8192U, 12345U})
    copies(length, random.below(16), random.below(16));
}

TEST_CASE("the ones' complement sum at every length, alignment and split", "[checksum]") {
  nd::rng random(3);
  for (std::size_t length = 0; length <= 200; ++length) {
    for (std::size_t start = 0; start < 4; ++start) {
      auto bytes = random_bytes(random, start + length);
      // Carries come from large words.
      if (random.chance(0.3)) std::ranges::fill(bytes, std::byte{0xff});
      const auto part = std::span<const std::byte>(bytes).subspan(start);
      CAPTURE(length, start);
      const std::uint16_t expected = slow_checksum(part);
      REQUIRE(inet_checksum(inet_sum(0, part)) == expected);
      const std::size_t cut = random.below(length + 1) & ~std::size_t{1};
      const std::uint64_t sum = inet_sum(inet_sum(0, part.first(cut)), part.subspan(cut));
      REQUIRE(inet_checksum(sum) == expected);
    }
  }
  for (const std::size_t length : {1499U, 1500U, 8999U, 65535U}) {
    std::vector<std::byte> bytes(length, std::byte{0xff});
    REQUIRE(inet_checksum(inet_sum(0, bytes)) == slow_checksum(bytes));
    bytes = random_bytes(random, length);
    REQUIRE(inet_checksum(inet_sum(0, bytes)) == slow_checksum(bytes));
  }
}

TEST_CASE("a checksum in its place makes the sum zero", "[checksum]") {
  nd::rng random(4);
  for (int i = 0; i < 1000; ++i) {
    auto bytes = random_bytes(random, 2 * (1 + random.below(40)));
    bytes[0] = bytes[1] = std::byte{0};
    const be16 checksum = inet_checksum(inet_sum(0, bytes));
    std::memcpy(bytes.data(), &checksum, sizeof checksum);
    REQUIRE(inet_checksum(inet_sum(0, bytes)) == 0);
    const std::size_t at = random.below(bytes.size());
    bytes[at] ^= std::byte{static_cast<unsigned char>(1U << random.below(8))};
    REQUIRE(inet_checksum(inet_sum(0, bytes)) != 0);
  }
}
