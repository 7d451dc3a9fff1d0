// ICMP echo, byte by byte (RFC 792).
#include "wire/icmp.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

namespace wire = nd::wire;

namespace {

std::vector<std::byte> bytes(std::initializer_list<unsigned> values) {
  std::vector<std::byte> out;
  for (const unsigned v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

}  // namespace

TEST_CASE("an echo request becomes its reply: type and checksum, nothing else", "[icmp]") {
  // 0800 + 1234 + 0007 + 6162 + 6300 = df9d, inverted.
  std::vector<std::byte> m = bytes({8, 0, 0x21, 0x62, 0x12, 0x34, 0, 7, 'a', 'b', 'c'});
  REQUIRE(wire::is_icmp_intact(m));
  wire::turn_into_echo_reply(m);
  // 0000 + 1234 + 0007 + 6162 + 6300 = d69d, inverted.
  CHECK(m == bytes({0, 0, 0x29, 0x62, 0x12, 0x34, 0, 7, 'a', 'b', 'c'}));
  CHECK(wire::is_icmp_intact(m));
}

TEST_CASE("replies of every size are intact, and each turned bit is noticed", "[icmp]") {
  for (std::size_t size : {8U, 9U, 64U, 1479U, 1480U, 8980U}) {
    std::vector<std::byte> m(size);
    for (std::size_t i = 0; i < size; ++i) m[i] = static_cast<std::byte>(i * 7 + 3);
    CAPTURE(size);
    wire::turn_into_echo_reply(m);
    CHECK(wire::is_icmp_intact(m));
    for (const std::size_t bit : {std::size_t{0}, std::size_t{17}, size * 8 - 1}) {
      m[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      CHECK_FALSE(wire::is_icmp_intact(m));
      m[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    }
  }
}
