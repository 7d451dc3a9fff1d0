// What RFC 9260 asks of packets that belong to no channel, RFC 8257 and 8899 of all packets, where
// no other test shows it.
#include <set>

#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

using kind = wire::packet_kind;

wire::handshake_body body_of(made_frame& f) {
  return wire::at<wire::handshake_body>(
      static_cast<const void*>(f.packet().data() + sizeof(wire::channel_header)));
}

/// Writes `header` and `body` into a frame of that size, with the CRC32C put right (encap ip).
void rewrite(made_frame& f, const wire::channel_header& header, std::span<const std::byte> body) {
  wire::packet_format format = f.format();
  format.crc = true;
  wire::packet_writer writer(f.packet().data(), header, format);
  writer.append_body(body);
  REQUIRE(writer.finish() == f.packet().size());
}

void set_source(made_frame& f, std::uint32_t ip) {
  wire::ipv4_header& h = f.ip();
  h.source = ip;
  h.checksum = std::uint16_t{0};
  h.checksum = wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(h)));
}

/// Remembers the last frame of each kind, by host.
struct recorder {
  explicit recorder(host_pair& p) : net(p.net) {
    net.on_frame = [this](made_frame& f, frame_fate&) {
      if (f.is_arp()) return;
      // A host that boots again has another port.
      const std::size_t from = f.ip().source == host_pair::ip_of(0) ? 0 : 1;
      last[{from, f.header().kind}] = f;
      ++count[from];
    };
  }
  ~recorder() { net.on_frame = nullptr; }
  recorder(const recorder&) = delete;
  recorder& operator=(const recorder&) = delete;
  made_frame& of(std::size_t from, kind k) {
    REQUIRE(last.contains({from, k}));
    return last[{from, k}];
  }
  made_wire& net;
  std::map<std::pair<std::size_t, kind>, made_frame> last;
  std::array<std::size_t, 2> count{};
};

/// The INIT of host 0, which nobody gets.
made_frame an_init(host_pair& p) {
  made_frame init;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    if (f.is(kind::init)) init = f;
    fate.drop = true;
  };
  app_socket s = p.connect(0, 80);
  p.run_for(duration::milliseconds(1));
  REQUIRE_FALSE(init.bytes.empty());
  s.close();
  p.stop(0);
  return init;
}

TEST_CASE("INIT_ACK goes where INIT came from, with its tag and a cookie", "[pair][handshake]") {
  host_pair p;
  made_frame init = an_init(p);
  set_source(init, 0x0a00004d);
  rewrite(init, init.header(), wire::bytes_of(body_of(init)));
  recorder seen(p);
  p.net.inject(p.now, 1, init.bytes);
  p.run_for(duration::milliseconds(1));
  REQUIRE(seen.count[1] == 1);
  made_frame& answer = seen.of(1, kind::init_ack);
  CHECK(answer.ip().destination == 0x0a00004d);
  CHECK(answer.header().channel == body_of(init).channel);
  CHECK(answer.header().tag == body_of(init).tag);
  CHECK(body_of(answer).cookie_time != 0);
  CHECK(p.host(1).holdings().peers == 0);
}

TEST_CASE("a connect whose handshake nobody answers fails in time, and says so",
          "[pair][handshake]") {
  const kind lost = GENERATE(kind::init, kind::cookie_echo);
  host_pair p;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) { fate.drop = f.is(lost); };
  const instant start = p.now;
  app_socket s = p.connect(0, 80);
  REQUIRE(p.run_until([&] { return s.failed(); }, duration::seconds(10)));
  CHECK(s.error() == errc::host_unreachable);
  CHECK(p.now - start >= p.values.connect_timeout);
  CHECK(p.now - start <= p.values.connect_timeout + duration::milliseconds(1));
  s.close();
  p.net.on_frame = nullptr;
  require_nothing_left(p);
}

TEST_CASE("an INIT that asks for nothing that can be is not answered", "[pair][handshake]") {
  const int what = GENERATE(0, 1, 2, 3, 4);
  CAPTURE(what);
  host_pair p;
  made_frame init = an_init(p);
  wire::handshake_body body = body_of(init);
  if (what == 1) body.tag = 0U;
  if (what == 2) body.channel = 0U;
  if (what == 3) body.mtu = std::uint16_t{575};
  if (what == 4) body.traffic_class = 2;
  rewrite(init, init.header(), wire::bytes_of(body));
  recorder seen(p);
  p.net.inject(p.now, 1, init.bytes);
  p.run_for(duration::milliseconds(1));
  CHECK(seen.count[1] == (what == 0 ? 1U : 0U));
  CHECK(p.stats(1).drop_malformed.value() == (what == 0 ? 0U : 1U));
}

TEST_CASE("addresses that no other host has are not answered", "[pair][handshake]") {
  const auto source =
      GENERATE(0x00000000U, 0x7f000001U, 0xe0000001U, 0xffffffffU, 0x0a0000ffU, 0x0a000002U);
  const bool init_kind = GENERATE(true, false);
  CAPTURE(source, init_kind);
  host_pair p;
  REQUIRE(host_pair::ip_of(1) == 0x0a000002);
  made_frame f = an_init(p);
  set_source(f, source);
  wire::channel_header header = f.header();
  if (!init_kind) {
    header.kind = kind::probe;
    header.channel = 7U;
    header.tag = 8U;
  }
  rewrite(f, header, wire::bytes_of(body_of(f)));
  recorder seen(p);
  p.net.inject(p.now, 1, f.bytes);
  p.run_for(duration::milliseconds(1));
  CHECK(seen.count[1] == 0);
  CHECK(p.stats(1).drop_not_ours.value() == 1);
}

TEST_CASE("an unknown tag is reflected, and that of nobody is not", "[pair][handshake]") {
  const std::uint32_t tag = GENERATE(0U, 8U);
  CAPTURE(tag);
  host_pair p;
  made_frame f = an_init(p);
  wire::channel_header header = f.header();
  header.kind = kind::probe;
  header.channel = 7U;
  header.tag = tag;
  rewrite(f, header, wire::bytes_of(body_of(f)));
  recorder seen(p);
  p.net.inject(p.now, 1, f.bytes);
  p.run_for(duration::milliseconds(1));
  CHECK(p.stats(1).drop_unknown_channel.value() == 1);
  CHECK(seen.count[1] == (tag == 0 ? 0U : 1U));
  if (tag == 0) return;
  CHECK(seen.of(1, kind::abort).header().tag == 8);
  CHECK(seen.of(1, kind::abort).header().channel == 7);
}

TEST_CASE("setup packets that come again change nothing", "[pair][handshake]") {
  host_pair p;
  recorder seen(p);
  {
    connection c(p);
    p.run_for(duration::milliseconds(5));
    const made_frame init = seen.of(0, kind::init), init_ack = seen.of(1, kind::init_ack),
                     echo = seen.of(0, kind::cookie_echo), ack = seen.of(1, kind::cookie_ack);
    const auto channels = [&](std::size_t i) {
      std::size_t n = 0;
      p.host(i).for_each_channel([&](const core::channel&) { ++n; });
      return n;
    };
    const std::uint32_t ack_tag = made_frame(ack).header().tag;
    seen.last.clear();
    p.net.inject(p.now, 1, init.bytes);
    p.net.inject(p.now, 1, echo.bytes);
    p.run_for(duration::milliseconds(1));
    // Both are answered again; host 0 wants neither.
    CHECK(seen.last.contains({1, kind::init_ack}));
    CHECK(seen.of(1, kind::cookie_ack).header().tag == ack_tag);
    CHECK(p.stats(0).drop_bad_handshake.value() == 2);
    p.net.inject(p.now, 0, init_ack.bytes);
    p.net.inject(p.now, 0, ack.bytes);
    p.run_for(duration::milliseconds(1));
    CHECK(p.stats(0).drop_bad_handshake.value() == 4);
    CHECK(channels(0) == 1);
    CHECK(channels(1) == 1);
    CHECK(p.stats(1).handshakes_accepted.value() == 1);
    const auto text = bytes_of_text("as if nothing had been");
    c.client.write(text);
    CHECK(read_all(p, c.server, text.size()) == text);
  }
  require_nothing_left(p);
}

TEST_CASE("an ABORT needs source, id and tag, ends the peer, and is not answered",
          "[pair][handshake]") {
  const int wrong = GENERATE(0, 1, 2, 3);
  CAPTURE(wrong);
  host_pair p;
  recorder seen(p);
  {
    connection c(p);
    c.client.write(bytes_of_text("x"));
    p.run_for(duration::milliseconds(5));
    // What host 0 puts into its packets is what an ABORT to it must reflect; a bare ACK has its
    // size.
    const wire::channel_header known = seen.of(0, kind::data).header();
    made_frame f = seen.of(1, kind::ack);
    REQUIRE(f.packet().size() == sizeof(wire::channel_header) + 4);
    wire::channel_header header{};
    header.version = wire::nd_version;
    header.kind = kind::abort;
    header.channel = known.channel + (wrong == 1 ? 1 : 0);
    header.tag = known.tag ^ (wrong == 2 ? 1U : 0U);
    if (wrong == 3) set_source(f, 0x0a00004d);
    rewrite(f, header, {});
    const std::size_t before = seen.count[0];
    p.net.inject(p.now, 0, f.bytes);
    p.run_for(duration::microseconds(100));
    CHECK(seen.count[0] == before);
    CHECK(p.stats(0).aborts_received.value() == (wrong == 0 ? 1U : 0U));
    CHECK(c.client.failed() == (wrong == 0));
    if (wrong == 0) {
      CHECK(c.client.error() == errc::peer_lost);
    } else {
      CHECK(p.stats(0).drop_unknown_channel.value() == 1);
    }
  }
  require_nothing_left(p);
}

TEST_CASE("tags are random, other ones each time, and 0 in INIT and COOKIE_ECHO",
          "[pair][handshake]") {
  host_pair p;
  std::set<std::uint32_t> tags;
  std::uint32_t ones = 0, zeros = 0;
  constexpr std::size_t rounds = 20;
  for (std::size_t round = 0; round < rounds; ++round) {
    recorder seen(p);
    { connection c(p); }
    for (std::size_t from = 0; from < 2; ++from) {
      const kind k = from == 0 ? kind::cookie_echo : kind::cookie_ack;
      CAPTURE(round, from);
      const std::uint32_t tag = body_of(seen.of(from, k)).tag;
      CHECK(tag != 0);
      tags.insert(tag);
      ones |= tag;
      zeros |= ~tag;
    }
    for (const kind k : {kind::init, kind::cookie_echo}) {
      CHECK(seen.of(0, k).header().tag == 0);
      CHECK(seen.of(0, k).header().channel == 0);
    }
    p.stop(0);
    p.start(0);
  }
  CHECK(tags.size() == 2 * rounds);
  CHECK(ones == ~std::uint32_t{0});
  CHECK(zeros >= ~std::uint32_t{1});  // the lowest bit is what makes it not 0
}

// RFC 9260, section 5.2.4: what the old channels had learnt does not count for the new ones.
TEST_CASE("channels to a restarted peer begin with a fresh window", "[pair][peer]") {
  host_pair p;
  const auto window = [&] {
    std::uint64_t w = 0;
    p.host(0).for_each_channel([&](const core::channel& c) { w = c.congestion().window(); });
    return w;
  };
  connection c(p);
  p.run_for(duration::milliseconds(10));
  const std::uint64_t fresh = window();
  writer w{c.client, 1'000'000};
  reader r{c.server};
  REQUIRE(p.run_until(transfer(w, r), duration::seconds(1)));
  REQUIRE(window() > fresh * 4);
  c.listener.close();
  c.server.close();
  p.net.on_frame = [](made_frame& f, frame_fate& fate) { fate.drop = f.from == 1; };
  p.stop(1);
  p.net.on_frame = nullptr;
  p.start(1);
  app_listener again(p.host(1), 80);
  app_socket next = p.connect(0, 80);
  REQUIRE(p.run_until([&] { return next.connected(); }, duration::seconds(1)));
  p.run_for(duration::milliseconds(10));
  CHECK(c.client.error() == errc::peer_lost);
  CHECK(window() == fresh);
  for (app_socket* s : {&c.client, &next}) s->close();
  again.close();
  p.stop(0);
  p.stop(1);
  CHECK(p.mbufs_in_use() == 0);
}

// RFC 8257, section 3.6, and RFC 8899, section 3.
TEST_CASE("packets of every kind may be marked, and may not be cut", "[pair][frames]") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  host_pair p({.udp = udp});
  std::set<kind> kinds;
  std::vector<std::byte> data_frame;
  p.net.on_frame = [&](made_frame& f, frame_fate&) {
    if (f.is_arp()) return;
    kinds.insert(f.header().kind);
    CHECK((f.ip().dscp_ecn & wire::ecn_mask) == wire::ecn_ect0);
    CHECK(f.ip().fragment == 0x4000);  // DF
    if (f.from == 0 && f.is(kind::data)) data_frame = f.bytes;
  };
  {
    connection c(p);
    const std::vector<std::byte> data(50'000);
    c.client.write(data);
    REQUIRE(read_all(p, c.server, data.size()).size() == data.size());
    p.host(1).say_goodbye(p.now);
    p.run_for(duration::milliseconds(1));
  }
  p.stop(1);
  p.start(1);
  p.net.inject(p.now, 2, data_frame);
  p.run_for(duration::milliseconds(1));
  CHECK(kinds.size() == 9);
  p.net.on_frame = nullptr;
  p.stop(0);
  p.stop(1);
  CHECK(p.mbufs_in_use() == 0);
}

// RFC 8899, section 4.1: padding is none of the application's.
TEST_CASE("what a path MTU probe contains is not looked at", "[pair][frames]") {
  host_pair p;
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80), server;
    std::size_t probes = 0;
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      if (f.from != 0 || !f.is(kind::probe)) return;
      // The first one leaves before SYNC, and comes when there is a socket.
      if (probes++ == 0) fate.extra = duration::milliseconds(2);
      std::vector<std::byte> body(f.packet().size() - sizeof(wire::channel_header) - 4);
      auto& record = wire::at<wire::record_header>(static_cast<void*>(body.data()));
      record.source = client.link().local_port;
      record.dest = std::uint16_t{80};
      record.doff = wire::record_doff;
      record.type = wire::record_type::data;
      record.len = std::uint16_t{100};
      // The rest is a record of its own.
      auto& rest =
          wire::at<wire::record_header>(static_cast<void*>(body.data() + sizeof record + 100));
      rest = record;
      rest.type = wire::record_type::token;
      rest.len = static_cast<std::uint16_t>(body.size() - 2 * sizeof record - 100);
      rewrite(f, f.header(), body);
    };
    REQUIRE(p.run_until(
        [&] {
          if (!server) server = listener.accept();
          return server && client.connected();
        },
        soon));
    p.run_for(duration::milliseconds(10));
    CHECK(probes > 1);
    std::array<std::byte, 1> one;
    CHECK(server.read(one) == 0);
    CHECK(p.stats(1).records_unknown_type.value() == 0);
    const auto text = bytes_of_text("the only bytes");
    client.write(text);
    CHECK(read_all(p, server, text.size()) == text);
    p.host(0).for_each_channel(
        [](const core::channel& channel) { CHECK(channel.mtu().current() == 1500); });
    p.net.on_frame = nullptr;
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
