// Requests through a dcopy lcore, with each engine, against what a plain copy gives.
#define ALLOW_EXPERIMENTAL_API  // rte_dmadev
#include "dcopy/worker.hpp"

#include <rte_bus_vdev.h>
#include <rte_dmadev.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "unit/support/copy_requests.hpp"

namespace {

using namespace nd;
using namespace nd::test;
using dcopy::direction;
using dcopy::request;

/// The skeleton device: a thread that copies. One for the whole program.
std::int16_t skeleton() {
  static const int made = rte_vdev_init("dma_skeleton0", nullptr);
  REQUIRE(made == 0);
  return static_cast<std::int16_t>(rte_dma_get_dev_id_by_name("dma_skeleton0"));
}

std::unique_ptr<dcopy::engine> make_engine(const std::string& name,
                                           const dcopy::digest_functions& digests) {
  return name == "cpu" ? dcopy::make_cpu_engine(digests)
                       : dcopy::make_dma_engine(skeleton(), digests);
}

}  // namespace

TEST_CASE("bytes go into segments, with their digests", "[dcopy]") {
  const std::string engine = GENERATE("cpu", "dma");
  const bool digests = GENERATE(true, false);
  CAPTURE(engine, digests);
  test::pool pool(512);
  rng random(7);
  dcopy::worker w(make_engine(engine, digests ? with_digests : dcopy::digest_functions{}));
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<std::byte>> sources;
    for (std::size_t i = 0; i < 10; ++i) {
      sources.push_back(random_bytes(random, 1 + random.below(20'000)));
      auto& bytes = sources.back();
      REQUIRE(w.post({.owner = reinterpret_cast<void*>(i + 1),
                      .first = empty_chain(pool, random, bytes.size()),
                      .bytes = bytes.data(),
                      .length = static_cast<std::uint32_t>(bytes.size())}));
    }
    CHECK(w.queued_bytes() > 0);
    std::vector<bool> seen(10);
    for (const request& r : run(w, 10)) {
      const std::size_t i = reinterpret_cast<std::size_t>(r.owner) - 1;
      REQUIRE_FALSE(seen.at(i));
      seen[i] = true;
      check_written(r, sources[i], digests);
    }
    CHECK(w.queued_bytes() == 0);
  }
}

TEST_CASE("bytes come out of mbufs, which are freed but for one that has more", "[dcopy]") {
  const std::string engine = GENERATE("cpu", "dma");
  CAPTURE(engine);
  test::pool pool(512);
  rng random(8);
  dcopy::worker w(make_engine(engine, with_digests));
  for (int round = 0; round < 100; ++round) {
    const auto source = random_bytes(random, 1 + random.below(20'000));
    rte_mbuf* first = nullptr;
    rte_mbuf* last = nullptr;
    for (std::size_t at = 0; at < source.size();) {
      const std::size_t n = std::min<std::size_t>(source.size() - at, 1 + random.below(1'500));
      rte_mbuf* m = pool.segment(std::span(source).subspan(at, n));
      m->data_off = tx_headroom;
      m->data_len = static_cast<std::uint16_t>(n);
      (last != nullptr ? segment_of(last).next : first) = m;
      last = m;
      at += n;
    }
    const auto skip = static_cast<std::uint32_t>(random.below(first->data_len));
    // Up to all, or so that the last mbuf keeps something.
    const bool keep = last != first && last->data_len > 1 && random.chance(0.5);
    const std::size_t end = keep ? source.size() - 1 : source.size();
    std::vector<std::byte> target(end - skip);
    REQUIRE(w.post({.first = first,
                    .bytes = target.data(),
                    .length = static_cast<std::uint32_t>(target.size()),
                    .skip = skip,
                    .way = direction::from_mbufs,
                    .keep_last = keep}));
    run(w, 1);
    REQUIRE(std::equal(target.begin(), target.end(), source.begin() + skip));
    CHECK(pool.in_use() == (keep ? 1 : 0));
    if (keep) rte_pktmbuf_free(last);
  }
}

TEST_CASE("what a DMA device cannot take in one go is copied all the same", "[dcopy]") {
  test::pool pool(1'024);
  dcopy::worker w(make_engine("dma", with_digests));
  rng random(9);
  // More parts than half of its descriptors.
  auto bytes = random_bytes(random, 1'000);
  rte_mbuf* first = nullptr;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    rte_mbuf* m = allocate_segment(pool.get());
    REQUIRE(m != nullptr);
    segment_of(m).length = 1;
    segment_of(m).digest = wire::crc32c_start;
    segment_of(m).next = std::exchange(first, m);
  }
  REQUIRE(w.post({.first = first, .bytes = bytes.data(), .length = 1'000}));
  run(w, 1);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    REQUIRE(*tx_payload(first) == bytes[i]);
    REQUIRE(segment_of(first).digest == wire::crc32c(wire::crc32c_start, {&bytes[i], 1}));
    rte_pktmbuf_free(std::exchange(first, segment_of(first).next));
  }
}

TEST_CASE("a full ring refuses, and nothing is counted twice", "[dcopy]") {
  test::pool pool(512);
  rng random(10);
  dcopy::worker w(make_engine("cpu", with_digests));
  auto bytes = random_bytes(random, 10);
  std::size_t posted = 0;
  for (;; ++posted) {
    rte_mbuf* chain = empty_chain(pool, random, bytes.size());
    if (w.post({.first = chain, .bytes = bytes.data(), .length = 10})) continue;
    while (chain != nullptr) rte_pktmbuf_free(std::exchange(chain, segment_of(chain).next));
    break;
  }
  CHECK(posted >= dcopy::worker::ring_capacity);
  CHECK(w.queued_bytes() == 10 * posted);
  for (const request& r : run(w, posted))
    for (rte_mbuf* m = r.first; m != nullptr;)
      rte_pktmbuf_free(std::exchange(m, segment_of(m).next));
  CHECK(w.queued_bytes() == 0);
}

TEST_CASE("a DMA device that is not there is an error that says so", "[dcopy]") {
  CHECK_THROWS_WITH(dcopy::make_dma_engine(63, {}), Catch::Contains("no DMA device 63"));
}
