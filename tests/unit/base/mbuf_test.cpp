// segment_list against std::list, and the layout of segments.
#include "base/mbuf.hpp"

#include <catch2/catch.hpp>
#include <iterator>
#include <list>

#include "base/rng.hpp"
#include "unit/support/pool.hpp"

using nd::segment_list;
using nd::segment_of;

TEST_CASE("a segment_list is a list", "[mbuf]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 5)));
  CAPTURE(seed);
  nd::test::pool pool(64);
  nd::rng random(seed);
  segment_list list;
  std::list<rte_mbuf*> oracle;
  const auto any = [&] {
    return std::next(oracle.begin(), static_cast<std::ptrdiff_t>(random.below(oracle.size())));
  };
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t what = random.below(5);
    if (what < 3 && oracle.size() < 60) {
      rte_mbuf* m = nd::allocate_segment(pool.get());
      REQUIRE(m != nullptr);
      if (what == 0) {
        list.push_back(m);
        oracle.push_back(m);
      } else if (what == 1 || oracle.empty()) {
        list.insert_after(nullptr, m);
        oracle.push_front(m);
      } else {
        const auto position = any();
        list.insert_after(*position, m);
        oracle.insert(std::next(position), m);
      }
    } else if (what == 3 && !oracle.empty()) {
      const auto position = any();
      rte_mbuf* m = *position;
      list.remove(m);
      oracle.erase(position);
      REQUIRE(segment_of(m).next == nullptr);
      REQUIRE(segment_of(m).prev == nullptr);
      rte_pktmbuf_free(m);
    } else {
      rte_mbuf* const expected = oracle.empty() ? nullptr : oracle.front();
      rte_mbuf* m = list.pop_front();
      REQUIRE(m == expected);
      if (m != nullptr) oracle.pop_front();
      rte_pktmbuf_free(m);
    }
    REQUIRE(list.empty() == oracle.empty());
    REQUIRE(list.front() == (oracle.empty() ? nullptr : oracle.front()));
    REQUIRE(list.back() == (oracle.empty() ? nullptr : oracle.back()));
    rte_mbuf* forward = list.front();
    rte_mbuf* before = nullptr;
    for (rte_mbuf* m : oracle) {
      REQUIRE(forward == m);
      REQUIRE(segment_of(m).prev == before);
      before = m;
      forward = segment_list::after(m);
    }
    REQUIRE(forward == nullptr);
  }
  list.clear();
  CHECK(list.empty());
  CHECK(pool.in_use() == 0);
}

TEST_CASE("an allocated segment is fresh, whatever the mbuf held before", "[mbuf]") {
  nd::test::pool pool(1);
  rte_mbuf* m = nd::allocate_segment(pool.get());
  segment_of(m).offset = 99;
  segment_of(m).state = nd::segment_state::lost;
  CHECK(nd::allocate_segment(pool.get()) == nullptr);
  rte_pktmbuf_free(m);
  const nd::mbuf_ptr again(nd::allocate_segment(pool.get()));
  REQUIRE(again.get() == m);
  CHECK(segment_of(m).offset == 0);
  CHECK(segment_of(m).state == nd::segment_state::unsent);
}

TEST_CASE("payload that is sent lies between headroom and tailroom", "[mbuf]") {
  nd::test::pool pool(1, 1000);
  const nd::mbuf_ptr m(nd::allocate_segment(pool.get()));
  CHECK(nd::tx_payload(m.get()) == static_cast<std::byte*>(m->buf_addr) + nd::tx_headroom);
  CHECK(nd::tx_capacity(m.get()) == 1000 - nd::tx_headroom - nd::tx_tailroom);
  CHECK(nd::true_size(m.get()) == sizeof(rte_mbuf) + nd::mbuf_private_size + 1000);
}
