// What RFC 9260 asks of a channel that is being opened, and RFC 8899 of its packets' sizes, where
// no other test shows it.
#include <catch2/catch.hpp>

#include "channel/channel.hpp"
#include "unit/channel/channel_pair.hpp"

using nd::duration;
using nd::instant;
using nd::core::channel_config;
using nd::core::channel_state;
using nd::core::path_mtu;
using nd::test::channel_pair;
using nd::test::packet_fate;
using nd::test::packet_on_wire;
namespace wire = nd::wire;

TEST_CASE("nothing but handshake packets leaves before the channel is open", "[handshake]") {
  const bool lossy = GENERATE(false, true);
  channel_pair p;
  std::set<wire::packet_kind> early;
  p.fate = [&](const packet_on_wire& packet) {
    if (p.end(packet.from).channel().state() != channel_state::open) early.insert(packet.kind);
    return lossy && packet.index < 8 && packet.index % 2 == 0 ? packet_fate{}
                                                              : packet_fate{channel_pair::one_way};
  };
  for (std::size_t i = 0; i < 2; ++i) {
    p.end(i).submit(100);
    p.end(i).push();
    CHECK(p.end(i).outstanding() == 0);  // the channel takes no record
    CHECK(p.end(i).channel().queue_room() == 0);
  }
  p.a().channel().open(p.now());
  CHECK_FALSE(p.a().channel().can_queue());
  REQUIRE(p.finish(duration::seconds(3)));
  using k = wire::packet_kind;
  // INIT_ACK is the host's, without a channel.
  CHECK(early == std::set{k::init, k::init_ack, k::cookie_echo});
}

TEST_CASE("a handshake without an answer is repeated at growing intervals", "[handshake]") {
  const bool echoed = GENERATE(false, true);  // INIT is answered, COOKIE_ECHO is not
  CAPTURE(echoed);
  channel_pair p;
  std::vector<std::pair<instant, wire::packet_kind>> sent;
  p.fate = [&](const packet_on_wire& packet) {
    if (packet.from == 0) sent.emplace_back(p.now(), packet.kind);
    const bool passes = echoed && packet.kind <= wire::packet_kind::init_ack && sent.size() <= 1;
    return passes ? packet_fate{channel_pair::one_way} : packet_fate{};
  };
  p.a().channel().open(p.now());
  REQUIRE(p.run([&] { return !p.a().alive; }, duration::seconds(10)));
  if (echoed) sent.erase(sent.begin());
  REQUIRE(sent.size() > 6);
  const auto kind = echoed ? wire::packet_kind::cookie_echo : wire::packet_kind::init;
  for (std::size_t i = 0; i < 4; ++i) CHECK(sent[i].second == kind);
  // After some COOKIE_ECHOs the cookie may be too old: a new one is asked for.
  CHECK(sent[4].second == wire::packet_kind::init);
  constexpr std::int64_t intervals[] = {20, 40, 40, 40, 40, 40};
  for (std::size_t i = 0; i < std::size(intervals); ++i) {
    CAPTURE(i);
    const duration wait = sent[i + 1].first - sent[i].first;
    CHECK(wait >= duration::milliseconds(intervals[i]) - duration::microseconds(5));
    CHECK(wait <= duration::milliseconds(intervals[i]) + duration::microseconds(5));
  }
}

TEST_CASE("the tag that was agreed stays for the channel's life", "[handshake]") {
  channel_pair p;
  p.open();
  wire::handshake_body other{};
  other.channel = 77U;
  other.tag = 0x77777777U;
  other.epoch = std::uint64_t{99};
  other.mtu = std::uint16_t{1500};
  nd::core::channel &a = p.a().channel(), &b = p.b().channel();
  CHECK_FALSE(a.on_handshake(p.now(), wire::packet_kind::cookie_ack, other));
  CHECK_FALSE(a.on_handshake(p.now(), wire::packet_kind::init_ack, other));
  b.accept(p.now(), other);
  CHECK(a.peer_tag() == b.tag());
  CHECK(a.peer_id() == b.id());
  CHECK(b.peer_tag() == a.tag());
  CHECK(b.peer_epoch() == p.a().config().epoch);
  p.a().submit(100);
  p.b().submit(100);
  CHECK(p.finish(duration::milliseconds(10)));
}

TEST_CASE("a COOKIE_ACK without an id or a tag does not open the channel", "[handshake]") {
  channel_pair p;
  p.fate = [](const packet_on_wire&) { return packet_fate{}; };
  nd::core::channel& a = p.a().channel();
  a.open(p.now());
  p.turn(0);
  wire::handshake_body body{};
  REQUIRE(a.on_handshake(p.now(), wire::packet_kind::init_ack, body));
  body.mtu = std::uint16_t{1500};
  body.channel = 5U;
  CHECK_FALSE(a.on_handshake(p.now(), wire::packet_kind::cookie_ack, body));
  body.channel = 0U;
  body.tag = 6U;
  CHECK_FALSE(a.on_handshake(p.now(), wire::packet_kind::cookie_ack, body));
  CHECK(a.state() == channel_state::cookie_echoed);
  body.channel = 5U;
  CHECK(a.on_handshake(p.now(), wire::packet_kind::cookie_ack, body));
  CHECK(a.state() == channel_state::open);
}

// RFC 8899, section 3: sizes, probes, and what reordering and doubling do to them.
TEST_CASE("only probes are larger than the path MTU, and they are a round trip apart",
          "[path_mtu]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 11)));
  CAPTURE(seed);
  nd::rng random(seed);
  CHECK(path_mtu(9000).current() == 1200);
  channel_config c;
  c.mtu = 9000;
  channel_pair p(c, c, 3000);
  std::size_t real = 1300 + random.below(7700);
  const bool unruly = random.chance(0.5);
  CAPTURE(real, unruly);
  std::array<instant, 2> last_probe;
  std::size_t probes = 0, largest = 0;
  p.fate = [&](const packet_on_wire& packet) {
    const nd::core::channel& sender = p.end(packet.from).channel();
    if (packet.kind == wire::packet_kind::probe) {
      REQUIRE(packet.bytes >= sender.mtu().current());  // equal: it asks whether that still passes
      REQUIRE(packet.bytes <= 9000);
      REQUIRE(p.now() - last_probe[packet.from] >= channel_pair::one_way * 2);
      last_probe[packet.from] = p.now();
      ++probes;
    } else {
      REQUIRE(packet.bytes <= sender.mtu().current());
      largest = std::max(largest, packet.bytes);
    }
    if (packet.bytes > real) return packet_fate{};
    packet_fate fate{channel_pair::one_way};
    if (unruly && random.chance(0.1)) fate.push_back(channel_pair::one_way * 20);
    if (unruly && random.chance(0.1)) fate[0] = channel_pair::one_way * 4;
    return fate;
  };
  p.open();
  for (int round = 0; round < 60; ++round) {
    if (round == 30) real = 1200;  // and now a black hole
    for (std::uint64_t n = random.below(60); n > 0; --n)
      p.end(random.below(2)).submit(1 + random.below(1000));
    p.wait(duration::milliseconds(2));
    if (round < 30) REQUIRE(p.a().channel().max_payload() < real);
  }
  REQUIRE(p.finish());
  CHECK(probes > 2);
  CHECK(largest > 1200);
  CHECK(p.a().channel().max_payload() < 1200);
}
