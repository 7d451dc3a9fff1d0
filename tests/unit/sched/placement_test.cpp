// Which lcore channels, sockets and connections belong to.
#include "sched/placement.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <set>

#include "base/rng.hpp"

using namespace nd::core;

TEST_CASE("the ids of an lcore's channels lead back to it, and no two lcores give the same",
          "[placement]") {
  for (unsigned count = 1; count <= most_io_lcores; ++count) {
    std::set<std::uint32_t> ids;
    for (unsigned index = 0; index < count; ++index)
      for (std::uint32_t number = 0; number < 100; ++number) {
        const std::uint32_t id = channel_id(number, {index, count});
        REQUIRE(id != 0);
        REQUIRE(ids.insert(id).second);
        REQUIRE(lcore_of_channel(id, count) == index);
        REQUIRE(channel_number(id, count) == number);
      }
  }
}

TEST_CASE("both ends of a socket have the same lcore number where they have as many",
          "[placement]") {
  nd::rng random(1);
  for (int n = 0; n < 1000; ++n) {
    const auto a = static_cast<std::uint16_t>(random.next());
    const auto b = static_cast<std::uint16_t>(random.next());
    const auto lcores = static_cast<unsigned>(1 + random.below(most_io_lcores));
    REQUIRE(lcore_of_ports(a, b, lcores) == lcore_of_ports(b, a, lcores));
    REQUIRE(lcore_of_ports(a, b, lcores) < lcores);
    // And where one end has a multiple, its lcores divide those of the other end among them.
    REQUIRE(lcore_of_ports(a, b, lcores * 2) % lcores == lcore_of_ports(a, b, lcores));
  }
}

TEST_CASE("connections to one port spread over the lcores", "[placement]") {
  for (const unsigned lcores : {2U, 3U, 4U, 8U, 16U}) {
    std::array<unsigned, most_io_lcores> sockets{};
    constexpr unsigned many = 16000;
    for (unsigned n = 0; n < many; ++n)
      ++sockets[lcore_of_ports(static_cast<std::uint16_t>(16384 + n), 80, lcores)];
    CAPTURE(lcores);
    for (unsigned i = 0; i < lcores; ++i) {
      CHECK(sockets[i] > many / lcores * 9 / 10);
      CHECK(sockets[i] < many / lcores * 11 / 10);
    }
  }
}

TEST_CASE("a connection's id says on which lcore it began", "[placement]") {
  for (unsigned lcore = 0; lcore < most_io_lcores; ++lcore)
    for (const std::uint64_t random : {std::uint64_t{0}, ~std::uint64_t{0}}) {
      CHECK(lcore_of_connection(first_connection(lcore, random)) == lcore);
      // And so do those that follow, for as long as a process lives.
      CHECK(lcore_of_connection(first_connection(lcore, random) + (std::uint64_t{1} << 58)) ==
            lcore);
    }
}
