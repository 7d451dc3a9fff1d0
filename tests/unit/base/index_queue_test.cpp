// index_queue against std::deque, with generated operations.
#include "base/index_queue.hpp"

#include <catch2/catch.hpp>
#include <deque>

#include "base/rng.hpp"

using nd::index_queue;

TEST_CASE("an index_queue is a deque whose elements keep their number", "[index_queue]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 9)));
  CAPTURE(seed);
  nd::rng random(seed);
  index_queue<std::uint64_t> queue(std::size_t{1} << random.below(5));
  std::deque<std::uint64_t> oracle;
  const std::uint64_t start = random.chance(0.5) ? ~std::uint64_t{0} - 40 : random.next();
  queue.start_at(start);
  std::uint64_t pushed = 0, popped = 0;
  for (int i = 0; i < 5000; ++i) {
    // The share of pushes moves, so that it fills and empties.
    if (random.chance((i / 500) % 2 == 0 ? 0.6 : 0.4) || oracle.empty()) {
      const std::uint64_t value = random.next();
      REQUIRE(queue.push(value) == value);
      oracle.push_back(value);
      ++pushed;
    } else {
      REQUIRE(queue.front() == oracle.front());
      queue.pop();
      oracle.pop_front();
      ++popped;
    }
    REQUIRE(queue.size() == oracle.size());
    REQUIRE(queue.empty() == oracle.empty());
    REQUIRE(queue.begin() == start + popped);
    REQUIRE(queue.end() == start + pushed);
    for (std::size_t n = 0; n < oracle.size(); ++n) REQUIRE(queue[queue.begin() + n] == oracle[n]);
  }
}

namespace {
// Not inlined, so that the compiler does not warn of what this test is about.
__attribute__((noinline)) const std::uint64_t& first_of(index_queue<std::uint64_t>& queue) {
  return queue.front();
}
}  // namespace

TEST_CASE("an element of the queue can be pushed again while the queue grows", "[index_queue]") {
  index_queue<std::uint64_t> queue(4);
  for (std::uint64_t i = 0; i < 4; ++i) queue.push(100 + i);
  queue.push(first_of(queue));
  CHECK(queue[4] == 100);
}
