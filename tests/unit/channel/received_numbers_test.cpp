// received_numbers against a std::set, with generated arrivals and floors.
#include "channel/received_numbers.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "base/rng.hpp"

using nd::core::number_range;
using nd::core::received_numbers;
using verdict = received_numbers::verdict;

namespace {

/// The same with a set of every number above the base.
class oracle {
 public:
  explicit oracle(std::uint64_t start) : base_(start), end_(start) {}

  std::uint64_t base() const { return base_; }
  std::uint64_t end() const { return end_; }
  bool contains(std::uint64_t n) const { return n < base_ || arrived_.contains(n); }

  verdict classify(std::uint64_t n) const {
    if (n >= base_ + received_numbers::window) return verdict::beyond_window;
    return contains(n) ? verdict::duplicate : verdict::fresh;
  }
  void insert(std::uint64_t n) {
    arrived_.insert(n);
    end_ = std::max(end_, n + 1);
    settle();
  }
  void forget_below(std::uint64_t floor) {
    base_ = std::max(base_, floor);
    end_ = std::max(end_, base_);
    settle();
  }
  /// Highest first.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges(std::size_t most) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> out;
    for (auto it = arrived_.rbegin(); it != arrived_.rend() && *it >= base_; ++it) {
      if (!out.empty() && out.back().first == *it + 1)
        out.back().first = *it;
      else if (out.size() == most)
        break;
      else
        out.emplace_back(*it, *it);
    }
    return out;
  }

 private:
  void settle() {
    while (arrived_.contains(base_)) ++base_;
    arrived_.erase(arrived_.begin(), arrived_.lower_bound(base_));
  }
  std::uint64_t base_, end_;
  std::set<std::uint64_t> arrived_;
};

void agree(const received_numbers& numbers, const oracle& expected, std::size_t most) {
  REQUIRE(numbers.next_expected() == expected.base());
  REQUIRE(numbers.end() == expected.end());
  REQUIRE(numbers.has_gaps() == (expected.end() != expected.base()));
  std::array<number_range, 64> found;
  const std::size_t n = numbers.ranges(std::span(found).first(most));
  const auto ranges = expected.ranges(most);
  REQUIRE(n == ranges.size());
  for (std::size_t i = 0; i < n; ++i) {
    REQUIRE(found[i].first == ranges[i].first);
    REQUIRE(found[i].last == ranges[i].second);
  }
}

}  // namespace

TEST_CASE("arrivals, duplicates, ranges and floors are those of a set", "[received_numbers]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 31)));
  CAPTURE(seed);
  nd::rng random(seed);
  const std::uint64_t start =
      random.chance(0.5) ? (std::uint64_t{1} << 32) - random.below(5000) : random.below(1000);
  const double loss = std::array{0.0, 0.01, 0.2, 0.9}[random.below(4)];
  const std::uint64_t spread = std::array<std::uint64_t, 4>{1, 10, 300, 9000}[random.below(4)];
  CAPTURE(start, loss, spread);
  received_numbers numbers;
  numbers.start_at(start);
  oracle expected(start);
  std::uint64_t next = start;
  for (int i = 0; i < 3000; ++i) {
    std::uint64_t n = next;
    if (random.chance(0.8)) ++next;
    if (random.chance(loss)) continue;
    if (random.chance(0.3)) n = next - std::min(next - start, random.below(spread));
    if (random.chance(0.05)) n = next + random.below(spread);
    const verdict v = numbers.classify(n);
    CAPTURE(i, n);
    REQUIRE(v == expected.classify(n));
    if (v == verdict::fresh) {
      numbers.insert(n);
      expected.insert(n);
      next = std::max(next, n);
    }
    if (random.chance(0.02)) {
      // Mostly within what arrived; now and then far beyond everything.
      std::uint64_t floor = expected.base() + random.below(expected.end() - expected.base() + 3);
      if (random.chance(0.1)) floor = expected.end() + random.below(20000);
      numbers.forget_below(floor);
      expected.forget_below(floor);
      next = std::max(next, floor);
    }
    agree(numbers, expected, 1 + random.below(32));
  }
}

TEST_CASE("the window's edges", "[received_numbers]") {
  constexpr std::uint64_t window = received_numbers::window;
  const auto start =
      static_cast<std::uint64_t>(GENERATE(std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{63},
                                          std::uint64_t{8191}, (std::uint64_t{1} << 32) - 1));
  CAPTURE(start);
  received_numbers numbers;
  numbers.start_at(start);
  oracle expected(start);
  CHECK(numbers.classify(start) == verdict::fresh);
  CHECK(numbers.classify(start + window - 1) == verdict::fresh);
  CHECK(numbers.classify(start + window) == verdict::beyond_window);
  const auto arrives = [&](std::uint64_t n) {
    REQUIRE(numbers.classify(n) == verdict::fresh);
    numbers.insert(n);
    expected.insert(n);
    agree(numbers, expected, 32);
  };
  arrives(start + window - 1);
  CHECK(numbers.classify(start + window - 1) == verdict::duplicate);
  arrives(start + window - 2);
  arrives(start + 1);
  CHECK(numbers.classify(start) == verdict::fresh);
  arrives(start);
  CHECK(numbers.next_expected() == start + 2);
  CHECK(numbers.classify(start + window) == verdict::fresh);
  CHECK(numbers.classify(start + window + 1) == verdict::fresh);
  CHECK(numbers.classify(start + window + 2) == verdict::beyond_window);
  arrives(start + window + 1);
  numbers.forget_below(start + window + 1);
  expected.forget_below(start + window + 1);
  agree(numbers, expected, 32);
  CHECK_FALSE(numbers.has_gaps());
}

TEST_CASE("a full window of every second number", "[received_numbers]") {
  received_numbers numbers;
  oracle expected(7);
  numbers.start_at(7);
  for (std::uint64_t n = 8; n < 7 + received_numbers::window; n += 2) {
    numbers.insert(n);
    expected.insert(n);
  }
  agree(numbers, expected, 64);
  for (std::uint64_t n = 7; n < 7 + received_numbers::window; n += 2) {
    REQUIRE(numbers.classify(n) == verdict::fresh);
    numbers.insert(n);
  }
  CHECK_FALSE(numbers.has_gaps());
  CHECK(numbers.next_expected() == 7 + received_numbers::window);
}
