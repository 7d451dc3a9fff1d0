// The pacer: its rate holds over any time, and bursts are bounded.
#include "channel/pacer.hpp"

#include <catch2/catch.hpp>

#include "base/rng.hpp"

using nd::duration;
using nd::instant;
using nd::core::pacer;

namespace {
constexpr instant start(5'000'000'000);
}

TEST_CASE("without a rate nothing is paced", "[pacer]") {
  pacer p;
  for (int i = 0; i < 1000; ++i) {
    CHECK(p.next_send(start) == start);
    p.on_sent(9000);
  }
}

TEST_CASE("a burst leaves at once, and what follows waits", "[pacer]") {
  pacer p;
  p.set_rate(1'000'000'000, 1000);  // a packet a microsecond
  int burst = 0;
  for (; p.next_send(start) <= start; ++burst) {
    p.on_sent(1000);
    REQUIRE(burst < 100);
  }
  CHECK(burst >= pacer::burst_packets);
  CHECK(burst <= pacer::burst_packets + 1);
  const instant next = p.next_send(start);
  CHECK(next > start);
  CHECK(next <= start + duration::microseconds(1) + duration(2));
  CHECK(p.next_send(next) <= next);
}

TEST_CASE("over any time the rate holds", "[pacer]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 9)));
  CAPTURE(seed);
  nd::rng random(seed);
  const std::uint64_t rate = 1'000'000 + random.below(10'000'000'000);
  const auto packet = static_cast<std::int64_t>(100 + random.below(8900));
  CAPTURE(rate, packet);
  pacer p;
  p.set_rate(rate, packet);
  instant now = start;
  std::int64_t sent = 0;
  for (int i = 0; i < 5000; ++i) {
    const instant when = p.next_send(now);
    // Late by anything, but the time that next_send() said is always enough.
    now = std::max(now, when);
    REQUIRE(p.next_send(now) <= now);
    if (random.chance(0.1)) now = now + duration(static_cast<std::int64_t>(random.below(10'000)));
    sent += packet;
    p.on_sent(packet);
    const double allowed =
        static_cast<double>((now - start).ns()) * 1e-9 * static_cast<double>(rate);
    REQUIRE(static_cast<double>(sent) <=
            allowed + static_cast<double>((pacer::burst_packets + 1) * packet) + 1);
  }
  // And it is used: a sender that is always ready is not slower than the rate.
  const instant begin = now = p.next_send(now);
  sent = 0;
  for (int i = 0; i < 1000; ++i) {
    now = std::max(now, p.next_send(now));
    p.on_sent(packet);
    sent += packet;
  }
  const double seconds = static_cast<double>((now - begin).ns()) * 1e-9;
  CHECK(static_cast<double>(sent) >= seconds * static_cast<double>(rate) * 0.99);
}

TEST_CASE("silence saves up no more than a burst", "[pacer]") {
  pacer p;
  p.set_rate(1'000'000'000, 1500);
  for (instant now = start; p.next_send(now) <= now;) p.on_sent(1500);
  const instant later = start + duration::seconds(10);
  int burst = 0;
  for (; p.next_send(later) <= later; ++burst) p.on_sent(1500);
  CHECK(burst <= pacer::burst_packets + 1);
}
