// Peers with a valid channel that lie: about what they have received, and what they can take.
#include "unit/support/connection.hpp"
#include "unit/support/made_peer.hpp"
#include "unit/support/packet_sums.hpp"
#include "unit/support/rewrite.hpp"

namespace nd::test {
namespace {

constexpr std::uint32_t liar_ip = 0x0a000009;

/// Host 0 with a peer that is made by hand; host 1 is honest.
struct with_liar {
  explicit with_liar(pair_options o = {}) : pair(with_neighbor(std::move(o))), liar(pair, liar_ip) {
    pair.net.on_frame = [this](made_frame& f, frame_fate&) { liar.see(f); };
    liar.open();
    REQUIRE(liar.is_open());
    liar.answers = true;
  }
  ~with_liar() { pair.net.on_frame = nullptr; }  // hosts that stop still send
  static pair_options with_neighbor(pair_options o) {
    o.configure = [](std::size_t i, core::host_config& c) {
      if (i == 0) c.neighbors.emplace_back(liar_ip, mac_address{2, 8, 10, 0, 0, 9});
    };
    return o;
  }
  /// Host 0 accepts a connection of the liar's.
  app_socket accept_from(app_listener& listener, std::uint16_t port, std::uint64_t grant = 65536) {
    liar.send({made_peer::sync(port, 80, 500'000u + port, grant)});
    app_socket s;
    pair.run_until([&] { return static_cast<bool>(s = listener.accept()); },
                   duration::milliseconds(1));
    return s;
  }
  const counters& stats() { return pair.stats(0); }

  host_pair pair;
  made_peer liar;
};

bool exchanged(host_pair& p, connection& c) {
  writer w{c.client, 200'000};
  reader r{c.server};
  return p.run_until(transfer(w, r), duration::seconds(2)) && r.wrong == 0;
}

TEST_CASE("Who acknowledges what has not arrived is cut off", "[pair][lying]") {
  const bool lies = GENERATE(true, false);
  CAPTURE(lies);
  host_pair p({.adjust = [](settings& s) { s.receive_buffer = 32 << 10; }});
  {
    connection c(p);
    std::uint32_t next = 0;
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      if (f.is_arp() || wire::is_handshake(f.header().kind)) return;
      if (f.from == 0) {
        if (f.is(wire::packet_kind::data) || f.is(wire::packet_kind::probe))
          next = f.header().number + 1;
        if (!lies) fate.drop = f.number % 97 == 0;
      } else if (lies && next != 0) {
        // All that was sent, whether it has come or not.
        rewrite_header(f, [&](wire::channel_header& h) { h.ack = next; });
      }
    };
    writer w{c.client, 16 << 20};
    reader r{c.server};
    const auto both = transfer(w, r);
    const bool ended =
        p.run_until([&] { return both() || c.client.failed(); }, duration::seconds(20));
    REQUIRE(ended);
    CHECK(p.stats(0).peers_lying.value() == (lies ? 1U : 0U));
    CHECK(p.stats(1).peers_lying.value() == 0);
    CHECK(packets_add_up(p.stats(0)));
    if (lies) {
      CHECK(c.client.error() == errc::protocol_error);
      CHECK(w.to.written() < w.length);
      const std::vector<event> events = p.host(0).take_events();
      REQUIRE(events.size() == 1);
      CHECK(events[0].kind == event_kind::peer_lied);
      CHECK(events[0].ip == host_pair::ip_of(1));
    } else {
      CHECK(r.wrong == 0);
      CHECK(r.ended);
    }
    p.net.on_frame = nullptr;
  }
  if (lies) {
    // It may call again.
    connection c(p);
    CHECK(exchanged(p, c));
  }
  require_nothing_left(p);
}

TEST_CASE("A grant of more than any host can have ends the connection", "[pair][lying]") {
  with_liar l;
  {
    app_listener listener(l.pair.host(0), 80);
    l.pair.run_for(duration::microseconds(50));
    SECTION("in SYNC") {
      app_socket s = l.accept_from(listener, 1000, GENERATE(~std::uint64_t{0}, (1u << 30) + 1u));
      CHECK_FALSE(s);
      CHECK(l.stats().protocol_errors.value() == 1);
    }
    SECTION("as much as can be, in SYNC") {
      app_socket s = l.accept_from(listener, 1000, 1u << 30);
      CHECK(s);
      CHECK(l.stats().protocol_errors.value() == 0);
    }
    SECTION("in any record") {
      app_socket s = l.accept_from(listener, 1000);
      REQUIRE(s);
      using wire::record_type;
      // Backwards is old news; one that could be is taken.
      l.liar.send({made_peer::small(record_type::ack, 1000, 80, 1)});
      l.liar.send({made_peer::small(record_type::ack, 1000, 80, 1u << 30)});
      l.pair.run_for(duration::microseconds(100));
      CHECK_FALSE(s.failed());
      l.liar.send({made_peer::small(record_type::ack, 1000, 80, (1u << 30) + 1)});
      l.pair.run_for(duration::microseconds(100));
      CHECK(s.error() == errc::protocol_error);
      CHECK(l.stats().protocol_errors.value() == 1);
      REQUIRE(l.liar.resets.size() == 1);
      CHECK(l.liar.resets[0].reason == wire::reset_reason::protocol_error);
    }
    CHECK(packets_add_up(l.stats()));
  }
  connection honest(l.pair);
  CHECK(exchanged(l.pair, honest));
}

TEST_CASE("Bytes beyond the credit end the connection, and no other", "[pair][lying]") {
  with_liar l;
  {
    connection honest(l.pair);
    app_listener listener(l.pair.host(0), 80);
    l.pair.run_for(duration::microseconds(50));
    app_socket s = l.accept_from(listener, 1000);
    REQUIRE(s);
    l.liar.send({made_peer::data(1000, 80, 1 << 20, std::vector<std::byte>(100))});
    l.pair.run_for(duration::milliseconds(1));
    CHECK(s.error() == errc::protocol_error);
    REQUIRE(l.liar.resets.size() == 1);
    CHECK(l.liar.resets[0].reason == wire::reset_reason::protocol_error);
    CHECK(exchanged(l.pair, honest));
    CHECK(l.pair.host(0).holdings().out_of_order == 0);
  }
}

TEST_CASE("A peer that grants a byte at a time gets a byte at a time", "[pair][lying]") {
  with_liar l;
  {
    app_listener listener(l.pair.host(0), 80);
    l.pair.run_for(duration::microseconds(50));
    app_socket s = l.accept_from(listener, 1000, 0);
    REQUIRE(s);
    const std::vector<std::byte> bytes(100'000);
    std::size_t written = s.write(bytes);
    l.pair.run_for(duration::milliseconds(1));
    const unsigned before = l.pair.mbufs_in_use();
    unsigned most = before;
    for (std::uint32_t grant = 1; grant <= 2000; ++grant) {
      l.liar.send({made_peer::small(wire::record_type::ack, 1000, 80, grant)});
      l.pair.run_for(duration::microseconds(60));
      most = std::max(most, l.pair.mbufs_in_use());
    }
    CHECK_FALSE(s.failed());
    CHECK(l.liar.data_bytes >= 1990);
    CHECK(l.liar.data_bytes <= 2000);
    // What is cut off takes an mbuf while it is on its way.
    CHECK(most <= before + 8);
    written += s.write(bytes);
    CHECK(written <= static_cast<std::size_t>(l.pair.values.send_buffer));
    connection honest(l.pair);
    CHECK(exchanged(l.pair, honest));
  }
}

TEST_CASE("Records of a byte with gaps between them take no more memory than there is",
          "[pair][lying]") {
  with_liar l({.rx_mbufs = 1024});
  {
    app_listener listener(l.pair.host(0), 80);
    l.pair.run_for(duration::microseconds(50));
    std::vector<app_socket> sockets;
    for (std::uint16_t port = 1000; port < 1008; ++port) {
      sockets.push_back(l.accept_from(listener, port));
      REQUIRE(sockets.back());
    }
    unsigned most = 0;
    // Within the first grant, 256 bytes here.
    for (std::uint32_t at = 1; at < 256; at += 2) {
      for (std::uint16_t port = 1000; port < 1008; ++port)
        l.liar.send({made_peer::data(port, 80, at, {std::byte{1}})});
      l.pair.run_for(duration::microseconds(20));
      most = std::max(most, l.pair.mbufs_in_use());
      const core::host_holdings h = l.pair.host(0).holdings();
      REQUIRE(h.out_of_order <= h.out_of_order_limit / 2);  // one peer's share
    }
    CHECK(l.stats().drop_no_memory.value() > 0);
    CHECK(most < 1024 / 4);
    CHECK(packets_add_up(l.stats()));
    // Others still get through, out of order too.
    connection honest(l.pair);
    l.pair.net.faults.reorder = 0.3;
    writer w{honest.server, 300'000};
    reader r{honest.client};
    CHECK(l.pair.run_until(transfer(w, r), duration::seconds(5)));
    CHECK(r.wrong == 0);
    l.pair.net.faults = {};
    // When the gaps close, many share an mbuf.
    for (std::uint32_t at = 0; at < 200; at += 2) {
      for (std::uint16_t port = 1000; port < 1008; ++port)
        l.liar.send({made_peer::data(port, 80, at, {std::byte{1}, std::byte{1}})});
      l.pair.run_for(duration::microseconds(20));
    }
    for (app_socket& s : sockets) CHECK_FALSE(s.failed());
    CHECK(l.pair.host(0).holdings().out_of_order == 0);
    CHECK(l.pair.mbufs_in_use() < 40);
  }
}

TEST_CASE("A peer that never reads holds what its connections may hold, and no more",
          "[pair][lying]") {
  with_liar l({.adjust = [](settings& s) { s.send_buffer = 64 << 10; }});
  {
    app_listener listener(l.pair.host(0), 80);
    l.pair.run_for(duration::microseconds(50));
    std::vector<app_socket> sockets;
    const std::vector<std::byte> bytes(16384);
    for (std::uint16_t port = 1000; port < 1010; ++port) {
      sockets.push_back(l.accept_from(listener, port, 4096));
      REQUIRE(sockets.back());
    }
    // It acknowledges everything, and grants nothing.
    std::array<std::size_t, 10> written{};
    for (int ms = 0; ms < 2000; ms += 5) {
      for (std::size_t i = 0; i < sockets.size(); ++i) written[i] += sockets[i].write(bytes);
      l.pair.run_for(duration::milliseconds(5));
    }
    for (const std::size_t n : written) CHECK(n <= 4096 + (64 << 10));
    CHECK(l.liar.data_bytes <= 10 * 4096);
    CHECK(l.pair.mbufs_in_use() < 10 * (64 << 10) / 1000);
    for (app_socket& s : sockets) CHECK_FALSE(s.failed());
    connection honest(l.pair);
    CHECK(exchanged(l.pair, honest));
  }
}

}  // namespace
}  // namespace nd::test
