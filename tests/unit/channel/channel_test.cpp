// Two channels on a wire that loses, doubles and reorders: every record gets its one verdict.
#include "channel/channel.hpp"

#include <catch2/catch.hpp>

#include "unit/channel/channel_pair.hpp"

using nd::duration;
using nd::instant;
using nd::core::channel_config;
using nd::core::channel_state;
using nd::test::channel_pair;
using nd::test::packet_fate;
using nd::test::packet_on_wire;
namespace wire = nd::wire;

TEST_CASE("the handshake opens both ends, in two round trips", "[channel]") {
  channel_pair p;
  const instant start = p.now();
  p.open();
  CHECK(p.now() - start < channel_pair::one_way * 5);
  CHECK(p.a().channel().peer_id() == p.b().channel().id());
  CHECK(p.b().channel().peer_tag() == p.a().channel().tag());
  CHECK(p.a().channel().peer_epoch() == p.b().config().epoch);
  CHECK(p.b().channel().peer_epoch() == p.a().config().epoch);
}

TEST_CASE("the handshake survives every loss pattern of its first packets", "[channel]") {
  constexpr std::uint64_t packets = 10;
  for (std::uint64_t pattern = 0; pattern < std::uint64_t{1} << packets; ++pattern) {
    CAPTURE(pattern);
    channel_pair p;
    p.fate = [pattern](const packet_on_wire& packet) {
      const bool lost = packet.index < packets && (pattern >> packet.index & 1) != 0;
      return lost ? packet_fate{} : packet_fate{channel_pair::one_way};
    };
    p.a().channel().open(p.now());
    for (int i = 0; i < 3; ++i) {
      p.a().submit(100);
      p.b().submit();
    }
    REQUIRE(
        p.run([&] { return p.both_open() && p.a().done() && p.b().done(); }, duration::seconds(3)));
    p.kill();
  }
}

TEST_CASE("the handshake survives every pattern of doubled and late packets", "[channel]") {
  constexpr std::uint64_t packets = 6;
  for (std::uint64_t pattern = 0; pattern < 729; ++pattern) {
    CAPTURE(pattern);
    channel_pair p;
    p.fate = [pattern](const packet_on_wire& packet) {
      constexpr duration far = duration::milliseconds(70);
      std::uint64_t digit = pattern;
      for (std::uint64_t i = 0; i < packet.index; ++i) digit /= 3;
      if (packet.index >= packets || digit % 3 == 0) return packet_fate{channel_pair::one_way};
      if (digit % 3 == 1) return packet_fate{channel_pair::one_way, far};
      return packet_fate{far};
    };
    p.a().channel().open(p.now());
    p.a().submit(1000);
    p.b().submit();
    REQUIRE(
        p.run([&] { return p.both_open() && p.a().done() && p.b().done(); }, duration::seconds(3)));
    p.wait(duration::milliseconds(100));  // what is late must do no harm
    REQUIRE(p.both_open());
    p.kill();
  }
}

TEST_CASE("without an answer the channel is given up in time", "[channel]") {
  channel_pair p;
  p.fate = [](const packet_on_wire&) { return packet_fate{}; };
  const instant start = p.now();
  p.a().channel().open(start);
  REQUIRE(p.run([&] { return !p.a().alive; }, duration::seconds(10)));
  CHECK(p.now() - start == p.a().config().connect_timeout);
  CHECK(p.packets() >= 10);
  CHECK(p.packets() <= 80);
}

// The responder has restarted, or the initiator's cookie has become too old.
TEST_CASE("a cookie that is no longer good does not stop a connect", "[channel]") {
  channel_pair p;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.kind == wire::packet_kind::init_ack && packet.index == 1)
      p.jar = nd::core::cookie_jar({9, 9, 9});
    return packet_fate{channel_pair::one_way};
  };
  p.a().channel().open(p.now());
  CHECK(p.run([&] { return p.both_open(); }, duration::seconds(3)));
}

TEST_CASE("every record arrives and has one verdict, on any wire", "[channel]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 61)));
  CAPTURE(seed);
  nd::rng random(seed);
  channel_config a, b;
  // Near the 32-bit wrap every other time.
  a.first_number = random.chance(0.5) ? 0xffffff80U : static_cast<std::uint32_t>(random.next());
  b.first_number = random.chance(0.5) ? 0xfffffffeU : static_cast<std::uint32_t>(random.next());
  a.mtu = b.mtu = random.chance(0.5) ? std::uint16_t{1500} : std::uint16_t{9000};
  const double loss = std::array{0.0, 0.02, 0.1, 0.3}[random.below(4)];
  const double dup = random.chance(0.5) ? 0.1 : 0.0;
  const double late = random.chance(0.5) ? 0.1 : 0.0;
  const double refused = random.chance(0.3) ? 0.05 : 0.0;
  const double ce = random.chance(0.3) ? 0.1 : 0.0;
  CAPTURE(loss, dup, late, refused, ce);
  bool faults = false;
  channel_pair p(a, b, 2048);
  p.slow_devices = random.chance(0.3);
  p.fate = [&](const packet_on_wire&) {
    packet_fate fate;
    if (!faults) return packet_fate{channel_pair::one_way};
    if (!random.chance(loss)) fate.push_back(channel_pair::one_way);
    if (random.chance(dup)) fate.push_back(channel_pair::one_way);
    for (duration& d : fate)
      if (random.chance(late)) d += duration(static_cast<std::int64_t>(random.below(200'000)));
    return fate;
  };
  p.mark = [&](const packet_on_wire&) { return faults && random.chance(ce); };
  p.has_memory = [&](std::size_t) { return !faults || !random.chance(refused); };
  p.open();
  faults = true;
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = 0; i < 2; ++i)
      for (std::uint64_t n = random.below(40); n > 0; --n)
        p.end(i).submit(random.chance(0.5) ? 0
                                           : 1 + random.below(p.end(i).channel().max_payload()));
    p.wait(duration::microseconds(static_cast<std::int64_t>(random.below(2000))));
    REQUIRE((p.a().alive && p.b().alive));
    if (random.chance(0.05)) p.mbufs().leave(0);
    p.wait(duration::microseconds(50));
    p.mbufs().restore();
  }
  faults = false;
  REQUIRE(p.finish());
  CHECK(p.a().received() == p.b().submitted());
  CHECK(p.b().received() == p.a().submitted());
  CHECK(p.a().channel().bytes_in_flight() == 0);
  p.wait(duration::seconds(1));
  REQUIRE((p.a().alive && p.b().alive));
  CHECK(p.a().stats.ce_packets_received.value() + p.b().stats.ce_packets_received.value() <=
        p.packets());
}

TEST_CASE("a channel that is killed returns every record", "[channel]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 21)));
  CAPTURE(seed);
  nd::rng random(seed);
  channel_pair p;
  p.open();
  p.fate = [&](const packet_on_wire&) {
    return random.chance(0.2) ? packet_fate{} : packet_fate{channel_pair::one_way};
  };
  for (int i = 0; i < 100; ++i) p.a().submit(random.chance(0.5) ? 0 : 1 + random.below(1000));
  p.wait(duration::microseconds(static_cast<std::int64_t>(random.below(500))));
  p.kill();
}

TEST_CASE("nothing is sent that nobody asked for", "[channel]") {
  channel_pair p;
  p.open();
  REQUIRE(p.run([&] { return p.a().channel().max_payload() > 1400; }, duration::milliseconds(10)));
  p.wait(duration::milliseconds(10));
  const std::uint64_t before = p.packets();
  p.wait(duration::seconds(30));
  CHECK(p.packets() == before);
  CHECK(p.both_open());
}

TEST_CASE("one record costs a packet and an acknowledgement", "[channel]") {
  channel_pair p;
  p.open();
  p.wait(duration::milliseconds(10));
  const std::uint64_t before = p.packets();
  p.a().submit(1000);
  REQUIRE(p.finish(duration::milliseconds(1)));
  CHECK(p.packets() == before + 2);
  CHECK(p.a().lost() == 0);
}

TEST_CASE("small records that are ready together share a packet", "[channel]") {
  channel_pair p;
  p.open();
  p.wait(duration::milliseconds(10));
  const std::uint64_t before = p.a().stats.data_packets_sent.value();
  for (int i = 0; i < 20; ++i) p.a().submit(i % 2 == 0 ? 0 : 30);
  REQUIRE(p.finish(duration::milliseconds(1)));
  CHECK(p.a().stats.data_packets_sent.value() == before + 1);
}
