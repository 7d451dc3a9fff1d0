// The counters: one row each, in order, with unit and help.
#include "base/counters.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

TEST_CASE("every counter has a name of its own, a unit and a help text", "[counters]") {
  const nd::counters c;
  std::set<std::string_view> names;
  c.for_each([&](std::string_view name, std::string_view unit, std::string_view help,
                 std::uint64_t value) {
    CAPTURE(name);
    CHECK(names.insert(name).second);
    CHECK_FALSE(unit.empty());
    CHECK_FALSE(help.empty());
    CHECK(value == 0);
  });
  CHECK(names.size() * sizeof(nd::count) == sizeof(nd::counters));
}

TEST_CASE("a counter counts, and shows under its own name", "[counters]") {
  nd::counters c;
  ++c.rx_packets;
  c.rx_bytes += 1500;
  c.rx_bytes += 60;
  ++c.payload_bytes_received;
  std::vector<std::string> not_zero;
  c.for_each([&](std::string_view name, std::string_view, std::string_view, std::uint64_t value) {
    if (value != 0) not_zero.push_back(std::string(name) + "=" + std::to_string(value));
  });
  CHECK(not_zero ==
        std::vector<std::string>{"rx_packets=1", "rx_bytes=1560", "payload_bytes_received=1"});
  CHECK(c.rx_bytes.value() == 1560);
}
