// Numbers that are left out: at random, one at a time, to be noticed by liars only.
#include "channel/number_skips.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "unit/channel/channel_pair.hpp"

using nd::duration;
using nd::core::channel_config;
using nd::core::number_skips;
using nd::test::channel_pair;
using nd::test::packet_fate;
using nd::test::packet_on_wire;
namespace wire = nd::wire;

namespace {

constexpr std::uint64_t seed = 7;

channel_config skipping(std::uint32_t first_number) {
  channel_config c;
  c.first_number = first_number;
  c.skip_seed = seed;
  return c;
}

/// The first number that such a channel leaves out.
std::uint64_t first_skip(std::uint32_t first_number) {
  const number_skips skips(first_number, seed);
  std::uint64_t n = first_number;
  while (!skips.is_due(n)) ++n;
  return n;
}

/// Open, with all numbers below `number` sent and acknowledged.
void send_up_to(channel_pair& p, std::uint64_t number) {
  std::uint64_t next = 0;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.from == 0 && packet.kind >= wire::packet_kind::data) {
      const bool numbered = packet.kind != wire::packet_kind::ack;
      next = nd::seq32(packet.number).widen(number) + (numbered ? 1 : 0);
    }
    return packet_fate{channel_pair::one_way};
  };
  p.open();
  p.wait(duration::milliseconds(10));  // the path's MTU is found
  for (int i = 0; i < 10'000 && next < number; ++i) {
    p.a().submit(1000);
    REQUIRE(p.finish());
  }
  REQUIRE(next == number);  // one record, one packet
  p.fate = [](const packet_on_wire&) { return packet_fate{channel_pair::one_way}; };
}

}  // namespace

TEST_CASE("distances between numbers that are left out", "[skips]") {
  std::set<std::uint64_t> distances;
  for (std::uint64_t s = 0; s < 20; ++s) {
    number_skips skips(1000, s);
    std::uint64_t last = 1000;
    for (std::uint64_t n = 1000; n < 200'000; ++n) {
      if (!skips.is_due(n)) continue;
      REQUIRE(skips.take(n, n, 1));
      CHECK(skips.pending(n));
      CHECK_FALSE(skips.pending(n + 1));
      CHECK(n - last >= number_skips::least);
      CHECK(n - last <= number_skips::least + 256);
      distances.insert(n - last);
      last = n;
    }
    CHECK(last > 190'000);
  }
  CHECK(distances.size() > 200);
  // With much in flight they are rarer.
  number_skips skips(0, 1);
  std::uint64_t n = 0, taken = 0;
  for (; n < 1'000'000; ++n)
    if (skips.is_due(n) && skips.take(n, n, 5000)) ++taken;
  CHECK(taken > 20);
  CHECK(taken < 120);
  const number_skips none(1000, std::nullopt);
  for (n = 1000; n < 10'000; ++n) REQUIRE_FALSE(none.is_due(n));
  CHECK_FALSE(none.pending(0));
}

TEST_CASE("no second number is left out while the first is not settled", "[skips]") {
  number_skips skips(1000, seed);
  std::uint64_t n = 1000;
  while (!skips.is_due(n)) ++n;
  REQUIRE(skips.take(n, n - 5, 6));
  const std::uint64_t floor = n - 5, first = n;
  for (std::uint64_t m = n + 1; m < n + 100'000; ++m) {
    if (!skips.is_due(m)) continue;
    CHECK_FALSE(skips.take(m, floor, 8));
    CHECK(skips.pending(floor));
    CHECK(skips.within(first, first + 1));
    CHECK_FALSE(skips.within(floor, first));
    CHECK_FALSE(skips.within(first + 1, m));
  }
}

TEST_CASE("numbers that are left out cost an honest pair nothing", "[channel][skips]") {
  const bool skip = GENERATE(false, true);
  CAPTURE(skip);
  channel_config c;
  c.first_number = 0xffff'ff00;
  if (skip) c.skip_seed = seed;
  channel_pair p(c, c);
  p.open();
  p.wait(duration::milliseconds(10));
  std::array<std::uint64_t, 2> left_out{}, acks{};
  std::array<std::uint32_t, 2> last{};
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.kind == wire::packet_kind::ack) ++acks[packet.from];
    if (packet.kind == wire::packet_kind::data) {
      if (last[packet.from] != 0 && packet.number != last[packet.from] + 1) {
        REQUIRE(packet.number == last[packet.from] + 2);
        ++left_out[packet.from];
      }
      last[packet.from] = packet.number;
    }
    return packet_fate{channel_pair::one_way};
  };
  for (int i = 0; i < 1500; ++i) {
    for (int n = 0; n < 8; ++n) p.a().submit(1000);
    if (i % 4 == 0) p.b().submit(1000);
    REQUIRE(p.finish());
  }
  CHECK(p.a().lost() + p.b().lost() == 0);
  CHECK(p.a().stats.packets_lost.value() + p.a().stats.probe_timeouts.value() == 0);
  CHECK_FALSE(p.a().channel().peer_lied());
  CHECK_FALSE(p.b().channel().peer_lied());
  // 1,500 bursts, each acknowledged once or twice: a gap adds a round trip of acknowledgements.
  CHECK(acks[1] <= 1500 * 2 + 40);
  if (skip)
    CHECK(left_out[0] >= 3);
  else
    CHECK(left_out[0] == 0);
}

TEST_CASE("reordering is counted in packets, not in numbers", "[channel][skips]") {
  constexpr std::uint32_t first = 5000;
  const std::uint64_t skipped = first_skip(first);
  channel_pair p(skipping(first));
  send_up_to(p, skipped - 1);
  const int later = GENERATE(2, 3);
  CAPTURE(later);
  std::set<std::uint32_t> numbers;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.from == 0 && packet.kind == wire::packet_kind::data) numbers.insert(packet.number);
    // One comes behind the others.
    const bool held = packet.from == 0 && packet.number == static_cast<std::uint32_t>(skipped - 1);
    return packet_fate{channel_pair::one_way + duration::microseconds(held ? 2 : 0)};
  };
  for (int i = 0; i <= later; ++i) p.a().submit(1000);
  REQUIRE(p.finish());
  CHECK(numbers.size() >= static_cast<std::size_t>(later) + 1);
  CHECK(numbers.contains(static_cast<std::uint32_t>(skipped - 1)));
  CHECK_FALSE(numbers.contains(static_cast<std::uint32_t>(skipped)));
  CHECK(numbers.contains(static_cast<std::uint32_t>(skipped + 1)));
  CHECK(p.a().stats.packets_lost.value() == (later < 3 ? 0U : 1U));
}

TEST_CASE("who acknowledges a number that was left out has lied", "[channel][skips]") {
  const bool checksums = GENERATE(true, false);
  CAPTURE(checksums);
  constexpr std::uint32_t first = 0xffff'fff0;
  const std::uint64_t skipped = first_skip(first);
  channel_config c = skipping(first);
  c.allow_no_checksum = !checksums;
  channel_pair p(c, c);
  send_up_to(p, skipped - 1);
  p.fate = [](const packet_on_wire&) { return packet_fate{}; };
  for (int i = 0; i < 3; ++i) p.a().submit(1000);
  p.turn(0);  // skipped - 1, + 1, + 2
  nd::core::channel& a = p.a().channel();
  const std::uint64_t in_flight = a.bytes_in_flight();
  REQUIRE(in_flight > 3000);
  const auto raw = [](std::uint64_t n) { return nd::seq32::low_bits_of(n).raw(); };
  wire::channel_header h{};
  nd::core::record_verdicts out;
  const auto believed = [&](std::uint64_t ack, std::vector<std::array<std::uint64_t, 2>> ranges) {
    h.ack = raw(ack);
    std::vector<wire::ack_range> r;
    for (const auto& [from, to] : ranges) r.push_back({raw(from), raw(to)});
    return a.on_acknowledgement(p.now(), h, r, out);
  };
  SECTION("in a range of its own") {
    CHECK_FALSE(believed(skipped - 1, {{skipped, skipped}}));
  }
  SECTION("at the end of a range") {
    CHECK_FALSE(believed(skipped - 1, {{skipped - 1, skipped}}));
  }
  SECTION("within all") {
    CHECK_FALSE(believed(skipped + 3, {}));
  }
  SECTION("within what is said to have come without a gap") {
    CHECK_FALSE(believed(skipped + 1, {}));
  }
  SECTION("as the last that was sent") {
    CHECK_FALSE(believed(skipped, {{skipped, skipped + 2}}));
  }
  SECTION("not at all") {
    CHECK(believed(skipped, {}));
    CHECK(believed(skipped, {{skipped + 1, skipped + 2}}));
    CHECK_FALSE(a.peer_lied());
    CHECK(a.bytes_in_flight() == 0);
    CHECK(out.acked.size() == 3);
    return;
  }
  CHECK(a.peer_lied() == checksums);
  CHECK(a.bytes_in_flight() == in_flight);
  CHECK(out.acked.empty());
  CHECK(out.lost.empty());
}
