// Losses, probe timeouts, silence and congestion, with exact times.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

constexpr std::size_t full = 1200 - 20 - 28 - 16 - 4;  // payload of a full packet

/// The host sends `n` small packets of one byte each.
void send_bytes(script& s, app_socket& a, std::uint64_t n, std::uint64_t from = 0) {
  for (std::uint64_t i = 0; i < n; ++i) {
    script::write(a, "x");
    s.expect(data(bytes(from + i, "x")));
  }
}

TEST_CASE("A packet is lost when one three above it has arrived", "[loss]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 4);
  s.send(ack({{2, 3}}).acking(1));
  s.expect_nothing(40_us);  // two above it: it may still come
  s.send(ack({{2, 4}}).acking(1));
  s.expect(data(bytes(0, "x")));
  CHECK(s.value(&counters::packets_lost) == 1);
  CHECK(s.value(&counters::records_retransmitted) == 1);
  s.send(ack());
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("A packet is lost 9/8 of a round trip after it was sent", "[loss]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  s.after(80_us);
  s.send(ack());
  const instant sent = s.now();
  send_bytes(s, a, 2, 1);
  s.after(sent + 80_us - s.now());
  s.send(ack({{3, 3}}).acking(2));
  s.expect_after(10_us, data(bytes(1, "x")));
  s.send(ack());
}

TEST_CASE("A packet that was thought lost arrives after all", "[loss]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 4);
  s.send(ack({{2, 4}}).acking(1));
  s.expect(data(bytes(0, "x")));
  s.send(ack({{1, 4}}).acking(1));  // without the second transmission
  CHECK(a.unacknowledged() == 1);
  s.send(ack());
  CHECK(a.unacknowledged() == 0);
  s.expect_nothing(10_ms);
}

TEST_CASE("Records of a lost packet go on in other packets", "[loss]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  script::write(a, "last");
  a.shut_down_send();
  s.expect(data(bytes(1, "last"), fin(5)));
  s.expect_within(1_ms, ping());
  s.send(ack({{3, 3}}).acking(1));
  s.expect_within(70_us, data(bytes(0, "x"), bytes(1, "last"), fin(5)));
  s.send(ack());
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("What was lost is sent before what is new", "[loss]") {
  script s;
  s.grant = 6;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 4);
  s.end().held = 1;
  script::write(a, "new");
  s.send(data(credit(7)));
  s.expect(data(bytes(4, "new")));
  s.send(ack({{4, 5}}).acking(1));
  s.expect(data(bytes(0, "x"), bytes(1, "x")));
  s.end().held.reset();
  s.send(ack());
}

TEST_CASE("Probe timeouts double, up to 1/16 of the patience with a peer", "[loss]") {
  script s({.adjust = [](settings& v) { v.peer_timeout = 80_ms; }});
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  const instant sent = s.now();
  // Two samples of next to nothing: 50 us for the variation, 100 us max_ack_delay, the round trip.
  s.expect_within(200_us, ping());
  const duration first = s.now() - sent;
  CHECK(first >= 150_us);
  CHECK(first <= 170_us);
  // Bytes wait, so the patience is a quarter of peer_timeout.
  for (const duration wait : {300_us, 600_us, 1200_us, 1250_us, 1250_us}) {
    const instant before = s.now();
    s.expect_within(wait + 30_us, ping());
    CHECK(s.now() - before >= wait);
  }
  CHECK(s.value(&counters::probe_timeouts) == 6);
  CHECK_FALSE(a.failed());
  s.send(ack());
  CHECK(a.unacknowledged() == 0);
  s.expect_nothing(1_s);
}

TEST_CASE("A peer is lost after three probes and a quarter of peer_timeout of silence", "[loss]") {
  script s({.adjust = [](settings& v) { v.peer_timeout = 80_ms; }});
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  s.ignore_for(19_ms);
  CHECK_FALSE(a.failed());
  s.ignore_for(3_ms);  // at the next probe's time
  CHECK(a.error() == errc::peer_lost);
  CHECK_FALSE(s.host().has_channels());
  s.expect_nothing(1_s);
  CHECK(s.value(&counters::peers_lost) == 1);
  // A connection that was given up is not one that the peer may go on with.
  s.send_in_vain(data(bytes(0, "here I am")), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(s.end().host_id).tagged(s.end().host_tag));
}

TEST_CASE("A peer that says anything at all is alive", "[loss]") {
  script s({.adjust = [](settings& v) { v.peer_timeout = 80_ms; }});
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  s.end().held = 1;  // it never acknowledges
  for (int i = 0; i < 20; ++i) {
    s.ignore_for(15_ms);
    s.send(ping());
  }
  s.ignore_for(1_ms);
  CHECK_FALSE(a.failed());
}

TEST_CASE("Silence is asked about after keepalive", "[loss]") {
  script s({.adjust = [](settings& v) { v.keepalive = 100_ms; }});
  app_socket a = s.peer_connects();
  s.expect_after(100_ms, ping());
  s.send(ack());
  s.after(60_ms);
  s.send(data(bytes(0, "not silent")));
  s.expect(ack());
  // From the last packet heard.
  s.expect_after(100_ms - 2_us, ping());
  s.send(ack());
}

TEST_CASE("Nobody is asked whom no socket uses", "[loss]") {
  script s({.adjust = [](settings& v) { v.keepalive = 100_ms; }});
  s.peer_opens();
  s.expect_nothing(10_s);
  CHECK(s.host().has_channels());
}

TEST_CASE("An idle peer dies", "[loss]") {
  script s({.adjust = [](settings& v) { v.keepalive = 100_ms; }});
  app_socket a = s.peer_connects();
  const instant heard = s.now();
  s.expect_after(100_ms, ping());
  while (!a.failed()) {
    s.ignore_for(1_ms);
    REQUIRE(s.now() - heard < 500_ms);
  }
  CHECK(a.error() == errc::peer_lost);
  CHECK(s.now() - heard >= 400_ms);  // peer_timeout after the ping
}

TEST_CASE("An acknowledgement's delay is taken off the round trip", "[loss]") {
  script s({.adjust = [](settings& v) { v.max_ack_delay = 10_ms; }});
  app_socket a = s.peer_connects();
  const auto round_trip = [&](duration span, std::uint16_t delay, std::uint64_t at) {
    const instant sent = s.now();
    send_bytes(s, a, 1, at);
    s.after(sent + span - s.now());
    s.send(ack().delayed(delay));
  };
  duration smoothed, latest;
  const auto look = [&] {
    s.host().for_each_channel([&](const core::channel& c) {
      smoothed = c.rtt().smoothed();
      latest = c.rtt().latest();
    });
  };
  look();
  const duration before = smoothed;
  round_trip(80_us, 1, 0);
  look();
  CHECK(latest == 80_us);
  const duration without = smoothed;
  CHECK(without > before);
  round_trip(80_us + duration::nanoseconds(256 * 100), 100, 1);
  look();
  CHECK(latest == 80_us + duration::nanoseconds(256 * 100));
  CHECK(smoothed == (without * 7 + 80_us) / 8);
}

TEST_CASE("Ten packets leave before the first acknowledgement", "[loss]") {
  script s;
  s.grant = 1'000'000;
  app_socket a = s.peer_connects();
  script::write(a, text(full * 30));
  std::uint64_t sent = 0;
  for (; sent < 10; ++sent) s.expect(data(bytes(sent * full, text(full, sent * full))));
  s.expect_nothing(100_us);
  // Slow start: each packet that has arrived lets two go.
  s.send(ack().acking(3));
  for (; sent < 14; ++sent)
    s.expect_within(100_us, data(bytes(sent * full, text(full, sent * full))));
  s.ignore_for(20_ms);
}

TEST_CASE("A loss halves the window, once a round trip", "[loss]") {
  script s;
  s.grant = 1'000'000;
  app_socket a = s.peer_connects();
  script::write(a, text(full * 40));
  std::uint64_t before = 0, after = 0;
  const auto window = [&] {
    std::uint64_t w = 0;
    s.host().for_each_channel([&](const core::channel& c) { w = c.congestion().window(); });
    return w;
  };
  for (std::uint64_t i = 0; i < 10; ++i) s.expect(data(bytes(i * full, text(full, i * full))));
  before = window();
  s.send(ack({{4, 4}}).acking(1));
  after = window();
  CHECK(after == (before + 1180) / 2);  // slow start has counted what has arrived
  CHECK(s.value(&counters::congestion_events) == 1);
  s.send(ack({{4, 8}}).acking(1));  // more losses of the same round trip
  CHECK(window() == after);
  CHECK(s.value(&counters::congestion_events) == 1);
  s.ignore_for(20_ms);
}

TEST_CASE("All that was sent over three probe timeouts is lost: two packets from here on",
          "[loss]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  s.after(100_us);
  s.send(ack());
  // Packet 2, then pings, all lost but the last.
  send_bytes(s, a, 1, 1);
  for (int i = 0; i < 7; ++i) s.expect_within(20_ms, ping());
  s.send(ack({{9, 9}}).acking(2));
  CHECK(s.value(&counters::persistent_congestion) == 1);
  s.host().for_each_channel(
      [&](const core::channel& c) { CHECK(c.congestion().window() == 2 * (1200 - 20)); });
  s.expect_within(100_us, data(bytes(1, "x")));
  s.send(ack());
}

TEST_CASE("Losses over three probe timeouts with an arrival between are ordinary ones", "[loss]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  s.after(100_us);
  s.send(ack());
  send_bytes(s, a, 1, 1);
  for (int i = 0; i < 7; ++i) s.expect_within(20_ms, ping());
  s.send(ack({{9, 9}, {5, 8}, {3, 3}}).acking(2));
  CHECK(s.value(&counters::packets_lost) == 2);
  CHECK(s.value(&counters::persistent_congestion) == 0);
  s.expect_within(100_us, data(bytes(1, "x")));
  s.send(ack());
}

TEST_CASE("A CE mark is echoed at once, to the byte", "[loss][ecn]") {
  script s({.adjust = [](settings& v) { v.ack_hold = 100_us; }});
  app_socket a = s.peer_connects();
  const packet marked = data(bytes(0, "hello")).congested();
  const std::uint32_t size = 28 + 16 + 5 + 4;
  s.send(marked);
  s.expect(ack().with_ce_bytes(size));
  s.send(data(bytes(5, "world")));
  s.expect_after(100_us, ack().with_ce_bytes(size));
  s.send(ping().congested());
  s.expect(ack().with_ce_bytes(size + 32));
  s.send(ack().congested());  // not numbered: it does not count
  s.send(ping());
  s.expect_after(100_us, ack().with_ce_bytes(size + 32));
  CHECK(s.value(&counters::ce_packets_received) == 2);
}

TEST_CASE("A duplicate's CE mark does not count", "[loss][ecn]") {
  script s;
  s.peer_opens();
  s.send(ping());
  s.expect(ack().with_ce_bytes(0));
  s.send_in_vain(ping().numbered(0).congested(), &counters::drop_duplicate);
  s.send(ping());
  s.expect(ack().with_ce_bytes(0));
}

TEST_CASE("What the peer echoes ends slow start and reduces the window", "[loss][ecn]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 3);
  s.end().ce_bytes = 49;
  s.send(ack().acking(2));
  CHECK(s.value(&counters::ecn_reductions) == 1);
  // Of the same round trip: once is enough.
  s.end().ce_bytes = 98;
  s.send(ack().acking(3));
  CHECK(s.value(&counters::ecn_reductions) == 1);
  s.send(ack());
  s.after(100_us);
  send_bytes(s, a, 1, 3);
  s.after(10_us);
  s.end().ce_bytes = 147;
  s.send(ack());
  CHECK(s.value(&counters::ecn_reductions) == 2);
}

TEST_CASE("ce_bytes that go backwards are an older packet's", "[loss][ecn]") {
  script s;
  app_socket a = s.peer_connects();
  send_bytes(s, a, 1);
  s.end().ce_bytes = 5000;
  s.send(ack());
  CHECK(s.value(&counters::ecn_reductions) == 1);
  s.after(100_us);
  send_bytes(s, a, 1, 1);
  s.after(10_us);
  s.send(ack().with_ce_bytes(4000));
  CHECK(s.value(&counters::ecn_reductions) == 1);
}

TEST_CASE("ce_bytes pass 2^32", "[loss][ecn][wrap]") {
  script s;
  app_socket a = s.peer_connects();
  // A liar, or a very long life: in steps, because a step of half of all numbers goes backwards.
  for (std::uint32_t at : {0x7000'0000U, 0xe000'0000U, 0xffff'fff0U}) {
    s.after(100_us);
    send_bytes(s, a, 1, a.written());
    s.end().ce_bytes = at;
    s.after(10_us);
    s.send(ack());
  }
  const std::uint64_t before = s.value(&counters::ecn_reductions);
  s.after(100_us);
  send_bytes(s, a, 1, a.written());
  s.after(10_us);
  s.end().ce_bytes = 0x20;
  s.send(ack());
  CHECK(s.value(&counters::ecn_reductions) == before + 1);
}

}  // namespace
}  // namespace nd::script
