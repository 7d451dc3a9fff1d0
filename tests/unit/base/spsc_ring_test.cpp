// spsc_ring against std::deque, and between two threads.
#include "base/spsc_ring.hpp"

#include <malloc.h>

#include <catch2/catch.hpp>
#include <deque>
#include <thread>
#include <vector>

#include "base/rng.hpp"

TEST_CASE("a ring from one thread to one is a bounded deque, whatever it grew by", "[ring]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3, 4));
  const auto capacity = static_cast<std::uint32_t>(GENERATE(1, 2, 3, 7, 8, 9, 63, 64, 1000));
  CAPTURE(seed, capacity);
  nd::rng random(seed);
  nd::spsc_ring<int> ring(capacity);
  std::vector<int> elements(1000);
  std::deque<int*> oracle;
  const std::size_t slots = ring.free_slots();
  REQUIRE(slots >= capacity);
  for (int i = 0; i < 20'000; ++i) {
    if (random.chance((i / 2000) % 2 == 0 ? 0.7 : 0.3)) {
      int* element = &elements[random.below(elements.size())];
      REQUIRE(ring.push(element) == (oracle.size() < slots));
      if (oracle.size() < slots) oracle.push_back(element);
    } else {
      int* const expected = oracle.empty() ? nullptr : oracle.front();
      REQUIRE(ring.pop() == expected);
      if (!oracle.empty()) oracle.pop_front();
    }
    REQUIRE(ring.size() == oracle.size());
    REQUIRE(ring.empty() == oracle.empty());
    REQUIRE(ring.free_slots() == slots - oracle.size());
  }
}

TEST_CASE("a ring takes no memory before it is used, and little for a few elements", "[ring]") {
  int element = 0;
  const auto in_use = [] { return mallinfo2().uordblks; };
  const std::size_t before = in_use();
  nd::spsc_ring<int> ring(65536);
  CHECK(in_use() == before);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(ring.push(&element));
    REQUIRE(ring.pop() == &element);
  }
  CHECK(in_use() <= before + 128);
}

TEST_CASE("what one thread pushes another pops, in order, while the ring grows", "[ring]") {
  const auto round = GENERATE(range(0, 50));
  CAPTURE(round);
  constexpr std::size_t count = 5000;
  nd::spsc_ring<std::size_t> ring(64);
  std::vector<std::size_t> elements(count);
  std::thread writer([&] {
    for (std::size_t i = 0; i < count; ++i) {
      elements[i] = i;
      while (!ring.push(&elements[i])) std::this_thread::yield();
    }
  });
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count;) {
    const std::size_t* e = ring.pop();
    if (e == nullptr) {
      std::this_thread::yield();
      continue;
    }
    if (*e != i++) ++wrong;
  }
  writer.join();
  CHECK(wrong == 0);
  CHECK(ring.empty());
}
