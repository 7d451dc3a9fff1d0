// Each event says who, and what to do about it.
#include "api/text.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

using namespace nd;

TEST_CASE("every kind of event has a line of its own that names whom it is about", "[event]") {
  const mac_address mac{2, 0, 0, 0xab, 0, 9}, before{2, 0, 0, 0, 0, 1};
  std::set<std::string> lines;
  for (std::size_t kind = 0; kind < event_kinds; ++kind) {
    const auto k = static_cast<event_kind>(kind);
    const api::log_line line =
        api::describe({.kind = k, .ip = 0x0a000005, .mac = mac, .before = before}, "10.0.0.1/24");
    CAPTURE(kind, line.text);
    CHECK(lines.insert(line.text).second);
    CHECK(line.text != "unknown event");
    const bool of_the_link =
        k == event_kind::link_up || k == event_kind::link_down || k == event_kind::device_gone;
    if (!of_the_link) CHECK_THAT(line.text, Catch::Contains("10.0.0.5"));
    if (k == event_kind::address_conflict || k == event_kind::neighbor_moved)
      CHECK_THAT(line.text, Catch::Contains("02:00:00:ab:00:09"));
    if (k == event_kind::no_route || k == event_kind::off_link_neighbor)
      CHECK_THAT(line.text, Catch::Contains("10.0.0.1/24"));
  }
}

TEST_CASE("of one kind of event one passes in 10 s; changes of the link all pass", "[event]") {
  event_queue q;
  const instant start{5'000'000'000};
  for (int i = 0; i < 5; ++i) {
    q.push(start + duration::seconds(i * 4), {.kind = event_kind::no_route});
    q.push(start + duration::seconds(i * 4), {.kind = event_kind::link_down});
  }
  const std::vector<event> taken = q.take();
  const auto count = [&taken](event_kind k) {
    return std::count_if(taken.begin(), taken.end(), [k](const event& e) { return e.kind == k; });
  };
  CHECK(count(event_kind::no_route) == 2);  // at 0 and 12 s
  CHECK(count(event_kind::link_down) == 5);
  CHECK(q.empty());
}
