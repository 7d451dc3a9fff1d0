// A channel in trouble: dead peers, lost acknowledgements, full windows, paths that narrow, and
// peers that lie.
#include <catch2/catch.hpp>

#include "channel/channel.hpp"
#include "unit/channel/channel_pair.hpp"

using nd::duration;
using nd::instant;
using nd::core::channel_config;
using nd::core::channel_state;
using nd::core::received_numbers;
using nd::test::channel_pair;
using nd::test::packet_fate;
using nd::test::packet_on_wire;
namespace wire = nd::wire;

namespace {

packet_fate lost(const packet_on_wire&) {
  return {};
}
packet_fate arrives(const packet_on_wire&) {
  return {channel_pair::one_way};
}

/// Open, with the path's MTU found.
void settle(channel_pair& p) {
  p.open();
  p.wait(duration::milliseconds(10));
}

}  // namespace

TEST_CASE("the loss of a lone packet is repaired by a probe timeout", "[channel]") {
  channel_pair p;
  settle(p);
  p.fate = lost;
  p.a().submit(500);
  p.wait(duration(1));
  p.fate = arrives;
  const instant sent = p.now();
  REQUIRE(p.finish(duration::milliseconds(20)));
  CHECK(p.now() - sent < duration::milliseconds(1));  // a few round trips of 40 us
  CHECK(p.a().stats.probe_timeouts.value() == 1);
  CHECK(p.a().lost() == 1);
}

TEST_CASE("probe timeouts back off, and a peer that stays silent is given up in time",
          "[channel]") {
  const auto timeout = duration::milliseconds(GENERATE(10, 100, 300, 2000));
  CAPTURE(timeout.ns());
  channel_config c;
  c.peer_timeout = duration::seconds(5);
  c.busy_timeout = timeout;
  channel_pair p(c, c);
  settle(p);
  p.fate = lost;
  const std::uint64_t before = p.packets();
  const instant start = p.now();
  p.a().submit(100);
  REQUIRE(p.run([&] { return !p.a().alive; }, duration::seconds(10)));
  CHECK(p.now() - start >= timeout);
  CHECK(p.now() - start <= timeout + timeout / 4 + duration::milliseconds(1));
  CHECK(p.packets() - before >= 4);
  CHECK(p.packets() - before <= 40);
  p.kill();
}

TEST_CASE("a long round trip is no silence", "[channel]") {
  const auto one_way = duration::milliseconds(GENERATE(10, 20, 30));
  CAPTURE(one_way.ns());
  channel_pair p;
  p.fate = [&](const packet_on_wire&) { return packet_fate{one_way}; };
  p.open();
  for (int i = 0; i < 100; ++i) p.a().submit(1000);
  REQUIRE(p.finish(duration::seconds(5)));
  // The answers of one and a half round trips are lost.
  p.a().submit(1000);
  p.wait(duration(1));
  const instant heals = p.now() + one_way * 3;
  p.fate = [&](const packet_on_wire&) {
    return p.now() < heals ? packet_fate{} : packet_fate{one_way};
  };
  CHECK(p.finish(duration::seconds(2)));
  CHECK(p.both_open());
}

// What came while it was stopped is read only after the timers had their turn.
TEST_CASE("a timer that is late is no witness", "[channel]") {
  channel_pair p;
  settle(p);
  p.fate = lost;
  p.a().submit(100);
  nd::core::channel& c = p.a().channel();
  const instant silent = p.now();
  p.run([&] { return p.now() - silent >= duration::milliseconds(40); }, duration::seconds(1));
  REQUIRE(c.state() == channel_state::open);
  const duration late = duration::milliseconds(GENERATE(60, 100, 60'000));
  nd::core::record_verdicts out;
  CHECK(c.on_timer(p.now() + late, out));
  // The answer that was there says enough; without one the next timer judges.
  SECTION("heard") {
    c.heard(p.now() + late);
    CHECK(c.on_timer(c.next_deadline(), out));
  }
  SECTION("not heard") {
    CHECK_FALSE(c.on_timer(c.next_deadline(), out));
  }
  CHECK(out.lost.empty());
  p.kill();
}

TEST_CASE("two probe timeouts without an answer are a stall, which an answer ends", "[channel]") {
  channel_pair p;
  settle(p);
  for (int i = 0; i < 20; ++i) p.a().submit(1000);  // a round trip is known
  REQUIRE(p.finish(duration::milliseconds(20)));
  nd::core::channel& c = p.a().channel();
  const duration timeout = c.rtt().probe_timeout(p.a().config().max_ack_delay);
  p.fate = lost;
  const instant start = p.now();
  for (int i = 0; i < 5; ++i) p.a().submit(1000);
  REQUIRE(p.run([&] { return c.stalled(); }, duration::seconds(1)));
  CHECK(p.now() - start >= timeout * 2);
  CHECK(p.now() - start <= timeout * 2 + duration::milliseconds(1));
  CHECK(p.a().stats.channels_stalled.value() == 1);
  // Their verdict has been given; the acknowledgement of what went over is none.
  const std::uint64_t acked = p.a().acked();
  c.give_away(p.now(), p.a().verdicts);
  REQUIRE(p.a().verdicts.lost.size() == 5);
  p.a().take_verdicts(p.b());
  CHECK(c.bytes_in_flight() > 0);
  CHECK(c.queue_room() > 0);
  c.give_away(p.now(), p.a().verdicts);  // there is no more
  CHECK(p.a().verdicts.lost.empty());
  p.fate = arrives;
  REQUIRE(p.finish(duration::milliseconds(200)));
  CHECK_FALSE(c.stalled());
  CHECK(p.a().acked() == acked + 5);
}

TEST_CASE("an acknowledgement that comes after the records were given away counts once",
          "[channel]") {
  channel_pair p;
  settle(p);
  bool slow = true;
  // All arrives; what acknowledges it is late.
  p.fate = [&](const packet_on_wire& packet) {
    return packet_fate{slow && packet.from == 1 ? duration::milliseconds(30)
                                                : channel_pair::one_way};
  };
  for (int i = 0; i < 5; ++i) p.a().submit(1000);
  nd::core::channel& c = p.a().channel();
  REQUIRE(p.run([&] { return c.stalled(); }, duration::milliseconds(30)));
  CHECK(p.b().received() == 5);
  c.give_away(p.now(), p.a().verdicts);
  CHECK(p.a().verdicts.lost.size() == 5);
  p.a().take_verdicts(p.b());
  slow = false;
  REQUIRE(p.finish(duration::milliseconds(100)));
  p.wait(duration::milliseconds(50));
  CHECK(p.a().acked() == 5);
  CHECK(p.a().outstanding() == 0);
  CHECK_FALSE(c.stalled());
  CHECK(c.bytes_in_flight() == 0);
}

TEST_CASE("a channel that only asks keeps within the numbers that the peer remembers",
          "[channel]") {
  channel_config config;
  config.peer_timeout = config.busy_timeout = duration::milliseconds(10);
  channel_pair p(config, config);
  settle(p);
  nd::core::channel& c = p.a().channel();
  p.fate = lost;
  p.a().submit(1000);
  p.wait(duration(1));
  nd::core::record_verdicts out;
  instant now = p.now();
  for (unsigned asked = 0; asked < received_numbers::window + 200; ++asked) {
    now = std::max(now, c.next_deadline());
    c.on_timer(now, out);  // the peer is never given up
    if (c.stalled()) c.give_away(now, out);
    rte_pktmbuf_free(c.next_packet(now, p.mbufs().get()));
  }
  CHECK(out.lost.size() == 1);
  CHECK(c.bytes_in_flight() < 64 * 100);
  p.a().verdicts = out;
  p.a().take_verdicts(p.b());
  p.kill();
}

TEST_CASE("an outage shorter than the timeout kills nothing", "[channel]") {
  channel_pair p;
  settle(p);
  for (int i = 0; i < 50; ++i) {
    p.a().submit(1000);
    p.b().submit(1000);
  }
  p.fate = lost;
  p.wait(p.a().config().busy_timeout - duration::milliseconds(15));
  p.fate = arrives;
  REQUIRE(p.finish(duration::milliseconds(200)));
  CHECK(p.both_open());
}

TEST_CASE("a process that was stopped for long asks before it judges", "[channel]") {
  channel_pair p;
  settle(p);
  p.fate = lost;
  p.a().submit(100);
  p.turn(0);
  p.fate = arrives;
  // Both stand still for a minute.
  p.a().channel().heard(p.now());
  p.fate = [&](const packet_on_wire&) { return packet_fate{channel_pair::one_way}; };
  nd::core::record_verdicts out;
  const instant later = p.now() + duration::seconds(60);
  CHECK(p.a().channel().on_timer(later, out));
  CHECK(out.lost.empty());
}

TEST_CASE("keepalive notices a peer that is gone, and only while it is wanted", "[channel]") {
  channel_pair p;
  settle(p);
  p.a().channel().set_keepalive(true);
  const std::uint64_t before = p.packets();
  p.wait(duration::seconds(2));
  CHECK(p.both_open());
  CHECK(p.packets() - before >= 2 * 15);
  CHECK(p.packets() - before <= 2 * 25);
  p.fate = lost;
  const instant silence = p.now();
  REQUIRE(p.run([&] { return !p.a().alive; }, duration::seconds(5)));
  CHECK(p.now() - silence <= duration::milliseconds(500));
  CHECK(p.b().alive);
}

// What the sender has given up is beyond doubt: the receiver's memory starts behind it.
TEST_CASE("losses at both ends of a full window of numbers are like any others", "[channel]") {
  channel_config c;
  c.initial_window = 100'000;
  channel_pair p(c, c, 2500);
  settle(p);
  const auto after =
      static_cast<std::uint64_t>(GENERATE(0, 10, 1000));  // lost as well, behind the window
  CAPTURE(after);
  std::optional<std::uint32_t> first;
  std::uint64_t most = 0;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.from == 1) return packet_fate{channel_pair::one_way};
    if (!first) first = packet.number;
    const std::uint64_t n = packet.number - *first;
    most = std::max(most, n);
    if (n == 0 || (n > received_numbers::window - 200 && n < received_numbers::window + after))
      return packet_fate{};
    return packet_fate{channel_pair::one_way};
  };
  // The first is lost; acknowledgements of the rest do not come before all have left.
  nd::core::channel& a = p.a().channel();
  const std::uint64_t acked = p.a().acked();
  for (std::uint64_t i = 0; i < received_numbers::window + 10; ++i) {
    p.a().submit();
    p.advance(duration(1));  // the pacer's share
    p.turn(0);               // a packet each
  }
  CHECK(p.a().acked() == acked);
  CHECK(most < received_numbers::window);
  CHECK(most > received_numbers::window - 200);
  CHECK(a.bytes_in_flight() > 0);
  for (std::uint64_t i = 0; i < 2000; ++i) p.a().submit(900);
  CHECK(p.finish(duration::seconds(5)));
  CHECK(p.a().alive);
}

TEST_CASE("a probe of a full window of numbers is one that the peer can remember", "[channel]") {
  channel_config c;
  c.initial_window = 100'000;
  channel_pair p(c, c, 64);
  settle(p);
  // Everything is lost, for a while.
  p.fate = lost;
  for (std::uint64_t i = 0; i < received_numbers::window + 10; ++i) {
    p.a().submit();
    p.advance(duration(1));
    p.turn(0);
  }
  p.fate = arrives;
  CHECK(p.finish(duration::seconds(2)));
  CHECK(p.a().alive);
}

TEST_CASE("a path that narrows is noticed, and everything still arrives", "[channel]") {
  channel_config c;
  c.mtu = 9000;
  channel_pair p(c, c, 3000);
  settle(p);
  REQUIRE(p.a().channel().max_payload() > 8900);
  const std::size_t narrow = GENERATE(std::size_t{1200}, std::size_t{1500}, std::size_t{5000});
  CAPTURE(narrow);
  p.fate = [narrow](const packet_on_wire& packet) {
    return packet.bytes > narrow ? packet_fate{} : packet_fate{channel_pair::one_way};
  };
  // Records are not cut here: they stay small enough, and share large packets.
  for (int i = 0; i < 2000; ++i) p.a().submit(i % 2 == 0 ? 400 : 300);
  REQUIRE(p.finish(duration::seconds(20)));
  CHECK(p.a().stats.mtu_black_holes.value() == 1);
  CHECK(p.a().channel().max_payload() <= narrow);
  CHECK(p.b().alive);
}

TEST_CASE("the path's MTU is found, with and without other traffic", "[channel]") {
  channel_config c;
  c.mtu = 9000;
  const std::size_t real =
      GENERATE(std::size_t{1200}, std::size_t{1500}, std::size_t{4321}, std::size_t{9000});
  const bool busy = GENERATE(false, true);
  CAPTURE(real, busy);
  channel_pair p(c, c);
  p.fate = [real](const packet_on_wire& packet) {
    return packet.bytes > real ? packet_fate{} : packet_fate{channel_pair::one_way};
  };
  p.open();
  for (int i = 0; i < 50; ++i) {
    for (int n = 0; busy && n < 4; ++n) p.a().submit(1000);
    p.wait(duration::milliseconds(20));
  }
  const std::size_t packet = p.a().channel().max_payload() + 20 + 28 + 16 + 4U;
  CHECK(packet <= real);
  CHECK(packet + 32 >= real);
  CHECK(p.a().stats.congestion_events.value() == 0);  // RFC 8899: probes say nothing about it
}

TEST_CASE("probing the path's MTU comes to an end", "[channel]") {
  channel_pair p;
  p.fate = [](const packet_on_wire& packet) {  // as with PPPoE
    return packet.bytes > 1492 ? packet_fate{} : packet_fate{channel_pair::one_way};
  };
  p.open();
  p.wait(duration::seconds(2));
  const std::uint64_t before = p.packets();
  p.wait(duration::seconds(10));
  CHECK(p.packets() == before);
  CHECK(p.a().channel().next_deadline() > p.now());
}

TEST_CASE("an acknowledgement of what was never sent changes nothing", "[channel]") {
  channel_config c;
  c.first_number = 5'000'000;
  channel_pair p(c);
  settle(p);
  p.fate = lost;
  for (int i = 0; i < 5; ++i) {
    p.a().submit(500);
    p.turn(0);
  }
  nd::core::channel& a = p.a().channel();
  const std::uint64_t in_flight = a.bytes_in_flight();
  REQUIRE(in_flight > 0);
  // A ping of a shows its next number.
  wire::channel_header h{};
  nd::core::record_verdicts out;
  std::uint32_t next = 0;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.from == 0) next = packet.number + 1;
    return packet_fate{};
  };
  p.a().submit();
  p.turn(0);
  REQUIRE(next != 0);
  const auto refused = [&](std::uint32_t ack, std::vector<wire::ack_range> ranges) {
    h.ack = ack;
    const std::uint64_t before = a.bytes_in_flight();
    const bool taken = a.on_acknowledgement(p.now(), h, ranges, out);
    return !taken && a.bytes_in_flight() == before && out.acked.empty() && out.lost.empty();
  };
  CHECK(refused(next + 1, {}));
  CHECK(refused(next + 1000, {}));
  CHECK(refused(next - 3, {{next - 1, next}}));
  CHECK(refused(next - 3, {{next - 1, next - 2}}));
  CHECK(refused(next - 3, {{next - 1, next - 1}, {next + 5, next + 6}}));
  // And one of the distant past is harmless.
  h.ack = next - 1'000'000;
  CHECK(a.on_acknowledgement(p.now(), h, {}, out));
  CHECK(out.acked.empty());
  h.ack = next;
  CHECK(a.on_acknowledgement(p.now(), h, {}, out));
  CHECK(a.bytes_in_flight() == 0);
  p.a().verdicts.acked.clear();
}

TEST_CASE("a peer that says it takes no packets does not open the channel", "[channel]") {
  channel_pair p;
  p.fate = lost;
  nd::core::channel& a = p.a().channel();
  a.open(p.now());
  p.turn(0);
  wire::handshake_body body{};
  REQUIRE(a.on_handshake(p.now(), wire::packet_kind::init_ack, body));
  const std::uint16_t mtu = GENERATE(std::uint16_t{0}, std::uint16_t{30}, std::uint16_t{67});
  CAPTURE(mtu);
  body.mtu = mtu;
  CHECK_FALSE(a.on_handshake(p.now(), wire::packet_kind::cookie_ack, body));
  CHECK(a.max_payload() <= 1500);
}

TEST_CASE("the delay that a peer reports is since the arrival, also when it says so twice",
          "[channel]") {
  channel_config config;
  config.ack_hold = duration();  // a held acknowledgement would be part of the least round trip
  channel_pair p(config, config);
  settle(p);
  // The first acknowledgement is lost; a packet of b's own tells again, 10 ms later.
  p.fate = [](const packet_on_wire& packet) {
    return packet.kind == wire::packet_kind::ack ? packet_fate{}
                                                 : packet_fate{channel_pair::one_way};
  };
  const duration before = p.a().channel().rtt().smoothed();
  p.a().submit(500);
  p.wait(duration::microseconds(60));
  p.b().submit(500);
  p.fate = [](const packet_on_wire&) { return packet_fate{channel_pair::one_way}; };
  REQUIRE(p.run([&] { return p.a().done(); }, duration::milliseconds(1)));
  CHECK(p.a().channel().rtt().smoothed() <= before + duration::microseconds(2));
}

TEST_CASE("an empty pool stops nothing for good", "[channel]") {
  channel_pair p;
  settle(p);
  p.mbufs().leave(0);
  for (int i = 0; i < 3; ++i) {
    p.turn(0);
    p.turn(1);
  }
  p.mbufs().restore();
  // The n-th allocation fails.
  for (unsigned n = 0; n < 12; ++n) {
    CAPTURE(n);
    for (int i = 0; i < 8; ++i) p.b().submit();
    for (int i = 0; i < 3; ++i) p.a().submit(200);
    p.mbufs().leave(n);
    p.wait(duration::microseconds(200));
    p.mbufs().restore();
    REQUIRE(p.finish(duration::seconds(1)));
  }
  CHECK(p.a().stats.tx_no_mbuf.value() + p.b().stats.tx_no_mbuf.value() > 0);
}

TEST_CASE("marks reach the sender in bytes", "[channel]") {
  channel_pair p;
  settle(p);
  p.mark = [](const packet_on_wire& packet) { return packet.from == 0; };
  const std::uint64_t window = p.a().channel().congestion().window();
  for (int i = 0; i < 100; ++i) p.a().submit(1400);
  REQUIRE(p.finish());
  CHECK(p.b().stats.ce_packets_received.value() >= 100);
  CHECK(p.a().stats.ecn_reductions.value() > 0);
  CHECK(p.a().channel().congestion().window() < window);
  CHECK(p.a().lost() == 0);
}

TEST_CASE("a close is a packet of its own, of an open channel", "[channel]") {
  channel_pair p;
  CHECK(p.a().channel().close_packet(p.now(), p.mbufs().get()) == nullptr);
  settle(p);
  const nd::mbuf_ptr m(p.a().channel().close_packet(p.now(), p.mbufs().get()));
  REQUIRE(m != nullptr);
  std::span<std::byte> bytes = nd::mbuf_bytes(m.get());
  REQUIRE(wire::verify_and_trim(bytes, p.a().config().format));
  CHECK(wire::at<wire::channel_header>(static_cast<const void*>(bytes.data())).kind ==
        wire::packet_kind::close);
}
