// Channels between whole stacks: who may open them, and what strangers can not do.
#include <set>

#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

/// Writes `body` into a handshake frame, with its CRC32C put right (encap ip).
void rewrite_handshake(made_frame& f, const wire::handshake_body& body) {
  const wire::channel_header header = f.header();
  wire::packet_writer writer(f.packet().data(), header, f.format());
  writer.append_body(wire::bytes_of(body));
  writer.finish();
}

wire::handshake_body body_of(made_frame& f) {
  return wire::at<wire::handshake_body>(
      static_cast<const void*>(f.packet().data() + sizeof(wire::channel_header)));
}

void set_source_ip(made_frame& f, std::uint32_t ip) {
  wire::ipv4_header& h = f.ip();
  h.source = ip;
  h.checksum = std::uint16_t{0};
  h.checksum = wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(h)));
}

TEST_CASE("Both hosts open channels at once", "[pair][handshake]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3));
  CAPTURE(seed);
  host_pair p({.seed = seed});
  p.net.faults.reorder = seed == 1 ? 0 : 0.5;
  {
    app_listener at_0(p.host(0), 80), at_1(p.host(1), 80);
    app_socket from_0 = p.connect(0, 80), from_1 = p.connect(1, 80), to_0, to_1;
    REQUIRE(p.run_until(
        [&] {
          if (!to_0) to_0 = at_0.accept();
          if (!to_1) to_1 = at_1.accept();
          return to_0 && to_1 && from_0.connected() && from_1.connected();
        },
        soon));
    const auto text = bytes_of_text("both ways");
    from_0.write(text);
    from_1.write(text);
    CHECK(read_all(p, to_1, text.size()) == text);
    CHECK(read_all(p, to_0, text.size()) == text);
    CHECK(p.stats(0).handshakes_started.value() == 1);
    CHECK(p.stats(1).handshakes_started.value() == 1);
  }
  p.net.faults = {};
  require_nothing_left(p);
}

TEST_CASE("A flood of INITs from everywhere leaves nothing behind", "[pair][handshake]") {
  host_pair p;
  made_frame init;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    if (f.is(wire::packet_kind::init)) init = f;
    fate.drop = true;
  };
  app_socket s = p.connect(0, 80);
  p.run_for(duration::milliseconds(1));
  REQUIRE_FALSE(init.bytes.empty());
  std::size_t largest_answer = 0;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    if (f.from == 1) largest_answer = std::max(largest_answer, f.bytes.size());
    fate.drop = true;
  };
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    // A CRC32C starts from the pseudo-header: each source needs its own.
    set_source_ip(init, 0x0a000100 + i);
    rewrite_handshake(init, body_of(init));
    p.net.inject(p.now, 1, init.bytes);
    if (i % 16 == 15) p.poll();
  }
  p.run_for(duration::milliseconds(1));
  CHECK(p.stats(1).handshake_packets_received.value() == 10'000);
  CHECK(largest_answer <= init.bytes.size());
  CHECK(largest_answer > 0);
  CHECK(p.pools(1).in_use() == 0);
  CHECK(p.host(1).next_deadline().is_never());
  CHECK_FALSE(p.host(1).has_channels());

  // A cookie is for whom it was baked, and not for ever.
  s.close();
  p.net.on_frame = nullptr;
  require_nothing_left(p);
}

TEST_CASE("A cookie is refused when it is old, or another's", "[pair][handshake]") {
  const bool old = GENERATE(false, true);
  CAPTURE(old);
  host_pair p;
  made_frame echo;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    if (!f.is(wire::packet_kind::cookie_echo)) return;
    echo = f;
    fate.drop = true;
  };
  app_socket s = p.connect(0, 80);
  REQUIRE(p.run_until([&] { return !echo.bytes.empty(); }, soon));
  p.net.on_frame = [&](made_frame&, frame_fate& fate) { fate.drop = true; };
  if (old) {
    p.run_for(core::cookie_jar::lifetime + duration::milliseconds(1));
  } else {
    set_source_ip(echo, 0x0a000063);
    rewrite_handshake(echo, body_of(echo));
  }
  p.net.inject(p.now, 1, echo.bytes);
  p.run_for(duration::milliseconds(1));
  CHECK(p.stats(1).drop_bad_cookie.value() == 1);
  CHECK_FALSE(p.host(1).has_channels());
  s.close();
  p.net.on_frame = nullptr;
  require_nothing_left(p);
}

TEST_CASE("Unknown channels are answered seldom, and briefly", "[pair][handshake]") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  host_pair p({.udp = udp});
  std::vector<std::vector<std::byte>> frames;
  {
    connection c(p);
    p.net.on_frame = [&](made_frame& f, frame_fate&) {
      if (f.from == 0 && (f.is(wire::packet_kind::data) || f.is(wire::packet_kind::ack)))
        frames.push_back(f.bytes);
    };
    c.client.write(bytes_of_text("x"));
    p.run_for(duration::milliseconds(300));
  }
  p.net.on_frame = nullptr;
  require_nothing_left(p);
  p.start(1);
  std::size_t smallest = ~std::size_t{0}, largest_answer = 0;
  p.net.on_frame = [&](made_frame& f, frame_fate&) {
    largest_answer = std::max(largest_answer, f.bytes.size());
    CHECK(f.is(wire::packet_kind::abort));
  };
  REQUIRE_FALSE(frames.empty());
  for (const auto& f : frames) smallest = std::min(smallest, f.size());
  for (int ms = 0; ms < 10; ++ms) {
    for (int i = 0; i < 200; ++i)
      p.net.inject(p.now, 2, frames[static_cast<std::size_t>(i) % frames.size()]);
    p.run_for(duration::milliseconds(1));
  }
  CHECK(p.stats(1).drop_unknown_channel.value() == 2000);
  // One source's share of what there is for all.
  CHECK(p.stats(1).aborts_sent.value() >= 18);
  CHECK(p.stats(1).aborts_sent.value() <= 22);
  CHECK(largest_answer <= smallest);
  p.net.on_frame = nullptr;
  p.stop(1);
  REQUIRE(p.mbufs_in_use() == 0);
}

TEST_CASE("An answer with an MTU that cannot be is not believed", "[pair][handshake]") {
  const auto mtu = static_cast<std::uint16_t>(GENERATE(0, 10, 20, 60, 100, 575));
  CAPTURE(mtu);
  host_pair p;
  p.net.on_frame = [&](made_frame& f, frame_fate&) {
    if (!f.is(wire::packet_kind::cookie_ack)) return;
    wire::handshake_body body = body_of(f);
    body.mtu = mtu;
    rewrite_handshake(f, body);
  };
  app_socket s = p.connect(0, 80);
  p.run_for(duration::microseconds(100));
  CHECK(p.stats(0).drop_bad_handshake.value() > 0);
  CHECK(p.stats(0).data_packets_sent.value() == 0);
}

TEST_CASE("A peer with another MTU is told of, at both ends", "[pair][handshake]") {
  const auto mtu = static_cast<std::uint16_t>(GENERATE(1400, 9000));
  const auto teller = static_cast<std::size_t>(GENERATE(0, 1));  // host 0 calls
  CAPTURE(mtu, teller);
  host_pair p;
  p.net.on_frame = [&](made_frame& f, frame_fate&) {
    const bool its = teller == 0
                         ? f.is(wire::packet_kind::cookie_ack)
                         : f.is(wire::packet_kind::init) || f.is(wire::packet_kind::cookie_echo);
    if (!its) return;
    wire::handshake_body body = body_of(f);
    body.mtu = mtu;
    rewrite_handshake(f, body);
  };
  {
    connection c(p);
    for (std::size_t i = 0; i < 2; ++i) {
      const std::vector<event> events = p.host(i).take_events();
      CHECK(p.stats(i).mtu_differs.value() == (i == teller ? 1U : 0U));
      REQUIRE(events.size() == (i == teller ? 1U : 0U));
      if (i != teller) continue;
      CHECK(events[0].kind == event_kind::mtu_differs);
      CHECK(events[0].ip == host_pair::ip_of(1 - teller));
      CHECK(events[0].bytes == mtu);
      CHECK(events[0].limit == 1500);
    }
    p.net.on_frame = nullptr;
  }
  require_nothing_left(p);
}

TEST_CASE("A path that takes less than both ends is told of once", "[pair][handshake]") {
  const auto real = static_cast<std::size_t>(GENERATE(1500, 1480, 1350, 1200));
  CAPTURE(real);
  host_pair p({.configure = [](std::size_t, core::host_config& c) {
    c.watch_interval = duration::milliseconds(10);
  }});
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    fate.drop = f.bytes.size() > sizeof(wire::ethernet_header) + real;
  };
  {
    connection c(p);
    const std::vector<std::byte> data(50'000);
    for (int i = 0; i < 30; ++i) {
      c.client.write(data);
      REQUIRE(read_all(p, c.server, data.size()).size() == data.size());
      p.run_for(duration::milliseconds(20));
    }
    const bool told = real < 1500;
    for (std::size_t i = 0; i < 2; ++i) {
      const std::vector<event> events = p.host(i).take_events();
      CHECK(p.stats(i).path_mtu_limited.value() == (told ? 1U : 0U));
      REQUIRE(events.size() == (told ? 1U : 0U));
      if (!told) continue;
      CHECK(events[0].kind == event_kind::path_mtu_limited);
      CHECK(events[0].ip == host_pair::ip_of(1 - i));
      CHECK(events[0].bytes <= real);
      CHECK(events[0].bytes + 32 > real);  // how fine the search is
      CHECK(events[0].limit == 1500);
    }
    p.net.on_frame = nullptr;
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("The smallest MTU that may be set works", "[pair][handshake]") {
  const auto mtu = static_cast<std::uint16_t>(GENERATE(576, 599, 600, 1199, 1201, 1220, 1231));
  CAPTURE(mtu);
  host_pair p({.mtu = mtu, .rx_mbufs = 512, .tx_mbufs = 512});
  {
    connection c(p);
    REQUIRE(c.client.connected());
    const std::vector<std::byte> data(10'000);
    c.client.write(data);
    REQUIRE(read_all(p, c.server, data.size()).size() == data.size());
  }
  require_nothing_left(p);
}

TEST_CASE("No checksums where both agree", "[pair][handshake]") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  host_pair p({.udp = udp, .adjust = [](settings& s) { s.checksum = "none"; }});
  {
    connection c(p);
    writer w{c.client, 300'000};
    reader r{c.server};
    REQUIRE(p.run_until(transfer(w, r), duration::seconds(1)));
    CHECK(r.wrong == 0);
  }
  require_nothing_left(p);
}

}  // namespace
TEST_CASE("packets have the UDP source port that their receiver chose, with its channel's id",
          "[pair]") {
  // Each host wants packets from one port in 8, another one each.
  host_pair p({.udp = true, .configure = [](std::size_t i, core::host_config& c) {
                 c.comes_here = [i](std::uint32_t peer, std::uint16_t source) {
                   CHECK(peer == made_ip(1 - i));
                   return source % 8 == 3 + i;
                 };
               }});
  std::array<std::set<std::uint16_t>, 2> ports;  // by sender
  p.net.on_frame = [&](made_frame& f, frame_fate&) {
    const auto* udp = reinterpret_cast<const std::byte*>(&f.ip()) + sizeof(wire::ipv4_header);
    if (f.is_arp()) return;
    const std::uint16_t source = wire::at<wire::udp_header>(static_cast<const void*>(udp)).source;
    if (f.header().channel != 0) CHECK(source == 49152 + f.header().channel % 16384);
    if (f.header().channel != 0) ports[f.from].insert(source);
  };
  {
    connection c(p);
    CHECK(c.client.write(bytes_of_text("here")) == 4);
    CHECK(read_all(p, c.server, 4).size() == 4);
  }
  require_nothing_left(p);
  for (std::size_t from = 0; from < 2; ++from) {
    CHECK(ports[from].size() == 1);
    for (const std::uint16_t port : ports[from]) CHECK(port % 8 == 3 + (1 - from));
  }
}

}  // namespace nd::test
