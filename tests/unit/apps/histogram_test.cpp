#include "common/histogram.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using nd::apps::histogram;

// Nearest rank, the definition that histogram::percentile() has.
std::uint64_t exact(const std::vector<std::uint64_t>& sorted, double percent) {
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  const auto i = std::clamp<std::size_t>(static_cast<std::size_t>(rank), 1, sorted.size());
  return sorted[i - 1];
}

void check_against_exact(std::vector<std::uint64_t> values) {
  histogram h;
  double sum = 0;
  for (const std::uint64_t v : values) {
    h.record(v);
    sum += static_cast<double>(v);
  }
  std::sort(values.begin(), values.end());
  REQUIRE(h.count() == values.size());
  CHECK(h.min() == values.front());
  CHECK(h.max() == values.back());
  CHECK(h.mean() == Approx(sum / static_cast<double>(values.size())).epsilon(1e-9));
  for (const double p : {0.0, 0.1, 1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const auto right = static_cast<double>(exact(values, p));
    INFO("percentile " << p << " of " << values.size() << " values");
    CHECK(static_cast<double>(h.percentile(p)) == Approx(right).epsilon(0.01).margin(0));
  }
}

template <class Distribution>
std::vector<std::uint64_t> draw(std::uint64_t seed, std::size_t count, Distribution distribution) {
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> values(count);
  for (std::uint64_t& v : values) {
    v = static_cast<std::uint64_t>(std::clamp(distribution(random), 1.0, 1e12));
  }
  return values;
}

}  // namespace

TEST_CASE("histogram: percentiles are within 1 % of the exact ones") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1U, 42U, 20220822U));
  CAPTURE(seed);
  SECTION("uniform") {
    check_against_exact(draw(seed, 100000, std::uniform_real_distribution<>(1, 1e6)));
  }
  SECTION("exponential: a queue") {
    check_against_exact(draw(seed, 100000, std::exponential_distribution<>(1 / 5e3)));
  }
  SECTION("log-normal with a long tail") {
    check_against_exact(draw(seed, 100000, std::lognormal_distribution<>(8, 2.5)));
  }
  SECTION("normal, narrow") {
    check_against_exact(draw(seed, 50000, std::normal_distribution<>(3300, 20)));
  }
  SECTION("small integers") {
    check_against_exact(draw(seed, 10000, std::uniform_real_distribution<>(1, 300)));
  }
  SECTION("few values") {
    check_against_exact(draw(seed, 3, std::lognormal_distribution<>(10, 3)));
  }
  SECTION("two modes, far apart") {
    auto values = draw(seed, 9900, std::normal_distribution<>(3e3, 1e2));
    const auto slow = draw(seed + 1, 100, std::normal_distribution<>(2e9, 1e7));
    values.insert(values.end(), slow.begin(), slow.end());
    check_against_exact(values);
  }
}

TEST_CASE("histogram: every bucket boundary from 1 ns to over 100 s") {
  for (unsigned bit = 0; bit < 38; ++bit) {
    const std::uint64_t power = std::uint64_t{1} << bit;
    for (const std::uint64_t v : {power - 1, power, power + 1, power + power / 3}) {
      if (v == 0) continue;
      histogram h;
      h.record(v);
      h.record(2 * v);  // so that the percentile comes from a bucket, not from max()
      CHECK(static_cast<double>(h.percentile(50)) == Approx(v).epsilon(1.0 / 256).margin(0));
    }
  }
}

TEST_CASE("histogram: values beyond its range keep count, mean and max") {
  histogram h;
  const std::uint64_t huge = std::uint64_t{1} << 50;
  h.record(1000);
  h.record(huge);
  CHECK(h.count() == 2);
  CHECK(h.max() == huge);
  CHECK(h.percentile(100) == huge);
  CHECK(h.mean() == Approx((1000.0 + static_cast<double>(huge)) / 2));
}

TEST_CASE("histogram: merged is the same as recorded in one") {
  const auto values = draw(7, 20000, std::lognormal_distribution<>(9, 2));
  histogram all;
  histogram even;
  histogram odd;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all.record(values[i]);
    (i % 2 == 0 ? even : odd).record(values[i]);
  }
  even.merge(odd);
  CHECK(even.count() == all.count());
  CHECK(even.min() == all.min());
  CHECK(even.max() == all.max());
  CHECK(even.mean() == Approx(all.mean()));
  for (const double p : {1.0, 50.0, 99.0, 99.9}) CHECK(even.percentile(p) == all.percentile(p));

  even.clear();
  CHECK(even.count() == 0);
  even.merge(all);
  CHECK(even.percentile(50) == all.percentile(50));
}

TEST_CASE("histogram: empty") {
  const histogram h;
  CHECK(h.count() == 0);
  CHECK(h.min() == 0);
  CHECK(h.max() == 0);
  CHECK(h.mean() == 0);
  CHECK(h.percentile(50) == 0);
}
