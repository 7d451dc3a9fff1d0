// timer_wheel against a std::multimap, with generated operations.
#include "base/timer_wheel.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <vector>

#include "base/rng.hpp"

using nd::duration;
using nd::instant;
using nd::timer;
using nd::timer_wheel;

namespace {

constexpr duration tick(std::int64_t{1} << 14);
constexpr duration last_level = tick * (std::int64_t{1} << 24);  // 64^4 ticks, about 275 s

/// Timers and the wheel, and beside them the deadlines in order.
class wheel_and_oracle {
 public:
  wheel_and_oracle(instant start, std::size_t timers) : now_(start), wheel_(start) {
    for (std::size_t i = 0; i < timers; ++i)
      timers_.push_back(std::make_unique<timer>(timer::owner_kind::socket, &timers_));
  }

  instant now() const { return now_; }
  std::size_t size() const { return timers_.size(); }

  void arm(std::size_t i, instant deadline) {
    timer* t = timers_[i].get();
    const auto found = find(t);
    wheel_.arm_no_later(*t, deadline);
    if (deadline.is_never() || (found != oracle_.end() && found->first <= deadline)) return;
    if (found != oracle_.end()) oracle_.erase(found);
    oracle_.emplace(deadline, t);
    REQUIRE(t->armed());
  }

  void disarm(std::size_t i) {
    timer* t = timers_[i].get();
    const auto found = find(t);
    if (found != oracle_.end()) oracle_.erase(found);
    wheel_.disarm(*t);
    REQUIRE_FALSE(t->armed());
  }

  void advance(instant now) {
    now_ = now;
    while (timer* t = wheel_.expire(now)) {
      REQUIRE_FALSE(t->armed());
      const auto found = find(t);
      REQUIRE(found != oracle_.end());
      INFO("fires " << (found->first - now).ns() << " ns before its deadline");
      REQUIRE(found->first <= now);
      oracle_.erase(found);
    }
    // What is left may be late by less than a tick.
    if (!oracle_.empty()) {
      INFO("late by " << (now - oracle_.begin()->first).ns() << " ns");
      REQUIRE(oracle_.begin()->first + tick > now);
    }
    check_next_expiry();
  }

  void check_next_expiry() const {
    const instant next = wheel_.next_expiry();
    if (oracle_.empty()) return;
    REQUIRE_FALSE(next.is_never());
    // In the past only where a deadline is.
    REQUIRE(next <= std::max(oracle_.begin()->first, now_) + tick);
  }

  instant next_expiry() const { return wheel_.next_expiry(); }
  bool empty() const { return oracle_.empty(); }
  std::size_t armed() const { return oracle_.size(); }

 private:
  using map = std::multimap<instant, timer*>;
  map::iterator find(timer* t) {
    return std::ranges::find_if(oracle_, [&](const auto& entry) { return entry.second == t; });
  }

  instant now_;
  timer_wheel wheel_;
  std::vector<std::unique_ptr<timer>> timers_;
  map oracle_;
};

/// A span of time of any magnitude, from nanoseconds to beyond the last level.
duration any_span(nd::rng& random) {
  return duration(static_cast<std::int64_t>(random.next() >> (24 + random.below(40))));
}

}  // namespace

TEST_CASE("a timer never fires early, and at most a tick late", "[timer_wheel]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 21)));
  CAPTURE(seed);
  nd::rng random(seed);
  const instant start(static_cast<std::int64_t>(1 + (random.next() >> random.below(40) >> 4)));
  CAPTURE(start.ns());
  wheel_and_oracle w(start, 1 + random.below(60));
  for (int i = 0; i < 3000; ++i) {
    const std::size_t which = random.below(w.size());
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2: w.arm(which, w.now() + any_span(random)); break;
      case 3: w.arm(which, w.now() - any_span(random)); break;
      case 4: w.disarm(which); break;
      case 5: w.advance(w.now() + duration(static_cast<std::int64_t>(random.below(40'000)))); break;
      case 6: w.advance(w.now() + any_span(random)); break;
      // As a loop does that sleeps until there is something to do.
      case 7:
        if (!w.next_expiry().is_never()) w.advance(std::max(w.now(), w.next_expiry()));
        break;
    }
  }
}

TEST_CASE("waiting for next_expiry() again and again reaches every deadline", "[timer_wheel]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 9)));
  CAPTURE(seed);
  nd::rng random(seed);
  wheel_and_oracle w(instant(1'000'000'007), 50);
  for (std::size_t i = 0; i < w.size(); ++i) w.arm(i, w.now() + any_span(random));
  int wakes = 0;
  while (!w.empty()) {
    const instant next = w.next_expiry();
    REQUIRE(next > w.now());  // no loop that makes no progress
    w.advance(next);
    // A timer is moved down once a level, and once for each turn of the last one.
    REQUIRE(++wakes < 50 * 20);
  }
  CHECK(w.next_expiry().is_never());
}

TEST_CASE("a deadline in the past fires at once", "[timer_wheel]") {
  for (const std::int64_t start : {std::int64_t{1}, tick.ns(), 100 * tick.ns() + 5}) {
    CAPTURE(start);
    wheel_and_oracle w{instant(start), 4};
    w.arm(0, instant(start));
    w.arm(1, instant(0));
    w.arm(2, instant(-5));
    w.arm(3, instant(start + 1));
    w.advance(instant(start));
    CHECK(w.armed() <= 2);  // `start` itself may be rounded up, `start + 1` must wait
    w.advance(instant(start) + tick);
    CHECK(w.empty());
  }
}

TEST_CASE("deadlines at each level's edges", "[timer_wheel]") {
  std::vector<std::int64_t> ticks;
  for (int level = 0; level < 5; ++level)
    for (std::int64_t d = -2; d <= 2; ++d)
      for (const std::int64_t times : {1, 2, 63, 64, 65})
        ticks.push_back(times * (std::int64_t{1} << (6 * level)) + d);
  for (const std::int64_t offset : {0, 1, 62, 63, 64, 4095, 4096}) {
    const instant start = instant(1 << 30) + tick * offset;
    wheel_and_oracle w(start, ticks.size());
    for (std::size_t i = 0; i < ticks.size(); ++i) w.arm(i, start + tick * ticks[i]);
    while (!w.empty()) w.advance(std::max(w.now(), w.next_expiry()));
  }
}

TEST_CASE("one long jump fires everything before it and nothing behind", "[timer_wheel]") {
  wheel_and_oracle w(instant(12345), 100);
  for (std::size_t i = 0; i < 50; ++i)
    w.arm(i, w.now() + duration::milliseconds(static_cast<std::int64_t>(i * i * i)));
  for (std::size_t i = 50; i < 100; ++i)
    w.arm(i, w.now() + last_level * 5 + duration::seconds(static_cast<std::int64_t>(i)));
  w.advance(w.now() + last_level * 3);
  CHECK(w.armed() == 50);
  w.advance(w.now() + last_level * 3);
  CHECK(w.empty());
}

TEST_CASE("an earlier reminder stays, a later one is brought forward", "[timer_wheel]") {
  timer_wheel wheel(instant(1));
  timer t(timer::owner_kind::channel, &wheel);
  CHECK(t.kind() == timer::owner_kind::channel);
  CHECK(t.owner() == &wheel);
  wheel.arm_no_later(t, instant::never());
  CHECK_FALSE(t.armed());
  wheel.arm_no_later(t, instant(1) + duration::milliseconds(10));
  wheel.arm_no_later(t, instant(1) + duration::seconds(10));
  wheel.arm_no_later(t, instant::never());
  CHECK(wheel.expire(instant(1) + duration::milliseconds(10)) == nullptr);  // rounded up
  CHECK(wheel.expire(instant(1) + duration::milliseconds(10) + tick) == &t);
  wheel.arm_no_later(t, instant(1) + duration::seconds(10));
  wheel.arm_no_later(t, instant(1) + duration::milliseconds(20));
  CHECK(wheel.expire(instant(1) + duration::milliseconds(20) + tick) == &t);
  CHECK(wheel.expire(instant(1) + duration::seconds(20)) == nullptr);
}

TEST_CASE("next_expiry() is never when nothing is armed", "[timer_wheel]") {
  timer_wheel wheel(instant(1));
  CHECK(wheel.next_expiry().is_never());
  timer t(timer::owner_kind::socket, nullptr);
  wheel.arm_no_later(t, instant::never() - duration(1));
  CHECK(t.armed());
  CHECK_FALSE(wheel.next_expiry().is_never());
  CHECK(wheel.expire(instant(1) + duration::seconds(3600)) == nullptr);
  wheel.disarm(t);
  // A disarmed timer may cost one more look.
  CHECK(wheel.expire(instant::never() - duration(1)) == nullptr);
  CHECK(wheel.next_expiry().is_never());
}
