// IPv4, ARP and pseudo-headers, byte by byte.
#include "wire/ip.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cstring>

#include "wire/ethernet.hpp"

namespace wire = nd::wire;

namespace {

template <class T>
std::array<unsigned, sizeof(T)> numbers_of(const T& header) {
  std::array<unsigned, sizeof(T)> out{};
  const auto bytes = wire::bytes_of(header);
  for (std::size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<unsigned>(bytes[i]);
  return out;
}

}  // namespace

TEST_CASE("an IPv4 header is complete, with its checksum", "[ip]") {
  wire::ipv4_header h;
  std::memset(static_cast<void*>(&h), 0xee, sizeof h);
  wire::write_ipv4(h, 0x0a000001, 0x0a0000fe, 19, wire::dscp_throughput | wire::ecn_ect0, 1480);
  // The checksum: 4500+002a+05dc+0000+4000+4013+0a00+0001+0a00+00fe, folded and inverted.
  constexpr unsigned sum = 0x452a + 0x05dc + 0x4000 + 0x4013 + 0x0a00 + 0x0001 + 0x0a00 + 0x00fe;
  constexpr unsigned checksum = 0xffff & ~((sum & 0xffff) + (sum >> 16));
  const std::array<unsigned, 20> expected{
      0x45, 0x2a, 0x05, 0xdc, 0,  0, 0x40, 0,   64, 19, checksum >> 8, checksum & 0xff,
      10,   0,    0,    1,    10, 0, 0,    0xfe};
  CHECK(numbers_of(h) == expected);
  CHECK(wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(h))) == 0);
}

TEST_CASE("the unrolled checksum of an IPv4 header is the general one", "[ip]") {
  wire::ipv4_header h;
  for (unsigned i = 0; i < 65536; ++i) {
    // Sums that carry, and those that fold to all ones.
    wire::write_ipv4(h, 0xffff0000 | i, i * 0x10001, static_cast<std::uint8_t>(i),
                     static_cast<std::uint8_t>(i >> 8), i & 0x7fff);
    REQUIRE(wire::ipv4_checksum(h) == 0);
    h.checksum = static_cast<std::uint16_t>(i);
    REQUIRE(wire::ipv4_checksum(h) == wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(h))));
  }
}

TEST_CASE("an IPv4 header's checksum detects each turned bit", "[ip]") {
  wire::ipv4_header h;
  wire::write_ipv4(h, 0xc0a80001, 0xc0a80002, wire::protocol_udp, wire::dscp_latency, 20);
  for (std::size_t bit = 0; bit < sizeof h * 8; ++bit) {
    wire::ipv4_header broken = h;
    reinterpret_cast<unsigned char*>(&broken)[bit / 8] ^= static_cast<unsigned char>(1U << bit % 8);
    CAPTURE(bit);
    CHECK(wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(broken))) != 0);
  }
}

TEST_CASE("the pseudo-header of RFC 768", "[ip]") {
  const auto p = wire::make_pseudo_header(0x01020304, 0x05060708, 19, 0x1234);
  const std::array<unsigned, 12> expected{1, 2, 3, 4, 5, 6, 7, 8, 0, 19, 0x12, 0x34};
  CHECK(numbers_of(p) == expected);
}

TEST_CASE("the classes' code points and ECN are apart", "[ip]") {
  CHECK((wire::dscp_throughput & wire::ecn_mask) == 0);
  CHECK((wire::dscp_latency & wire::ecn_mask) == 0);
  CHECK(wire::dscp_throughput != wire::dscp_latency);
}

TEST_CASE("ARP packets are valid as made, and not with another type or length", "[ethernet]") {
  const nd::mac_address mine{2, 0, 0, 0, 0, 1}, other{2, 0, 0, 0, 0, 2};
  const auto p = wire::make_arp(wire::arp_reply, mine, 0x0a000001, other, 0x0a000002);
  const std::array<unsigned, 28> expected{0,  1, 8, 0, 6, 4, 0, 2, 2, 0, 0,  0, 0, 1,
                                          10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2};
  CHECK(numbers_of(p) == expected);
  CHECK(wire::is_valid(p));
  for (std::size_t at = 0; at < 6; ++at) {
    wire::arp_packet broken = p;
    reinterpret_cast<unsigned char*>(&broken)[at] ^= 1;
    CAPTURE(at);
    CHECK_FALSE(wire::is_valid(broken));
  }
}
