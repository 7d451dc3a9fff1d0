// The send queue against the stream that was written, with generated appends, cuts, acks and
// losses.
#include "vsock/send_queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <vector>

#include "base/rng.hpp"
#include "unit/support/pool.hpp"
#include "wire/checksum.hpp"

using nd::segment_of;
using nd::segment_state;
using nd::core::send_queue;

namespace {

std::uint32_t digest_of(rte_mbuf* m) {
  return nd::wire::crc32c(nd::wire::crc32c_start, {nd::tx_payload(m), segment_of(m).length});
}

/// A queue, the stream that was written to it, and a peer that puts what it gets together.
class writer {
 public:
  explicit writer(nd::test::pool& pool, bool digests = true) : pool_(pool), digests_(digests) {}
  ~writer() {
    // What a channel still refers to is freed by its verdict.
    for (const auto& [offset, m] : in_flight_) rest_.push_back(m);
    queue_.reset();
    for (rte_mbuf* m : rest_) rte_pktmbuf_free(m);
  }

  send_queue& queue() { return *queue_; }
  std::uint64_t written() const { return written_; }
  std::uint64_t received() const { return received_; }
  std::size_t in_flight() const { return in_flight_.size(); }

  void append(std::size_t bytes, std::uint32_t max_payload) {
    rte_mbuf* m = pool_.segment(nd::test::stream_bytes(written_, bytes));
    if (digests_) segment_of(m).digest = digest_of(m);
    segment_of(m).offset = written_;
    queue_->insert(m, max_payload, digests_);
    written_ += bytes;
    REQUIRE(queue_->end() == written_);
  }

  rte_mbuf* next(std::uint64_t grant, std::uint32_t max_payload) {
    const bool lost_first = queue_->has_lost();
    const std::uint64_t unsent = queue_->unsent_offset();
    rte_mbuf* m = queue_->next(grant, max_payload, digests_, nullptr);
    if (m == nullptr) return nullptr;
    const nd::segment& s = segment_of(m);
    REQUIRE(s.state == segment_state::in_channel);
    REQUIRE(s.length > 0);
    REQUIRE(s.length <= max_payload);
    REQUIRE(s.offset + s.length <= std::max(grant, sent_));
    if (digests_) REQUIRE(s.digest == digest_of(m));
    REQUIRE(std::ranges::equal(std::span(nd::tx_payload(m), s.length),
                               nd::test::stream_bytes(s.offset, s.length)));
    if (lost_first) {
      const auto first_lost = lost_.begin();
      REQUIRE(first_lost != lost_.end());
      REQUIRE(s.offset == first_lost->first);
      const std::uint64_t end = first_lost->second;
      lost_.erase(first_lost);
      REQUIRE(s.offset + s.length <= end);
      if (s.offset + s.length < end) lost_[s.offset + s.length] = end;
    } else {
      REQUIRE(lost_.empty());
      REQUIRE(s.offset == unsent);
      REQUIRE(s.offset == sent_);
      sent_ = s.offset + s.length;
    }
    REQUIRE(in_flight_.emplace(s.offset, m).second);
    return m;
  }

  void resolve(std::size_t which, bool acked) {
    auto it = in_flight_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(which));
    const auto [offset, m] = *it;
    in_flight_.erase(it);
    if (acked) {
      received_ += segment_of(m).length;
      queue_->on_acked(m);
      REQUIRE(queue_->acked_bytes() == received_);
    } else {
      lost_[offset] = offset + segment_of(m).length;
      queue_->on_lost(m);
      REQUIRE(queue_->has_lost());
    }
  }

 private:
  nd::test::pool& pool_;
  bool digests_;
  std::unique_ptr<send_queue> queue_ = std::make_unique<send_queue>();
  std::uint64_t written_ = 0, sent_ = 0, received_ = 0;
  std::map<std::uint64_t, rte_mbuf*> in_flight_;
  std::map<std::uint64_t, std::uint64_t> lost_;  // [first, end)
  std::vector<rte_mbuf*> rest_;
};

}  // namespace

TEST_CASE("every byte arrives once, whatever is cut and lost", "[send_queue]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 41)));
  CAPTURE(seed);
  nd::rng random(seed);
  nd::test::pool pool(400);
  writer w(pool, random.chance(0.7));
  std::uint64_t grant = random.below(5000);
  const double loss = random.chance(0.5) ? 0.1 : 0.5;
  std::uint32_t max_payload = 1400;
  const auto turn = [&](bool write) {
    if (random.chance(0.02)) max_payload = static_cast<std::uint32_t>(100 + random.below(1400));
    switch (random.below(write ? 5 : 4)) {
      case 0: grant += random.below(2000); break;
      case 1:
      case 2:
        if (w.in_flight() > 0) w.resolve(random.below(w.in_flight()), !random.chance(loss));
        break;
      case 3: {
        if (pool.available() == 0) break;
        const bool expected = w.queue().has_next(grant);
        REQUIRE((w.next(grant, max_payload) != nullptr) == expected);
        break;
      }
      case 4:
        if (pool.available() > 100)
          w.append(1 + random.below(random.chance(0.5) ? 100 : 1400), max_payload);
    }
  };
  for (int i = 0; i < 4000; ++i) turn(true);
  // No more losses: all must finish.
  grant = w.written();
  while (w.received() < w.written()) {
    while (w.next(grant, max_payload) != nullptr) {
    }
    REQUIRE(w.in_flight() > 0);
    while (w.in_flight() > 0) w.resolve(random.below(w.in_flight()), true);
  }
  CHECK(w.queue().empty());
  CHECK(w.queue().all_sent());
  CHECK(w.queue().unsent_offset() == w.written());
  CHECK(pool.in_use() == 0);
}

TEST_CASE("a queue that ends leaves to the channel what the channel has", "[send_queue]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 6)));
  CAPTURE(seed);
  nd::rng random(seed);
  nd::test::pool pool(200);
  writer w(pool);
  for (int i = 0; i < 50; ++i) {
    w.append(1 + random.below(1400), 1400);
    if (random.chance(0.6)) static_cast<void>(w.next(1 << 20, 900));
    if (w.in_flight() > 0 && random.chance(0.3)) w.resolve(random.below(w.in_flight()), false);
  }
}

TEST_CASE("small writes share a segment up to what a packet takes", "[send_queue]") {
  nd::test::pool pool(64);
  writer w(pool);
  for (int i = 0; i < 30; ++i) w.append(100, 1000);
  CHECK(pool.in_use() == 3);
  CHECK(segment_of(w.next(10'000, 1000)).length == 1000);
  // One that is on its way does not grow, and a large one is not copied.
  w.append(100, 1000);
  CHECK(pool.in_use() == 4);
  w.append(send_queue::merge_limit + 1, 1000);
  CHECK(pool.in_use() == 5);
}

TEST_CASE("a segment grows no further than its mbuf", "[send_queue]") {
  nd::test::pool pool(64, 256 + 4 + 700);
  writer w(pool);
  for (int i = 0; i < 20; ++i) w.append(100, 9000);
  CHECK(pool.in_use() == 3);
}

TEST_CASE("credit stops new bytes, not lost ones", "[send_queue]") {
  nd::test::pool pool(64);
  writer w(pool);
  w.append(1000, 1400);
  w.append(1000, 1400);
  REQUIRE(w.next(1000, 1400) != nullptr);
  CHECK(w.queue().blocked(1000));
  CHECK_FALSE(w.queue().has_next(1000));
  CHECK(w.next(1000, 1400) == nullptr);
  // Silly window avoidance: while others are in flight, a part is not worth a packet.
  CHECK(w.next(1500, 1400) == nullptr);
  CHECK(w.queue().blocked(1500));
  w.resolve(0, false);
  CHECK(w.queue().has_next(0));
  REQUIRE(w.next(0, 1400) != nullptr);
  w.resolve(0, true);
  // Nothing is on its way: now the part must go, or it would wait for good.
  CHECK(w.queue().has_next(1500));
  REQUIRE(segment_of(w.next(1500, 1400)).length == 500);
  CHECK(w.queue().unsent_offset() == 1500);
  CHECK(w.queue().blocked(1500));
}

TEST_CASE("without an mbuf for the rest, a cut waits and loses nothing", "[send_queue]") {
  nd::test::pool pool(8);
  const bool lost = GENERATE(false, true);
  writer w(pool);
  w.append(1400, 1400);
  if (lost) {
    REQUIRE(w.next(5000, 1400) != nullptr);
    w.resolve(0, false);
  }
  pool.leave(0);
  for (int i = 0; i < 3; ++i) CHECK(w.next(5000, 1000) == nullptr);
  CHECK(w.queue().has_next(5000));
  pool.restore();
  REQUIRE(segment_of(w.next(5000, 1000)).length == 1000);
  REQUIRE(segment_of(w.next(5000, 1000)).length == 400);
  while (w.in_flight() > 0) w.resolve(0, true);
  CHECK(w.queue().empty());
}

TEST_CASE("segments may come in any order: what is contiguous can be sent", "[send_queue]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3));
  nd::rng random(seed);
  nd::test::pool pool;
  send_queue queue;
  struct piece {
    std::uint64_t offset;
    std::size_t bytes;
  };
  std::vector<piece> pieces;
  std::uint64_t end = 0;
  for (int i = 0; i < 200; ++i) {
    pieces.push_back({end, 1 + random.below(1'400)});
    end += pieces.back().bytes;
  }
  // As far out of order as some dcopy lcores can be.
  for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
    std::swap(pieces[i], pieces[std::min<std::size_t>(i + random.below(16), pieces.size() - 1)]);
  std::map<std::uint64_t, std::uint64_t> there;
  std::uint64_t sent = 0;
  for (const piece& p : pieces) {
    rte_mbuf* m = pool.segment(nd::test::stream_bytes(p.offset, p.bytes));
    segment_of(m).digest = digest_of(m);
    segment_of(m).offset = p.offset;
    queue.insert(m, 1'400, true);
    there[p.offset] = p.offset + p.bytes;
    std::uint64_t contiguous = 0;
    for (const auto& [from, to] : there) {
      if (from != contiguous) break;
      contiguous = to;
    }
    REQUIRE(queue.end() == contiguous);
    while (rte_mbuf* next = queue.next(~std::uint64_t{0}, 1'400, true, nullptr)) {
      const nd::segment s = segment_of(next);
      REQUIRE(s.offset == sent);
      REQUIRE(s.digest == digest_of(next));
      REQUIRE(std::ranges::equal(std::span(nd::tx_payload(next), s.length),
                                 nd::test::stream_bytes(s.offset, s.length)));
      sent += s.length;
      queue.on_acked(next);
    }
    REQUIRE(sent == contiguous);
  }
  CHECK(sent == end);
  CHECK(pool.in_use() == 0);
}

TEST_CASE("what was kept aside goes with the queue", "[send_queue]") {
  nd::test::pool pool;
  {
    send_queue queue;
    for (const std::uint64_t offset : {300U, 100U, 200U}) {
      rte_mbuf* m = pool.segment(nd::test::stream_bytes(offset, 50));
      segment_of(m).offset = offset;
      queue.insert(m, 1'400, false);
    }
    CHECK(queue.all_sent());
  }
  CHECK(pool.in_use() == 0);
}
