// What a DMA device is told of memory, and which it is not told of.
#include "dcopy/dma_memory.hpp"

#include <rte_eal.h>
#include <rte_malloc.h>

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "pmd_glue/external_memory.hpp"
#include "unit/support/pool.hpp"

namespace {

using namespace nd;
using dcopy::direction;
using dcopy::dma_copy;
using dcopy::dma_memory;

constexpr std::size_t page = 4096;

rte_iova_t address(const void* p) {
  return reinterpret_cast<rte_iova_t>(p);
}

/// Pages that the EAL knows, by these IOVAs.
class known_pages {
 public:
  known_pages(std::size_t count, std::vector<rte_iova_t> iovas) : pages_(count * page) {
    REQUIRE(pmd::page_size() == page);
    REQUIRE(rte_extmem_register(at(0), count * page, iovas.empty() ? nullptr : iovas.data(),
                                static_cast<unsigned>(iovas.size()), page) == 0);
  }
  ~known_pages() { rte_extmem_unregister(at(0), pages_.bytes().size()); }
  known_pages(const known_pages&) = delete;
  known_pages& operator=(const known_pages&) = delete;

  std::byte* at(std::size_t offset) const { return pages_.bytes().data() + offset; }

 private:
  pmd::mapped_pages pages_;
};

/// One segment, to which or from which bytes are copied.
struct fixture {
  fixture() : m(pool.segment(std::vector<std::byte>(1'000))) {}
  ~fixture() { rte_pktmbuf_free(m); }

  std::vector<dma_copy> copies(const dma_memory& memory, std::byte* app, std::uint32_t length,
                               direction way = direction::to_mbufs) {
    m->data_off = tx_headroom;
    m->data_len = static_cast<std::uint16_t>(length);
    segment_of(m).length = length;
    std::array<dma_copy, 4> out;
    const std::size_t n =
        memory.copies_of({.first = m, .bytes = app, .length = length, .way = way}, out);
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n)};
  }

  test::pool pool{8};
  rte_mbuf* m;
};

}  // namespace

TEST_CASE("with shared virtual addressing all memory is reached, by its address", "[dcopy]") {
  fixture f;
  const dma_memory memory(true);
  std::array<std::byte, 100> on_stack;
  const known_pages without_iova(1, {});
  for (std::byte* app : {on_stack.data(), without_iova.at(0)}) {
    auto copies = f.copies(memory, app, 100);
    REQUIRE(copies.size() == 1);
    CHECK(copies[0].from == address(app));
    CHECK(copies[0].to == address(tx_payload(f.m)));
    CHECK(copies[0].length == 100);
    copies = f.copies(memory, app, 100, direction::from_mbufs);
    REQUIRE(copies.size() == 1);
    CHECK(copies[0].from == address(tx_payload(f.m)));
    CHECK(copies[0].to == address(app));
  }
}

TEST_CASE("without, only what the EAL knows an IOVA of", "[dcopy]") {
  REQUIRE(rte_eal_iova_mode() == RTE_IOVA_VA);
  fixture f;
  const dma_memory memory(false);
  const direction way = GENERATE(direction::to_mbufs, direction::from_mbufs);
  std::vector<std::byte> on_heap(100);
  CHECK(f.copies(memory, on_heap.data(), 100, way).empty());
  const std::unique_ptr<std::byte, void (*)(void*)> of_eal(
      static_cast<std::byte*>(rte_malloc(nullptr, 100, 0)), rte_free);
  const auto copies = f.copies(memory, of_eal.get(), 100, way);
  REQUIRE(copies.size() == 1);
  CHECK((way == direction::to_mbufs ? copies[0].from : copies[0].to) == address(of_eal.get()));

  const known_pages without_iova(1, {});
  CHECK(f.copies(memory, without_iova.at(0), 100, way).empty());
  const pmd::mapped_pages pages(page);
  std::byte* const app = pages.bytes().data();
  CHECK(f.copies(memory, app, 100, way).empty());
  rte_iova_t iova = 0x10000;
  REQUIRE(rte_extmem_register(app, page, &iova, 1, page) == 0);
  CHECK(f.copies(memory, app, 100, way).size() == 1);
  REQUIRE(rte_extmem_unregister(app, page) == 0);
  CHECK(f.copies(memory, app, 100, way).empty());
}

TEST_CASE("bytes on two pages are one copy where their IOVAs are in a row, else none", "[dcopy]") {
  fixture f;
  const dma_memory memory(false);
  // The third page follows the second for a device as well, and the second the first does not.
  const known_pages pages(4, {0x10000, 0x50000, 0x51000, RTE_BAD_IOVA});
  struct row {
    std::size_t at;
    std::uint32_t length;
    rte_iova_t iova;  // 0: not reached
  };
  for (const auto [at, length, iova] :
       {row{0, 1'000, 0x10000}, row{page - 1'000, 1'000, 0x10000 + page - 1'000},
        row{page - 999, 1'000, 0}, row{page - 1, 2, 0}, row{page, 1'000, 0x50000},
        row{2 * page - 1, 1'000, 0x50fff}, row{2 * page + 5, 1, 0x51005}, row{3 * page - 1, 2, 0},
        row{3 * page, 1, 0}}) {
    CAPTURE(at, length);
    const auto copies = f.copies(memory, pages.at(at), length);
    REQUIRE(copies.size() == (iova != 0 ? 1 : 0));
    if (iova == 0) continue;
    CHECK(copies[0].from == iova);
    CHECK(copies[0].length == length);
  }
  const known_pages last(1, {0x10000});
  CHECK(f.copies(memory, last.at(page - 100), 100).size() == 1);
  CHECK(f.copies(memory, last.at(page - 100), 101).empty());
}

TEST_CASE("a request of more parts than the device takes is not its", "[dcopy]") {
  test::pool pool(8);
  std::array<std::byte, 5> bytes{};
  dcopy::request r{.bytes = bytes.data(), .length = 5};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    rte_mbuf* const m = pool.segment(std::span(bytes).first(1));
    segment_of(m).next = std::exchange(r.first, m);
  }
  std::array<dma_copy, 5> out;
  CHECK(dma_memory(true).copies_of(r, out) == 5);
  CHECK(dma_memory(true).copies_of(r, std::span(out).first(4)) == 0);
  while (r.first != nullptr) rte_pktmbuf_free(std::exchange(r.first, segment_of(r.first).next));
}
