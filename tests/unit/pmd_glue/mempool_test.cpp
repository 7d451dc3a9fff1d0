#include "pmd_glue/mempool.hpp"

#include <rte_mbuf.h>

#include <catch2/catch.hpp>
#include <string>
#include <system_error>

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

TEST_CASE("What the device has for itself comes on top", "[mempool]") {
  CHECK_THROWS_AS(make_mbuf_pool("few", 512, 256, 1), std::system_error);
  CHECK(make_mbuf_pool("enough", 513, 256, 1)->size == 513);
  CHECK(rx_data_room(1500) == RTE_MBUF_DEFAULT_BUF_SIZE);
  CHECK(rx_data_room(3000, 256) == rx_data_room(3000) + 256);
}
