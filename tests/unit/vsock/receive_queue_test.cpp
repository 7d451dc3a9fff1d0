// The receive queue against a plain byte array, with generated overlaps, duplicates and reordering.
#include "vsock/receive_queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "base/rng.hpp"
#include "unit/support/pool.hpp"

using nd::mbuf_ptr;
using nd::core::memory_budget;
using nd::core::receive_queue;
using result = receive_queue::result;

namespace {

/// A queue, an application that reads from it, and beside it which bytes were accepted.
class reader {
 public:
  reader(nd::test::pool& pool, std::uint64_t budget, std::uint64_t limit)
      : pool_(pool), budget_{.limit = budget}, queue_(pool.get(), budget_, limit) {}
  ~reader() {
    while (rte_mbuf* m = to_app_.pop()) rte_pktmbuf_free(m);
  }

  receive_queue& queue() { return queue_; }
  const memory_budget& budget() const { return budget_; }
  std::uint64_t read() const { return read_; }

  /// Inserts bytes of the stream, in front of and behind other bytes of the packet.
  result insert(std::uint64_t offset, std::size_t length, bool alone) {
    std::vector<std::byte> bytes(44, std::byte{0xee});
    const auto payload = nd::test::stream_bytes(offset, length);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    bytes.resize(bytes.size() + 4, std::byte{0xdd});
    mbuf_ptr packet(pool_.packet(bytes));

    const bool fresh = any_missing(offset, length);
    const std::uint64_t next = queue_.next_offset(), memory = queue_.out_of_order_memory();
    const result r =
        queue_.insert(packet, nd::mbuf_bytes(packet.get()).subspan(44, length), offset, alone);
    if (packet == nullptr) REQUIRE(alone);
    if (r == result::no_memory || r == result::duplicate) {
      REQUIRE(packet != nullptr);
      REQUIRE(queue_.next_offset() == next);
      REQUIRE(queue_.out_of_order_memory() == memory);
    }
    if (r == result::duplicate) REQUIRE_FALSE(fresh);
    if (r == result::in_order || r == result::out_of_order) {
      if (accepted_.size() < offset + length) accepted_.resize(offset + length);
      for (std::size_t i = 0; i < length; ++i) accepted_[offset + i] = true;
      while (first_hole_ < accepted_.size() && accepted_[first_hole_]) ++first_hole_;
    }
    REQUIRE((r == result::in_order) == (queue_.next_offset() > next));
    check();
    if (r == result::out_of_order && !fresh && queue_.out_of_order_memory() > memory)
      ++kept_nothing_new_;
    return r;
  }

  /// Inserts that took memory for bytes that had all been there.
  unsigned kept_nothing_new() const { return kept_nothing_new_; }

  /// The application reads up to `most` mbufs. Each byte must be the stream's.
  void consume(std::size_t most) {
    for (; most > 0; --most) {
      const mbuf_ptr m(to_app_.pop());
      if (m == nullptr) return;
      REQUIRE(m->nb_segs == 1);
      REQUIRE(m->pkt_len == m->data_len);
      REQUIRE(
          std::ranges::equal(nd::mbuf_bytes(m.get()), nd::test::stream_bytes(read_, m->data_len)));
      read_ += m->data_len;
    }
  }
  bool hand_over() {
    const bool all = queue_.hand_over(to_app_.view());
    REQUIRE(all == !queue_.has_ready());
    REQUIRE(queue_.handed_over() <= queue_.next_offset());
    if (all) REQUIRE(queue_.handed_over() == queue_.next_offset());
    return all;
  }

 private:
  bool any_missing(std::uint64_t offset, std::size_t length) const {
    for (std::uint64_t at = offset; at < offset + length; ++at)
      if (at >= accepted_.size() || !accepted_[at]) return true;
    return false;
  }
  void check() const {
    // What was accepted is never lost: all of it up to the first hole is in order.
    const std::uint64_t hole = queue_.next_offset();
    REQUIRE(hole <= accepted_.size());
    REQUIRE(first_hole_ == hole);
    REQUIRE(budget_.used == queue_.out_of_order_memory());
    REQUIRE(budget_.used <= budget_.limit);
    if (hole == accepted_.size()) REQUIRE(queue_.out_of_order_memory() == 0);
  }

  nd::test::pool& pool_;
  memory_budget budget_;
  receive_queue queue_;
  nd::spsc_ring<rte_mbuf> to_app_{8};
  std::vector<bool> accepted_;
  std::size_t first_hole_ = 0;
  std::uint64_t read_ = 0;
  unsigned kept_nothing_new_ = 0;
};

constexpr std::uint64_t plenty = std::uint64_t{1} << 40;

}  // namespace

TEST_CASE("every byte comes out once and in order, however it comes in", "[receive_queue]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 61)));
  CAPTURE(seed);
  nd::rng random(seed);
  nd::test::pool pool(600);
  // Half of the runs have room for a few mbufs only.
  const std::uint64_t each = sizeof(rte_mbuf) + nd::mbuf_private_size + 2176;
  const std::uint64_t limit = random.chance(0.5) ? plenty : each * (1 + random.below(20));
  const std::uint64_t budget = random.chance(0.5) ? plenty : each * (1 + random.below(20));
  CAPTURE(limit, budget);
  reader r(pool, budget, limit);
  const std::uint64_t end = 30'000;
  const std::size_t largest = random.chance(0.5) ? 1400 : 60;
  unsigned refused = 0;
  for (int i = 0; i < 1500; ++i) {
    // Around the next offset: mostly ahead, some behind, with borders that coincide often.
    std::uint64_t offset = r.queue().next_offset() + random.below(6 * largest);
    offset -= std::min(offset, random.below(2 * largest));
    if (random.chance(0.5)) offset -= offset % 20;
    std::size_t length = 1 + random.below(largest);
    if (random.chance(0.5)) length = 20 * (1 + length / 20);
    offset = std::min(offset, end - 1);
    length = std::min<std::size_t>(length, end - offset);
    const bool starved = random.chance(0.03);
    if (starved) pool.leave(1);  // for the packet itself
    if (r.insert(offset, length, random.chance(0.5)) == result::no_memory) ++refused;
    pool.restore();
    if (random.chance(0.3)) r.hand_over();
    if (random.chance(0.3)) r.consume(random.below(5));
    REQUIRE(r.queue().out_of_order_memory() <= limit);
  }
  // What is next is always taken, so a retransmission in order finishes every stream.
  while (r.queue().next_offset() < end) {
    const std::uint64_t at = r.queue().next_offset();
    const std::size_t length = std::min<std::size_t>(1 + random.below(largest), end - at);
    REQUIRE(r.insert(at, length, random.chance(0.5)) == result::in_order);
    r.hand_over();
    r.consume(100);
  }
  while (!r.hand_over()) r.consume(100);
  r.consume(100);
  CHECK(r.read() == end);
  CHECK(pool.in_use() == 0);
  if (limit == plenty && budget == plenty) CHECK(refused < 100);
}

TEST_CASE("bytes that lie in two neighbours are a duplicate, and take no memory",
          "[receive_queue]") {
  nd::test::pool pool(16);
  const bool alone = GENERATE(true, false);
  reader r(pool, plenty, plenty);
  REQUIRE(r.insert(1000, 20, true) == result::out_of_order);
  REQUIRE(r.insert(1020, 20, true) == result::out_of_order);
  const std::uint64_t memory = r.queue().out_of_order_memory();
  CHECK(r.insert(1010, 20, alone) == result::duplicate);
  CHECK(r.queue().out_of_order_memory() == memory);
}

TEST_CASE("bytes that were there take no more memory", "[receive_queue]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 4)));
  CAPTURE(seed);
  nd::rng random(seed);
  nd::test::pool pool(600);
  reader r(pool, plenty, plenty);
  for (int i = 0; i < 300; ++i)
    r.insert(1 + random.below(3000), 1 + random.below(100), random.chance(0.5));
  CHECK(r.kept_nothing_new() == 0);
}

TEST_CASE("bytes that fill their mbufs wait on their credit alone", "[receive_queue]") {
  nd::test::pool pool(64);
  reader r(pool, 0, 0);
  const std::size_t half = (sizeof(rte_mbuf) + nd::mbuf_private_size + 2176 + 1) / 2;
  for (std::uint64_t i = 1; i < 30; ++i)
    REQUIRE(r.insert(i * half, half, i % 2 == 0) == result::out_of_order);
  CHECK(r.queue().out_of_order_memory() == 0);
  CHECK(r.insert(31 * half, half - 1, true) == result::no_memory);
}

TEST_CASE("small records share an mbuf while the application is busy", "[receive_queue]") {
  nd::test::pool pool(64);
  reader r(pool, plenty, plenty);
  REQUIRE(r.insert(0, 10, true) == result::in_order);
  CHECK(r.hand_over());  // it has nothing else to read
  for (std::uint64_t at = 10; at < 1010; at += 10)
    REQUIRE(r.insert(at, 10, at % 20 == 0) == result::in_order);
  CHECK_FALSE(r.hand_over());
  CHECK(pool.in_use() <= 2);
  r.consume(10);
  CHECK(r.hand_over());
  r.consume(10);
  CHECK(r.read() == 1010);
}

TEST_CASE("a full ring keeps the rest in the queue", "[receive_queue]") {
  nd::test::pool pool(64);
  reader r(pool, plenty, plenty);
  for (std::uint64_t i = 0; i < 20; ++i)
    REQUIRE(r.insert(i * 1000, 1000, true) == result::in_order);
  CHECK_FALSE(r.hand_over());
  CHECK(r.queue().handed_over() == 8000);
  for (int i = 0; i < 10 && r.read() < 20'000; ++i) {
    r.consume(3);
    r.hand_over();
  }
  r.consume(100);
  CHECK(r.read() == 20'000);
}

TEST_CASE("the process' budget is shared, and given back when a queue ends", "[receive_queue]") {
  nd::test::pool pool(64);
  const std::uint64_t each = sizeof(rte_mbuf) + nd::mbuf_private_size + 2176 - 2 * 100;
  memory_budget whole{.limit = 3 * each};
  memory_budget budget{.limit = plenty, .whole = &whole};
  {
    receive_queue a(pool.get(), budget, plenty), b(pool.get(), budget, 2 * each);
    const auto insert = [&](receive_queue& q, std::uint64_t offset) {
      mbuf_ptr packet(pool.packet(nd::test::stream_bytes(offset, 100)));
      return q.insert(packet, nd::mbuf_bytes(packet.get()), offset, true);
    };
    CHECK(insert(b, 1000) == result::out_of_order);
    CHECK(insert(b, 2000) == result::out_of_order);
    CHECK(insert(b, 3000) == result::no_memory);  // its own limit
    CHECK(insert(a, 1000) == result::out_of_order);
    CHECK(insert(a, 2000) == result::no_memory);  // everybody's
    CHECK(insert(a, 0) == result::in_order);      // never refused for it
    CHECK(budget.used == 3 * each);
    CHECK(whole.used == 3 * each);
  }
  CHECK(budget.used == 0);
  CHECK(whole.used == 0);
}
