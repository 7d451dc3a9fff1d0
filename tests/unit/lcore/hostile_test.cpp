// Strangers who flood a host, and peers who open all they can: what is kept for them is bounded,
// and honest ones are served meanwhile.
#include "unit/support/connection.hpp"
#include "unit/support/made_peer.hpp"
#include "unit/support/packet_sums.hpp"

namespace nd::test {
namespace {

/// `count` spoofed packets of a kind for host 0, from as many addresses.
struct flood {
  host_pair& pair;
  wire::packet_kind kind;
  std::uint32_t next = 0x0a000200;

  void send(unsigned count) {
    for (; count > 0; --count, ++next) {
      made_peer stranger(pair, next);
      stranger.body().channel = next;
      if (kind == wire::packet_kind::init) {
        stranger.send_init();
        continue;
      }
      stranger.body().cookie_time = static_cast<std::uint64_t>(pair.now.ns() - 1000);
      stranger.body().cookie_mac.fill(static_cast<std::byte>(next));
      stranger.send_cookie_echo();
    }
  }
};

std::vector<std::byte> arp_frame(std::uint16_t operation, std::uint32_t sender,
                                 std::size_t size = wire::ethernet_min_frame) {
  std::vector<std::byte> frame(size);
  auto& ethernet = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
  ethernet.destination = made_mac(0);
  ethernet.source = {2, 7, 7, 7, 7, static_cast<std::uint8_t>(sender)};
  ethernet.type = wire::ethertype_arp;
  wire::at<wire::arp_packet>(static_cast<void*>(frame.data() + sizeof ethernet)) =
      wire::make_arp(operation, ethernet.source, sender, made_mac(0), made_ip(0));
  return frame;
}

TEST_CASE("Honest peers connect in the middle of a flood, which leaves nothing",
          "[pair][hostile]") {
  const auto kind = GENERATE(wire::packet_kind::init, wire::packet_kind::cookie_echo);
  CAPTURE(static_cast<int>(kind));
  host_pair p({.static_neighbors = false});
  flood f{p, kind};
  {
    app_listener listener(p.host(0), 80);
    unsigned connected = 0;
    for (int i = 0; i < 20; ++i) {
      app_socket client = p.connect(1, 80), server;
      bool done = false;
      for (int turn = 0; turn < 2000 && !done; ++turn) {
        f.send(20);
        p.poll();
        p.now = p.now + host_pair::turn;
        if (!server) server = listener.accept();
        done = server && client.connected();
      }
      connected += done ? 1 : 0;
      if (!done) break;
      // ARP as well: nobody asked for these addresses.
      for (std::uint32_t n = 0; n < 50; ++n)
        p.net.inject(p.now, p.device(0).number(), arp_frame(wire::arp_reply, f.next + n));
      const auto text = bytes_of_text("through the crowd");
      client.write(text);
      CHECK(read_all(p, server, text.size()) == text);
    }
    CHECK(connected == 20);
  }
  CHECK(f.next > 0x0a000200 + 1000);
  const core::host_holdings h = p.host(0).holdings();
  CHECK(h.peers == 1);
  CHECK(h.neighbors == 1);
  CHECK(h.channels <= 2);
  if (kind == wire::packet_kind::init)
    CHECK(p.stats(0).handshake_packets_received.value() >= f.next - 0x0a000200);
  else
    CHECK(p.stats(0).drop_bad_cookie.value() >= f.next - 0x0a000200);
  CHECK(packets_add_up(p.stats(0)));
  require_nothing_left(p);
}

TEST_CASE("Peers with valid cookies: as many as there may be, idle ones make room",
          "[pair][hostile]") {
  host_pair p({.adjust = [](settings& s) { s.peers = 8; }});
  {
    connection honest(p);
    std::vector<std::unique_ptr<made_peer>> crowd;
    p.net.on_frame = [&](made_frame& f, frame_fate&) {
      for (auto& one : crowd) one->see(f);
    };
    for (std::uint32_t i = 0; i < 50; ++i) {
      crowd.push_back(std::make_unique<made_peer>(p, 0x0a000010 + i));
      crowd.back()->open();
      REQUIRE(crowd.back()->is_open());
      const core::host_holdings h = p.host(0).holdings();
      REQUIRE(h.peers <= 8);
      REQUIRE(h.channels <= 8);
      REQUIRE(h.neighbors <= 9);
    }
    CHECK(p.stats(0).peers_forgotten.value() == 50 - 7);
    // Who was forgotten is told so, and calls again.
    made_peer* forgotten = nullptr;
    std::uint64_t aborts = 0;
    for (auto& one : crowd) {
      one->send(one->header(wire::packet_kind::data));
      p.run_for(duration::milliseconds(1));
      aborts += one->aborts;
      if (one->aborts > 0) forgotten = one.get();
    }
    CHECK(aborts == 50 - 7);
    REQUIRE(forgotten != nullptr);
    forgotten->open();
    CHECK(forgotten->is_open());
    // Who has a connection is not.
    CHECK_FALSE(honest.client.failed());
    writer w{honest.client, 100'000};
    reader r{honest.server};
    CHECK(p.run_until(transfer(w, r), duration::seconds(1)));
    // When all have one, nobody else comes in.
    app_listener listener(p.host(0), 81);
    p.run_for(duration::microseconds(50));
    std::vector<app_socket> accepted;
    for (std::size_t i = 30; i < 37; ++i) {
      crowd[i]->open();
      REQUIRE(crowd[i]->is_open());
      crowd[i]->send({made_peer::sync(1000, 81, 500'000 + i)});
      p.run_until(
          [&] {
            app_socket s = listener.accept();
            if (s) accepted.push_back(std::move(s));
            return accepted.size() == i - 29;
          },
          duration::milliseconds(1));
    }
    REQUIRE(accepted.size() == 7);
    crowd[40]->open();
    CHECK_FALSE(crowd[40]->is_open());
    CHECK(p.stats(0).drop_too_many_peers.value() == 1);
    app_socket to_one_more(p.host(0), 0x0a0000aa, 80, 0, p.values);
    p.run_for(duration::microseconds(50));
    CHECK(to_one_more.error() == errc::no_buffer_space);
    CHECK(p.host(0).holdings().peers == 8);
    CHECK(packets_add_up(p.stats(0)));
    p.net.on_frame = nullptr;
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("One peer's channels are bounded, and so is what it leaves half open",
          "[pair][hostile]") {
  host_pair p;
  {
    made_peer peer(p, 0x0a000010);
    p.net.on_frame = [&](made_frame& f, frame_fate&) { peer.see(f); };
    // Without an echo there is nothing.
    for (std::uint32_t i = 1; i <= 200; ++i) {
      peer.body().channel = i;
      peer.send_init();
      p.run_for(duration::microseconds(10));
    }
    CHECK(p.host(0).holdings().peers == 0);
    CHECK(p.host(0).holdings().channels == 0);
    unsigned open = 0;
    for (std::uint32_t i = 1; i <= 100; ++i) {
      peer.open(i);
      open += peer.is_open() ? 1 : 0;
    }
    CHECK(open == 64);
    CHECK(p.host(0).holdings().channels == 64);
    CHECK(p.stats(0).drop_bad_handshake.value() == 36);
    CHECK(packets_add_up(p.stats(0)));
    p.net.on_frame = nullptr;
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("A peer that opens connections without end, and acknowledges nothing",
          "[pair][hostile]") {
  const bool listening = GENERATE(true, false);
  CAPTURE(listening);
  host_pair p({.adjust = [](settings& s) {
    s.sockets = 64;
    s.backlog = 16;
  }});
  {
    std::optional<app_listener> listener;
    if (listening) listener.emplace(p.host(0), 80, 16);
    made_peer peer(p, 0x0a000010);
    p.net.on_frame = [&](made_frame& f, frame_fate&) { peer.see(f); };
    peer.open();
    REQUIRE(peer.is_open());
    unsigned most = 0;
    for (std::uint32_t i = 0; i < 5000; ++i) {
      peer.send({made_peer::sync(static_cast<std::uint16_t>(1000 + i), 80, 500'000 + i)});
      if (i % 8 == 7) p.run_for(duration::microseconds(10));
      most = std::max(most, p.mbufs_in_use());
      REQUIRE(p.host(0).holdings().sockets <= 16);
      REQUIRE(p.host(0).holdings().resets <= 256 + 64);
    }
    CHECK(most < 256);
    CHECK(p.stats(0).connections_refused.value() >= 256);
    CHECK(p.stats(0).connections_refused.value() < 1000);
    CHECK(p.stats(0).drop_no_memory.value() > 4000);
    CHECK(packets_add_up(p.stats(0)));
    // Others get through, and once it acknowledges it is heard again.
    app_listener other(p.host(0), 81);
    app_socket client = p.connect(1, 81), server;
    CHECK(p.run_until(
        [&] {
          if (!server) server = other.accept();
          return server && client.connected();
        },
        soon));
    for (int i = 0; i < 200; ++i) {
      wire::channel_header ack = peer.header(wire::packet_kind::ack);
      ack.ack = peer.highest + 1;
      peer.send(ack);
      p.run_for(duration::microseconds(50));
    }
    CHECK(p.host(0).holdings().resets == 0);
    const std::uint64_t before = p.stats(0).drop_no_memory.value();
    peer.send({made_peer::sync(999, 82, 600'000)});
    p.run_for(duration::milliseconds(1));
    CHECK(p.stats(0).drop_no_memory.value() == before);
    p.net.on_frame = nullptr;
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("Connections without end: sockets are bounded, with a listener that accepts",
          "[pair][hostile]") {
  host_pair p({.adjust = [](settings& s) { s.sockets = 64; }});
  {
    app_listener listener(p.host(0), 80);
    made_peer peer(p, 0x0a000010);
    p.net.on_frame = [&](made_frame& f, frame_fate&) { peer.see(f); };
    peer.open();
    REQUIRE(peer.is_open());
    std::vector<app_socket> accepted;
    for (std::uint32_t i = 0; i < 500; ++i) {
      peer.send({made_peer::sync(static_cast<std::uint16_t>(1000 + i), 80, 500'000 + i)});
      p.run_for(duration::microseconds(20));
      while (app_socket s = listener.accept()) accepted.push_back(std::move(s));
      wire::channel_header ack = peer.header(wire::packet_kind::ack);
      ack.ack = peer.highest + 1;
      peer.send(ack);
      REQUIRE(p.host(0).holdings().sockets <= 64);
    }
    CHECK(accepted.size() == 64);
    CHECK(peer.resets.size() >= 400);
    // The application lets some go, and there is room again.
    accepted.erase(accepted.begin(), accepted.begin() + 32);
    p.run_for(duration::milliseconds(1));
    p.net.on_frame = nullptr;
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("A flood of one source leaves another its share of ABORTs", "[pair][hostile]") {
  host_pair p;
  {
    made_peer flooder(p, 0x0a000010), other(p, 0x0a000011);
    p.net.on_frame = [&](made_frame& f, frame_fate&) {
      flooder.see(f);
      other.see(f);
    };
    flooder.open();
    other.open();
    REQUIRE(flooder.is_open());
    REQUIRE(other.is_open());
    wire::channel_header wrong = flooder.header(wire::packet_kind::data);
    wrong.tag = wrong.tag + 1;
    wire::channel_header old = other.header(wire::packet_kind::data);
    old.tag = old.tag + 1;
    for (int ms = 0; ms < 20; ++ms) {
      for (int i = 0; i < 100; ++i) flooder.send(wrong);
      other.send(old);
      p.run_for(duration::milliseconds(1));
    }
    CHECK(flooder.aborts <= 44);
    CHECK(flooder.aborts >= 36);
    CHECK(other.aborts >= 18);
    p.net.on_frame = nullptr;
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
}

}  // namespace
}  // namespace nd::test
