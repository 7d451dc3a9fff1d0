// The RTT estimator, by the formulas of RFC 9002, section 5.
#include "channel/rtt.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "base/rng.hpp"

using nd::duration;
using nd::core::rtt_estimator;

namespace {
constexpr duration us(std::int64_t n) {
  return duration::microseconds(n);
}
}  // namespace

TEST_CASE("before the first sample there is a guess that is long enough", "[rtt]") {
  const rtt_estimator rtt;
  CHECK_FALSE(rtt.has_sample());
  CHECK(rtt.probe_timeout(us(100)) >= duration::milliseconds(20));
  CHECK(rtt.probe_timeout(us(100)) <= duration::milliseconds(100));
  CHECK(rtt.loss_delay() >= rtt_estimator::granularity);
}

TEST_CASE("the first sample is taken whole", "[rtt]") {
  rtt_estimator rtt;
  rtt.sample(us(400), us(100));
  CHECK(rtt.has_sample());
  CHECK(rtt.latest() == us(400));
  CHECK(rtt.minimum() == us(400));
  CHECK(rtt.smoothed() == us(400));
  CHECK(rtt.probe_timeout(us(25)) == us(400 + 4 * 200 + 25));
  CHECK(rtt.loss_delay() == us(450));
}

TEST_CASE("later samples are smoothed, without the delay that the peer added", "[rtt]") {
  rtt_estimator rtt;
  rtt.sample(us(400), us(0));
  rtt.sample(us(800), us(100));  // 700 of it is the network's
  CHECK(rtt.latest() == us(800));
  CHECK(rtt.minimum() == us(400));
  CHECK(rtt.smoothed() == duration((400'000 * 7 + 700'000) / 8));
  // variation: 3/4 * 200 + 1/4 * |400 - 700|
  CHECK(rtt.probe_timeout(us(0)) == rtt.smoothed() + us(4 * 225));
  CHECK(rtt.loss_delay() == us(900));
}

TEST_CASE("a delay that would make the sample smaller than the minimum is not believed", "[rtt]") {
  rtt_estimator rtt;
  rtt.sample(us(400), us(0));
  rtt.sample(us(450), us(100));
  CHECK(rtt.smoothed() == duration((400'000 * 7 + 450'000) / 8));
  CHECK(rtt.minimum() == us(400));
}

TEST_CASE("timeouts are never below the granularity", "[rtt]") {
  rtt_estimator rtt;
  for (int i = 0; i < 100; ++i) rtt.sample(duration(i % 2 == 0 ? 0 : -5), us(0));
  CHECK(rtt.latest() > duration(0));
  CHECK(rtt.smoothed() > duration(0));
  CHECK(rtt.loss_delay() == rtt_estimator::granularity);
  CHECK(rtt.probe_timeout(us(0)) >= rtt_estimator::granularity);
}

TEST_CASE("the estimate follows RFC 9002's formulas and converges", "[rtt]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3));
  CAPTURE(seed);
  nd::rng random(seed);
  rtt_estimator rtt;
  double smoothed = 0, variation = 0, minimum = 0;
  for (int i = 0; i < 500; ++i) {
    const double sample = static_cast<double>(20'000 + random.below(80'000));
    const double delay = static_cast<double>(random.below(30'000));
    rtt.sample(duration(static_cast<std::int64_t>(sample)),
               duration(static_cast<std::int64_t>(delay)));
    if (i == 0) {
      smoothed = minimum = sample;
      variation = sample / 2;
    } else {
      minimum = std::min(minimum, sample);
      const double adjusted = sample >= minimum + delay ? sample - delay : sample;
      variation = 0.75 * variation + 0.25 * std::abs(smoothed - adjusted);
      smoothed = 0.875 * smoothed + 0.125 * adjusted;
    }
    REQUIRE(static_cast<double>(rtt.smoothed().ns()) == Approx(smoothed).margin(20));
    const double wanted = smoothed + std::max(4 * variation, 50'000.0);
    REQUIRE(static_cast<double>(rtt.probe_timeout(duration(0)).ns()) == Approx(wanted).margin(60));
  }
  for (int i = 0; i < 200; ++i) rtt.sample(us(75), us(0));
  CHECK(std::abs((rtt.smoothed() - us(75)).ns()) < 100);
  CHECK(rtt.probe_timeout(us(0)) <= us(126));
}
