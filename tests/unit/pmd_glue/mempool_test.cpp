#include "pmd_glue/mempool.hpp"

#include <rte_mbuf.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

using nd::pmd::make_mbuf_pool;
using nd::pmd::rx_data_room;

TEST_CASE("What a driver keeps goes with the pool", "[mempool]") {
  constexpr unsigned kept = 3;
  auto pool = make_mbuf_pool("kept", 512 + kept, 256, kept);
  pool.get_deleter().kept = kept;
  const std::string name = pool->name;
  for (unsigned i = 0; i < kept; ++i) REQUIRE(rte_pktmbuf_alloc(pool.get()) != nullptr);
  REQUIRE(rte_mempool_lookup(name.c_str()) != nullptr);
  pool.reset();
  CHECK(rte_mempool_lookup(name.c_str()) == nullptr);
}

TEST_CASE("A pool from which an mbuf is missing stays until it is back", "[mempool]") {
  auto pool = make_mbuf_pool("missing", 512, 256);
  const std::string name = pool->name;
  rte_mbuf* m = rte_pktmbuf_alloc(pool.get());
  pool.reset();
  CHECK(rte_mempool_lookup(name.c_str()) != nullptr);
  rte_pktmbuf_free(m);
  make_mbuf_pool("later", 512, 256).reset();
  CHECK(rte_mempool_lookup(name.c_str()) == nullptr);
}

// net_af_xdp gives the kernel one area, which it takes to be this long.
TEST_CASE("A pool without gaps is one area of mbufs of 2^n bytes", "[mempool]") {
  constexpr unsigned count = 1500;
  const auto pool = make_mbuf_pool("whole", count, 2304, 0, nd::pmd::pool_layout::without_gaps);
  REQUIRE(pool->populated_size == count);
  const std::uint32_t size = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, nullptr);
  CHECK(size == 4096);
  std::vector<std::uintptr_t> starts;
  rte_mempool_obj_iter(
      pool.get(),
      [](rte_mempool* p, void* to, void* mbuf, unsigned) {
        static_cast<std::vector<std::uintptr_t>*>(to)->push_back(
            reinterpret_cast<std::uintptr_t>(mbuf) - p->header_size);
      },
      &starts);
  REQUIRE(starts.size() == count);
  std::ranges::sort(starts);
  CHECK(starts.front() % 4096 == 0);
  for (std::size_t i = 1; i < starts.size(); ++i) REQUIRE(starts[i] - starts[i - 1] == size);

  rte_mbuf* const m = rte_pktmbuf_alloc(pool.get());
  REQUIRE(m != nullptr);
  CHECK(rte_pktmbuf_data_room_size(pool.get()) == 2304);
  CHECK(rte_pktmbuf_tailroom(m) == 2304 - RTE_PKTMBUF_HEADROOM);
  rte_pktmbuf_free(m);
}

TEST_CASE("A pool without gaps that does not fit says so and leaves nothing behind", "[mempool]") {
  const auto make = [](std::uint64_t count) {
    return make_mbuf_pool("huge", count, 2304, 0, nd::pmd::pool_layout::without_gaps);
  };
  CHECK_THROWS_AS(make(1 << 20), std::system_error);
  CHECK(make(600)->size == 600);
}

TEST_CASE("What the device has for itself comes on top", "[mempool]") {
  CHECK_THROWS_AS(make_mbuf_pool("few", 512, 256, 1), std::system_error);
  CHECK(make_mbuf_pool("enough", 513, 256, 1)->size == 513);
  CHECK(rx_data_room(1500) == RTE_MBUF_DEFAULT_BUF_SIZE);
  CHECK(rx_data_room(3000, 256) == rx_data_room(3000) + 256);
}
