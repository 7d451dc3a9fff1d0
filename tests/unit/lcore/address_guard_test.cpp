// When a host probes for its address, announces it and defends it (RFC 5227).
#include "lcore/address_guard.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace nd;
using core::address_guard;
using frame = core::address_guard::frame;

namespace {

constexpr instant start{5'000'000'000};
constexpr duration interval = duration::milliseconds(100);

}  // namespace

TEST_CASE("probes, then announcements, then silence", "[arp]") {
  address_guard guard(3, interval, start);
  instant now = start;
  std::vector<std::pair<duration, frame>> sent;
  while (!guard.next_deadline().is_never()) {
    now = guard.next_deadline();
    CHECK(guard.on_timer(now - duration(1)) == frame::none);
    sent.emplace_back(now - start, guard.on_timer(now));
  }
  const std::vector<std::pair<duration, frame>> expected{
      {duration(0), frame::probe},
      {interval, frame::probe},
      {interval * 2, frame::probe},
      {interval * 3, frame::announcement},
      {interval * 3 + duration::seconds(2), frame::announcement}};
  CHECK(sent == expected);
  CHECK(guard.on_timer(now + duration::seconds(100)) == frame::none);
}

TEST_CASE("without probes nothing is sent", "[arp]") {
  address_guard guard(0, interval, start);
  CHECK(guard.next_deadline().is_never());
  CHECK(guard.on_timer(start) == frame::none);
}

TEST_CASE("an address is defended at most every 10 seconds", "[arp]") {
  address_guard guard(0, interval, start);
  CHECK(guard.on_conflict(start));
  CHECK_FALSE(guard.on_conflict(start + duration::milliseconds(9'999)));
  CHECK(guard.on_conflict(start + duration::seconds(10)));
  CHECK_FALSE(guard.on_conflict(start + duration::seconds(11)));
}
