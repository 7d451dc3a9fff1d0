// The search for the path's MTU, for every size that the path may really have.
#include "channel/path_mtu.hpp"

#include <catch2/catch.hpp>

#include "base/rng.hpp"

using nd::duration;
using nd::instant;
using nd::core::path_mtu;

namespace {

constexpr instant start(1'000'000'000);

/// Probes until there is nothing left to probe, over a path that takes `real` bytes. Returns the
/// number of probes.
int search(path_mtu& mtu, std::uint16_t real, instant now, double loss = 0,
           nd::rng* random = nullptr) {
  int probes = 0;
  while (const std::uint16_t size = mtu.wanted_probe(now)) {
    REQUIRE(size > mtu.current());
    if (++probes > 200) break;
    mtu.on_probe_sent();
    REQUIRE(mtu.wanted_probe(now) == 0);  // one at a time
    const bool arrives = size <= real && (random == nullptr || !random->chance(loss));
    if (arrives)
      mtu.on_probe_acked(size, now);
    else
      mtu.on_probe_lost(size, now);
  }
  return probes;
}

}  // namespace

TEST_CASE("where the device's MTU passes, one probe finds it", "[path_mtu]") {
  for (const std::uint16_t limit :
       {std::uint16_t{1300}, std::uint16_t{1500}, std::uint16_t{9000}, std::uint16_t{65535}}) {
    CAPTURE(limit);
    path_mtu mtu(limit);
    CHECK(mtu.current() == path_mtu::base);
    CHECK(search(mtu, limit, start) == 1);
    CHECK(mtu.current() == limit);
    CHECK(mtu.wanted_probe(start) == 0);
    CHECK(mtu.next_deadline().is_never());
  }
}

TEST_CASE("a device below the base is not probed", "[path_mtu]") {
  path_mtu mtu(576);
  CHECK(mtu.current() == 576);
  CHECK(mtu.wanted_probe(start) == 0);
  CHECK(mtu.next_deadline().is_never());
  CHECK_FALSE(mtu.on_black_hole(start));
}

TEST_CASE("the search finds the largest size that passes, but for one step", "[path_mtu]") {
  for (const std::uint16_t limit : {std::uint16_t{1500}, std::uint16_t{9000}}) {
    for (int real = path_mtu::base; real <= limit; real += 7) {
      CAPTURE(limit, real);
      path_mtu mtu(limit);
      search(mtu, static_cast<std::uint16_t>(real), start);
      REQUIRE(mtu.current() <= real);
      REQUIRE(mtu.current() + 32 >= real);
    }
  }
}

// An answered search is over as much as an unanswered one.
TEST_CASE("a search that ends is not begun again before the raise timer", "[path_mtu]") {
  for (int real = path_mtu::base; real < 8960; real += 7) {
    CAPTURE(real);
    path_mtu mtu(9000);
    // Each halving costs at most three probes.
    REQUIRE(search(mtu, static_cast<std::uint16_t>(real), start) <= 3 * 10);
    const instant raise = mtu.next_deadline();
    REQUIRE(raise == start + path_mtu::raise_interval);
    REQUIRE(mtu.wanted_probe(raise - duration(1)) == 0);
    REQUIRE(mtu.wanted_probe(raise) == 9000);
    // The path has become wider.
    search(mtu, 9000, raise);
    REQUIRE(mtu.current() == 9000);
    REQUIRE(mtu.next_deadline().is_never());
  }
}

TEST_CASE("a deadline is never one that has passed and stays", "[path_mtu]") {
  for (int limit = 1100; limit < 1500; ++limit) {
    for (int real = std::min<int>(limit, path_mtu::base); real <= limit; ++real) {
      CAPTURE(limit, real);
      path_mtu mtu(static_cast<std::uint16_t>(limit));
      instant now = start;
      for (int i = 0; i < 3; ++i) {
        search(mtu, static_cast<std::uint16_t>(real), now);
        REQUIRE(mtu.next_deadline() > now);
        if (mtu.next_deadline().is_never()) break;
        now = mtu.next_deadline();
      }
    }
  }
}

TEST_CASE("single losses of probes do not mislead the search", "[path_mtu]") {
  path_mtu mtu(9000);
  for (int i = 1; i < path_mtu::max_probes; ++i) {
    REQUIRE(mtu.wanted_probe(start) == 9000);
    mtu.on_probe_sent();
    mtu.on_probe_lost(9000, start);
  }
  REQUIRE(mtu.wanted_probe(start) == 9000);
  mtu.on_probe_sent();
  mtu.on_probe_acked(9000, start);
  CHECK(mtu.current() == 9000);
}

TEST_CASE("with lossy probes the result is still a size that passes", "[path_mtu]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 50)));
  CAPTURE(seed);
  nd::rng random(seed);
  const auto real = static_cast<std::uint16_t>(path_mtu::base + random.below(7800));
  path_mtu mtu(9000);
  search(mtu, real, start, 0.3, &random);
  CHECK(mtu.current() <= real);
  CHECK(mtu.current() >= path_mtu::base);
}

TEST_CASE("a black hole falls back to the base and searches below what failed", "[path_mtu]") {
  path_mtu mtu(9000);
  search(mtu, 9000, start);
  REQUIRE(mtu.current() == 9000);
  CHECK(mtu.on_black_hole(start));
  CHECK(mtu.current() == path_mtu::base);
  CHECK_FALSE(mtu.on_black_hole(start));
  const std::uint16_t first = mtu.wanted_probe(start);
  CHECK(first < 9000);
  search(mtu, 4000, start);
  CHECK(mtu.current() <= 4000);
  CHECK(mtu.current() + 32 >= 4000);
}

TEST_CASE("a probe that was in flight when the hole was noticed does no harm", "[path_mtu]") {
  path_mtu mtu(9000);
  search(mtu, 8000, start);
  const std::uint16_t found = mtu.current();
  REQUIRE(found > 7900);
  const instant later = start + path_mtu::raise_interval + duration::seconds(1);
  REQUIRE(mtu.wanted_probe(later) == 9000);
  mtu.on_probe_sent();
  REQUIRE(mtu.on_black_hole(later));
  mtu.on_probe_lost(9000, later);
  search(mtu, 2000, later);
  CHECK(mtu.current() <= 2000);
  CHECK(mtu.current() + 32 >= 2000);
}

// RFC 8899, section 3: one probe a round trip; and its loss says nothing about other sizes.
TEST_CASE("a black hole does not hurry the next probe, nor count the last one against it",
          "[path_mtu]") {
  path_mtu mtu(9000);
  search(mtu, 8000, start);
  const instant later = start + path_mtu::raise_interval + duration::seconds(1);
  REQUIRE(mtu.wanted_probe(later) == 9000);
  mtu.on_probe_sent();
  REQUIRE(mtu.on_black_hole(later));
  CHECK(mtu.wanted_probe(later) == 0);
  mtu.on_probe_lost(9000, later);
  const std::uint16_t next = mtu.wanted_probe(later);
  REQUIRE(next > path_mtu::base);
  for (int i = 0; i < path_mtu::max_probes; ++i) {
    CHECK(mtu.wanted_probe(later) == next);
    mtu.on_probe_sent();
    mtu.on_probe_lost(next, later);
  }
  CHECK(mtu.wanted_probe(later) < next);
}

TEST_CASE("a path is called limited by probes that fail, not by losses alone", "[path_mtu]") {
  path_mtu mtu(1500);
  CHECK_FALSE(mtu.limited());
  search(mtu, 1500, start);
  CHECK_FALSE(mtu.limited());
  REQUIRE(mtu.on_black_hole(start));
  search(mtu, 1500, start);
  CHECK(mtu.current() > 1450);  // 1500 is not tried again so soon
  CHECK(mtu.current() < 1500);
  CHECK_FALSE(mtu.limited());
  REQUIRE(mtu.on_black_hole(start));
  search(mtu, 1300, start);
  CHECK(mtu.limited());
  const instant later = start + path_mtu::raise_interval;
  search(mtu, 1500, later);
  CHECK(mtu.current() == 1500);
  CHECK_FALSE(mtu.limited());
}
