// ring against std::deque, with generated operations.
#include "base/ring.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <deque>
#include <vector>

#include "base/rng.hpp"

namespace {

void behaves_like_a_deque(std::uint64_t seed, unsigned capacity) {
  CAPTURE(seed, capacity);
  nd::rng random(seed);
  nd::mpsc_ring<int> ring(capacity);
  std::vector<int> elements(1000);
  std::deque<int*> oracle;
  const std::size_t slots = ring.free_slots();
  REQUIRE(slots >= capacity);
  for (int i = 0; i < 5000; ++i) {
    if (random.chance((i / 500) % 2 == 0 ? 0.7 : 0.3)) {
      int* element = &elements[random.below(elements.size())];
      REQUIRE(ring.push(element) == (oracle.size() < slots));
      if (oracle.size() < slots) oracle.push_back(element);
    } else if (random.chance(0.5)) {
      int* const expected = oracle.empty() ? nullptr : oracle.front();
      REQUIRE(ring.pop() == expected);
      if (!oracle.empty()) oracle.pop_front();
    } else {
      std::array<int*, 8> out{};
      const std::size_t wanted = random.below(out.size() + 1);
      const std::size_t got = ring.pop(std::span(out).first(wanted));
      REQUIRE(got == std::min(wanted, oracle.size()));
      for (std::size_t n = 0; n < got; ++n) {
        REQUIRE(out[n] == oracle.front());
        oracle.pop_front();
      }
    }
    REQUIRE(ring.size() == oracle.size());
    REQUIRE(ring.empty() == oracle.empty());
    REQUIRE(ring.free_slots() == slots - oracle.size());
  }
}

}  // namespace

TEST_CASE("a ring is a bounded deque", "[ring]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2));
  const unsigned capacity = GENERATE(1U, 2U, 3U, 7U, 8U, 63U);
  behaves_like_a_deque(seed, capacity);
}
