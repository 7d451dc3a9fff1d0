// What RFC 9002 asks of a whole channel, where no other test shows it. Acknowledgements are made
// by hand: nothing that `quiet_pair` sends arrives.
#include <catch2/catch.hpp>

#include "channel/channel.hpp"
#include "unit/channel/channel_pair.hpp"

using nd::duration;
using nd::instant;
using nd::core::channel_config;
using nd::test::channel_pair;
using nd::test::packet_fate;
using nd::test::packet_on_wire;
namespace wire = nd::wire;

namespace {

constexpr std::size_t full = 1432;          // payload of a packet of 1500 bytes
constexpr std::uint64_t full_bytes = 1480;  // from its channel header on

duration us(std::int64_t n) {
  return duration::microseconds(n);
}

bool is_ping(const packet_on_wire& packet) {
  return packet.kind == wire::packet_kind::data && packet.bytes == 20 + 28 + 4;
}

class quiet_pair {
 public:
  /// With `settled` the path's MTU is found, and the round trip is known to be about 40 us.
  explicit quiet_pair(bool settled = true) : pair(far_from_zero()) {
    if (!settled) {
      pair.fate = [this](const packet_on_wire& packet) {
        return packet.kind <= wire::packet_kind::cookie_ack ? packet_fate{channel_pair::one_way}
                                                            : note(packet);
      };
      pair.open();
      return;
    }
    pair.open();
    pair.wait(duration::milliseconds(10));
    pair.fate = [this](const packet_on_wire& packet) { return note(packet); };
  }

  nd::core::channel& a() { return pair.a().channel(); }
  const nd::core::rtt_estimator& rtt() { return a().rtt(); }
  /// The number of a full packet that a sends now.
  std::uint32_t send() {
    pair.a().submit(full);
    pair.advance(duration(1));
    pair.turn(0);
    REQUIRE(pair.a().outstanding() > 0);
    return last_;
  }
  /// b acknowledges these numbers, and nothing below them.
  bool acknowledge(std::vector<std::uint32_t> numbers, duration delay = {}) {
    wire::channel_header h{};
    h.ack = numbers.front() - 1000;
    h.ack_delay = static_cast<std::uint16_t>(delay.ns() / 256);
    std::vector<wire::ack_range> ranges;
    for (const std::uint32_t n : numbers) ranges.push_back({n, n});
    return a().on_acknowledgement(pair.now(), h, ranges, out_);
  }

  std::size_t lost() const { return out_.lost.size(); }

  channel_pair pair;
  std::vector<packet_on_wire> sent;

 private:
  static channel_config far_from_zero() {
    channel_config c;
    c.first_number = 5'000'000;
    return c;
  }
  packet_fate note(const packet_on_wire& packet) {
    sent.push_back(packet);
    if (packet.from == 0 && !is_ping(packet)) last_ = packet.number;
    return {};
  }
  nd::core::record_verdicts out_;
  std::uint32_t last_ = 0;
};

}  // namespace

TEST_CASE("an acknowledgement with nothing new about the largest is no sample", "[channel]") {
  quiet_pair q;
  const std::uint32_t first = q.send(), second = q.send();
  REQUIRE(second == first + 1);
  q.pair.advance(us(100));
  REQUIRE(q.acknowledge({second}));
  REQUIRE(q.rtt().latest() == us(100));
  const duration smoothed = q.rtt().smoothed();
  q.pair.advance(duration::milliseconds(5));
  REQUIRE(q.acknowledge({first, second}));  // the first is new, the largest is not
  REQUIRE(q.acknowledge({first, second}));  // nothing is
  CHECK(q.a().bytes_in_flight() == 0);
  CHECK(q.rtt().latest() == us(100));
  CHECK(q.rtt().smoothed() == smoothed);
}

// Longer than max_ack_delay as well: each header acknowledges again, so a lost acknowledgement is
// made up for by one that is late, and says so.
TEST_CASE("a reported delay is taken off whole, unless less than the least round trip would remain",
          "[channel]") {
  const duration told = us(GENERATE(50, 100, 5'000, 9'900, 9'990, 12'000));
  CAPTURE(told.ns());
  quiet_pair q;
  const duration before = q.rtt().smoothed(), sample = duration::milliseconds(10);
  const std::uint32_t n = q.send();
  q.pair.advance(sample);
  REQUIRE(q.acknowledge({n}, told));
  // It travels in units of 256 ns.
  const duration counted = sample - duration(told.ns() / 256 * 256);
  CHECK(q.rtt().smoothed() == (before * 7 + (told < us(9'960) ? counted : sample)) / 8);
}

// Sections 5.2 and 7.6. Two packets are lost, `apart` from each other in probe timeouts.
TEST_CASE("persistent congestion needs losses that are far apart, with nothing between them",
          "[channel]") {
  const bool settled = GENERATE(true, false), far = GENERATE(true, false),
             one_arrived = GENERATE(false, true);
  CAPTURE(settled, far, one_arrived);
  quiet_pair q(settled);
  // The round trip that the last acknowledgement will show, where there was none before.
  const duration timeout = settled ? q.rtt().probe_timeout(us(100)) : us(60 + 4 * 30 + 100);
  const duration least = q.rtt().minimum();
  const std::uint64_t window = q.a().congestion().window();
  q.send();
  const duration apart = timeout * (far ? 40 : 25) / 10;
  q.pair.advance(apart / 2);
  const std::uint32_t between = q.send();
  q.pair.advance(apart / 2);
  q.send();
  q.pair.advance(us(500));
  const std::uint32_t last = q.send();
  q.pair.advance(us(60));
  REQUIRE(q.acknowledge(one_arrived ? std::vector{between, last} : std::vector{last}));
  CHECK(q.pair.a().lost() + q.lost() == (one_arrived ? 2 : 3));
  CHECK(q.pair.a().stats.congestion_events.value() == 1);
  const bool persistent = settled && far && !one_arrived;
  CHECK(q.pair.a().stats.persistent_congestion.value() == (persistent ? 1 : 0));
  if (persistent)
    CHECK(q.a().congestion().window() == 2 * full_bytes);
  else
    CHECK(q.a().congestion().window() >= window / 2);
  // The path may be another: its least round trip is what was seen last.
  CHECK(q.rtt().latest() == us(60));
  CHECK(q.rtt().minimum() == (persistent || !settled ? us(60) : least));
}

TEST_CASE("a probe timeout asks beyond a full window, and calls nothing lost", "[channel]") {
  quiet_pair q;
  while (q.a().bytes_in_flight() < q.a().congestion().window()) {
    q.send();
    q.pair.advance(us(5));
  }
  const std::uint64_t in_flight = q.a().bytes_in_flight();
  REQUIRE(in_flight == q.a().congestion().window());
  q.pair.a().submit(full);
  const std::size_t before = q.sent.size();
  REQUIRE(q.pair.run([&] { return q.pair.a().stats.probe_timeouts.value() == 1; }, us(2000)));
  REQUIRE(q.sent.size() == before + 1);
  CHECK(is_ping(q.sent.back()));
  CHECK(q.a().bytes_in_flight() == in_flight + 28 + 4);
  CHECK(q.pair.a().lost() == 0);
  CHECK(q.a().congestion().window() == in_flight);
  // Doubled each time.
  const instant first = q.pair.now();
  REQUIRE(q.pair.run([&] { return q.pair.a().stats.probe_timeouts.value() == 2; }, us(5000)));
  const instant second = q.pair.now();
  REQUIRE(q.pair.run([&] { return q.pair.a().stats.probe_timeouts.value() == 3; }, us(5000)));
  const duration wait = second - first;
  CHECK(wait >= q.rtt().probe_timeout(us(100)) * 2);
  CHECK(q.pair.now() - second >= wait * 2 - us(5));
  CHECK(q.pair.now() - second <= wait * 2 + us(5));
  CHECK(q.pair.a().lost() == 0);
}

TEST_CASE("neither window nor pacer hold an acknowledgement back", "[channel]") {
  channel_pair p;
  p.open();
  p.wait(duration::milliseconds(10));
  std::size_t acknowledged = 0;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.from == 1) return packet_fate{channel_pair::one_way};
    if (packet.kind == wire::packet_kind::ack) ++acknowledged;
    return packet_fate{};
  };
  for (int i = 0; i < 30; ++i) p.a().submit(full);
  p.turn(0);
  REQUIRE(p.a().channel().held_back());
  p.b().submit(100);
  p.wait(channel_pair::one_way + us(5));
  CHECK(p.a().channel().held_back());
  CHECK(acknowledged == 1);
}

TEST_CASE("a packet leaves only while less than the window is in flight", "[channel]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 21)));
  CAPTURE(seed);
  nd::rng random(seed);
  channel_pair p({}, {}, 2048);
  double loss = random.chance(0.5) ? 0.05 : 0.3;
  std::size_t held_back = 0;
  p.fate = [&](const packet_on_wire& packet) {
    const nd::core::channel& c = p.end(packet.from).channel();
    if (packet.kind == wire::packet_kind::data && !is_ping(packet)) {
      REQUIRE(c.bytes_in_flight() - (packet.bytes - 20) < c.congestion().window());
      if (c.bytes_in_flight() >= c.congestion().window()) ++held_back;
    }
    return p.both_open() && random.chance(loss) ? packet_fate{}
                                                : packet_fate{channel_pair::one_way};
  };
  p.mark = [&](const packet_on_wire&) { return random.chance(0.05); };
  p.open();
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = 0; i < 2; ++i)
      for (std::uint64_t n = random.below(60); n > 0; --n)
        p.end(i).submit(random.chance(0.3) ? 0 : 1 + random.below(1100));
    p.wait(us(static_cast<std::int64_t>(random.below(2000))));
  }
  loss = 0;
  REQUIRE(p.finish());
  CHECK(held_back > 10);
}

// Time threshold: one packet behind the lost one is too little for the packet threshold.
TEST_CASE("time alone finds a loss that few packets follow, before a probe timeout", "[channel]") {
  const duration one_way = us(GENERATE(20, 500, 5000));
  CAPTURE(one_way.ns());
  channel_pair p;
  p.fate = [&](const packet_on_wire&) { return packet_fate{one_way}; };
  p.open();
  p.wait(duration::milliseconds(500));
  bool first = true;
  p.fate = [&](const packet_on_wire&) {
    return std::exchange(first, false) ? packet_fate{} : packet_fate{one_way};
  };
  const std::uint64_t probes = p.a().stats.probe_timeouts.value();
  p.a().submit(full);
  p.a().submit(full);
  const instant sent = p.now();
  REQUIRE(p.run([&] { return p.a().lost() == 1; }, duration::milliseconds(100)));
  const nd::core::rtt_estimator& rtt = p.a().channel().rtt();
  CHECK(p.now() - sent >= std::max(one_way * 18 / 8, us(50)));
  CHECK(p.now() - sent <= std::max(rtt.latest(), rtt.smoothed()) * 9 / 8 + us(20));
  REQUIRE(p.finish(duration::milliseconds(100)));
  CHECK(p.a().stats.probe_timeouts.value() == probes);
}

TEST_CASE("a sender that only the pacer holds back grows its window", "[channel]") {
  channel_config c;
  c.mtu = 1200;
  channel_pair p(c, c, 2048);
  const duration one_way = us(500);
  p.fate = [&](const packet_on_wire&) { return packet_fate{one_way}; };
  p.open();
  p.a().submit(1000);
  REQUIRE(p.finish(duration::milliseconds(100)));
  const std::uint64_t window = p.a().channel().congestion().window();
  for (int i = 0; i < 1000; ++i) p.a().submit(1100);
  p.wait(one_way * 2 * 5);
  CHECK(p.a().channel().congestion().window() >= window * 8);
  CHECK(p.finish(duration::milliseconds(100)));
}
