// A dcopy lcore whose DMA device reaches little, fails, or hangs (support/fake_dma.hpp).
#ifdef ND_FAKE_DEVICES

#include <rte_malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "unit/support/copy_requests.hpp"
#include "unit/support/fake_dma.hpp"

namespace {

using namespace nd;
using namespace nd::test;
using dcopy::device_state;
using dcopy::request;

/// Memory of the EAL, which each device reaches.
class eal_bytes {
 public:
  eal_bytes(rng& random, std::size_t n)
      : bytes_(static_cast<std::byte*>(rte_malloc(nullptr, n, 0)), rte_free), size_(n) {
    REQUIRE(bytes_ != nullptr);
    fill(random, span());
  }
  std::span<std::byte> span() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte, void (*)(void*)> bytes_;
  std::size_t size_;
};

struct fixture {
  explicit fixture(const fake_dma_traits& traits = {})
      : device(traits), w(dcopy::make_dma_engine(device.id(), with_digests)) {}
  ~fixture() { CHECK(device.violations() == std::vector<std::string>()); }

  void post_write(std::span<std::byte> bytes) { REQUIRE(w.post(write_of(pool, random, bytes))); }
  /// A turn; what has finished.
  std::vector<request> poll() {
    std::array<request, 8> out;
    const std::size_t n = w.poll(out, now);
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n)};
  }
  /// So many milliseconds in turns of one; what has finished.
  std::vector<request> pass(int ms) {
    std::vector<request> finished;
    for (; ms > 0; --ms) {
      now = now + duration::milliseconds(1);
      const auto more = poll();
      finished.insert(finished.end(), more.begin(), more.end());
    }
    return finished;
  }

  rng random{11};
  test::pool pool{512};
  fake_dma device;
  dcopy::worker w;
  instant now{5'000'000'000};
};

}  // namespace

TEST_CASE("a DMA device copies what it reaches, and the CPU the rest", "[dcopy]") {
  const bool sva = GENERATE(false, true);
  CAPTURE(sva);
  fixture f({.sva = sva});
  const eal_bytes reached(f.random, 20'000);
  auto on_heap = random_bytes(f.random, 20'000);
  std::uint64_t by_dma = 0;
  for (const std::span<std::byte> bytes : {reached.span(), std::span(on_heap)}) {
    f.post_write(bytes);
    const request done = run(f.w, 1)[0];
    CHECK(done.by_dma == (sva || bytes.data() == reached.span().data()));
    if (done.by_dma) by_dma += bytes.size();
    check_written(done, bytes);
  }
  CHECK(f.device.bytes() == by_dma);
}

TEST_CASE("what a DMA device fails to copy, the CPU copies", "[dcopy]") {
  fixture f({.fails = 3});
  const eal_bytes bytes(f.random, 40'000);
  // A request of one part now and then succeeds, one of many parts never.
  int by_dma = 0, by_cpu = 0;
  for (const unsigned n : {40'000U, 1U, 1U, 1U, 1U, 1U, 1U, 40'000U}) {
    f.post_write(bytes.span().first(n));
    const request done = run(f.w, 1)[0];
    ++(done.by_dma ? by_dma : by_cpu);
    if (n > 1) CHECK_FALSE(done.by_dma);
    check_written(done, bytes.span().first(n));
  }
  CHECK(by_dma >= 4);
  CHECK(by_cpu >= 4);
}

TEST_CASE("a DMA device that has no room though it has nothing to do is not waited for",
          "[dcopy]") {
  fixture f({.room = 1});
  const eal_bytes bytes(f.random, 20'000);
  f.post_write(bytes.span());
  const request done = run(f.w, 1)[0];
  CHECK_FALSE(done.by_dma);
  check_written(done, bytes.span());
}

TEST_CASE("a DMA device that hangs is given up, and the CPU copies what it had", "[dcopy]") {
  fixture f({.completes = 30});
  std::vector<eal_bytes> writes;
  for (int i = 0; i < 12; ++i) {
    writes.emplace_back(f.random, 20'000);
    f.post_write(writes.back().span());
  }
  std::vector<request> finished = f.pass(990);
  const auto early = finished.size();
  CHECK(early > 0);
  CHECK(early < writes.size());
  CHECK(f.w.device() == device_state::working);
  CHECK(f.device.started());
  const auto more = f.pass(20);
  finished.insert(finished.end(), more.begin(), more.end());
  CHECK(f.w.device() == device_state::given_up);
  CHECK_FALSE(f.device.started());
  REQUIRE(finished.size() == writes.size());
  for (std::size_t i = 0; i < finished.size(); ++i) {
    CHECK(finished[i].by_dma == (i < early));
    check_written(finished[i], std::find_if(writes.begin(), writes.end(), [&](const auto& w) {
                                 return w.span().data() == finished[i].bytes;
                               })->span());
  }
  // It is not asked again.
  f.device.go_on();
  f.post_write(writes[0].span());
  const request done = f.pass(1).at(0);
  CHECK_FALSE(done.by_dma);
  check_written(done, writes[0].span());
}

TEST_CASE("a DMA device that does not stop keeps what it may still write", "[dcopy]") {
  const auto stops = GENERATE(fake_dma_traits::never, fake_dma_traits::says_so);
  CAPTURE(stops);
  fixture f({.completes = 0, .stops = stops});
  const eal_bytes reached(f.random, 5'000), other(f.random, 5'000);
  f.post_write(reached.span());
  CHECK(f.pass(1'010).empty());
  CHECK(f.w.device() == device_state::stuck);
  // Others do not wait for it.
  for (int i = 0; i < 100; ++i) {
    f.post_write(other.span());
    const auto done = f.pass(1);
    REQUIRE(done.size() == 1);
    CHECK_FALSE(done[0].by_dma);
    check_written(done[0], other.span());
  }
  CHECK(f.pass(3'000).empty());
  CHECK(f.w.device() == device_state::stuck);
  f.device.go_on();
  const auto done = f.pass(1);
  REQUIRE(done.size() == 1);
  CHECK(done[0].by_dma);
  check_written(done[0], reached.span());
  CHECK(f.w.device() == device_state::given_up);
}

TEST_CASE("time that a dcopy lcore was away for is not its DMA device's fault", "[dcopy]") {
  fixture f({.completes = 0});
  const eal_bytes bytes(f.random, 5'000);
  f.post_write(bytes.span());
  f.pass(1);
  for (int i = 0; i < 90; ++i) {
    f.now = f.now + duration::seconds(60);
    CHECK(f.poll().empty());
  }
  CHECK(f.w.device() == device_state::working);
  f.device.go_on();
  const auto done = f.pass(1);
  REQUIRE(done.size() == 1);
  CHECK(done[0].by_dma);
  check_written(done[0], bytes.span());
}

#endif  // ND_FAKE_DEVICES
