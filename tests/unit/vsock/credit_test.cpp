// Credit: grants are monotone, and together they never claim more than the pool has.
#include "vsock/credit.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "base/rng.hpp"

using nd::core::credit_pool;
using nd::core::receive_credit;

TEST_CASE("a pool gives what is wanted, a share at a time, to the last byte", "[credit]") {
  credit_pool pool(160'000);
  CHECK(pool.take(5000, 16) == 5000);
  CHECK(pool.take(100'000, 16) == (160'000 - 5000) / 16);
  std::uint64_t given = pool.held();
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t got = pool.take(1'000'000, 16);
    if (got == 0) break;
    given += got;
    REQUIRE(pool.held() == given);
  }
  CHECK(given == pool.limit());
  CHECK(pool.take(1, 16) == 0);
  pool.give_back(10);
  CHECK(pool.take(100, 16) == 10);
}

TEST_CASE("a quarter of a pool is for those who ask", "[credit]") {
  credit_pool pool(1 << 20);
  std::vector<std::unique_ptr<receive_credit>> idle;
  for (int i = 0; i < 20'000; ++i) {
    idle.push_back(std::make_unique<receive_credit>(pool, 1 << 20));
    REQUIRE(pool.held() <= pool.limit() / 4 * 3);
  }
  CHECK(pool.held() > pool.limit() / 4 * 3 - credit_pool::least);
  CHECK(idle.front()->granted() > idle[1000]->granted());
  CHECK(idle.back()->granted() == 0);
  // All of them may still send, one after the other.
  for (int round = 1; round <= 3; ++round) {
    for (auto& credit : idle) {
      const std::uint64_t had = credit->granted();
      REQUIRE((credit->on_notification(had + 1000) && credit->granted() == had + 1000));
      credit->on_consumed(credit->granted());
    }
    REQUIRE(pool.held() <= pool.limit() / 4 * 3);
  }
  idle.clear();
  CHECK(pool.held() == 0);
  CHECK(pool.reserve_ahead(pool.limit(), 1) == pool.limit() / 4 * 3);
}

TEST_CASE("a window grows with what is read, faster than a congestion window does", "[credit]") {
  credit_pool pool(std::uint64_t{1} << 30);
  receive_credit credit(pool, 4 << 20);
  std::uint64_t congestion_window = 16 << 10, sent = 0, read = 0;
  for (int round = 0; round < 7; ++round, congestion_window *= 2) {
    sent += congestion_window;
    REQUIRE(sent <= credit.granted());
    for (; read < sent; read += 1024) credit.on_consumed(read);
    REQUIRE(credit.granted() <= read + (4 << 20));
  }
  CHECK(credit.granted() - read > 3 << 20);
}

TEST_CASE("whoever comes late can go on reading as those before", "[credit]") {
  credit_pool pool(8 << 20);
  std::vector<std::unique_ptr<receive_credit>> readers;
  std::vector<std::uint64_t> read;
  const auto turn = [&] {
    for (std::size_t i = 0; i < readers.size(); ++i)
      readers[i]->on_consumed(read[i] = std::min(readers[i]->granted(), read[i] + 16384));
  };
  for (int i = 0; i < 32; ++i) {
    readers.push_back(std::make_unique<receive_credit>(pool, 1 << 20));
    read.push_back(0);
    for (int n = 0; n < 500; ++n) turn();
  }
  const std::vector<std::uint64_t> before = read;
  for (int n = 0; n < 500; ++n) turn();
  for (std::size_t i = 0; i < readers.size(); ++i) {
    CAPTURE(i);
    CHECK(read[i] - before[i] > 400 * 16384);
  }
}

TEST_CASE("a socket starts with the initial grant, or its window where that is smaller",
          "[credit]") {
  credit_pool pool(1 << 30);
  {
    const receive_credit large(pool, 1 << 20), small(pool, 4096);
    CHECK(large.granted() == receive_credit::initial_grant);
    CHECK(small.granted() == 4096);
    CHECK(pool.held() == receive_credit::initial_grant + 4096);
  }
  CHECK(pool.held() == 0);
}

TEST_CASE("the window opens in steps of a sixteenth", "[credit]") {
  credit_pool pool(1 << 30);
  receive_credit credit(pool, 16'000);
  CHECK(credit.granted() == 16'000);
  CHECK_FALSE(credit.on_consumed(999));
  CHECK(credit.granted() == 16'000);
  CHECK(credit.on_consumed(1000));
  CHECK(credit.granted() == 17'000);
  CHECK_FALSE(credit.on_consumed(1001));
  CHECK(credit.on_notification(40'000));  // a peer that is out of credit gets the last byte
  CHECK(credit.granted() == 17'001);
  CHECK_FALSE(credit.on_notification(40'000));
}

TEST_CASE("grants are monotone, bounded by the window, and all together by the pool", "[credit]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 21)));
  CAPTURE(seed);
  nd::rng random(seed);
  struct one {
    std::unique_ptr<receive_credit> credit;
    std::uint64_t window, consumed = 0, granted = 0;
  };
  // From much too small to ample.
  credit_pool pool(1000 + (random.next() >> (40 + random.below(14))));
  CAPTURE(pool.limit());
  std::vector<one> sockets;
  for (int i = 0; i < 4000; ++i) {
    const std::size_t at = sockets.empty() ? 0 : random.below(sockets.size());
    switch (random.below(8)) {
      case 0:
        if (sockets.size() < 20) {
          const std::uint64_t window = 1 + random.below(1 << random.below(21));
          sockets.push_back({std::make_unique<receive_credit>(pool, window), window});
          sockets.back().granted = sockets.back().credit->granted();
        }
        break;
      case 1:
        if (sockets.size() > 10) sockets.erase(sockets.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 2:
        if (!sockets.empty()) {
          const std::uint64_t before = sockets[at].credit->granted();
          const bool more = sockets[at].credit->on_notification(before + random.below(1 << 20));
          REQUIRE(more == (sockets[at].credit->granted() > before));
        }
        break;
      default:
        if (!sockets.empty()) {
          one& s = sockets[at];
          s.consumed += random.below(s.credit->granted() - s.consumed + 1);
          const std::uint64_t before = s.credit->granted();
          const bool more = s.credit->on_consumed(s.consumed);
          REQUIRE(more == (s.credit->granted() > before));
        }
    }
    std::uint64_t held = 0;
    for (one& s : sockets) {
      REQUIRE(s.credit->granted() >= s.granted);
      s.granted = s.credit->granted();
      REQUIRE(s.granted <= s.consumed + s.window);
      REQUIRE(s.granted >= s.consumed);
      held += s.granted - s.consumed;
    }
    REQUIRE(pool.held() == held);
    REQUIRE(held <= pool.limit());
  }
  sockets.clear();
  CHECK(pool.held() == 0);
}

TEST_CASE("a stream that ends gives back what it will not use", "[credit]") {
  credit_pool pool(1 << 30);
  {
    receive_credit credit(pool, 16'000);
    credit.on_consumed(500);
    credit.on_final_offset(2000);
    CHECK(pool.held() == 1500);
    CHECK(credit.granted() == 16'000);  // never taken back
    CHECK_FALSE(credit.on_consumed(2000));
    CHECK_FALSE(credit.on_notification(9000));
    CHECK(pool.held() == 0);
  }
  CHECK(pool.held() == 0);
}

TEST_CASE("a socket that found the pool empty gets something once others gave back", "[credit]") {
  credit_pool pool(64 << 10);
  auto greedy = std::make_unique<receive_credit>(pool, 1 << 20);
  while (greedy->on_notification(1 << 20)) {
  }
  CHECK(pool.held() == pool.limit());
  receive_credit late(pool, 1 << 20);
  CHECK(late.granted() == 0);
  CHECK_FALSE(late.on_notification(1000));
  greedy.reset();
  CHECK(late.on_notification(1000));
  CHECK(late.granted() > 0);
}
