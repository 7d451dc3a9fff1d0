// Latency traffic beside bulk data, and the shares of sockets of one class.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

constexpr std::uint8_t latency = core::latency_class;

/// A stream from host 0 to host 1 that never ends, and a connection of the latency class.
struct mixture {
  explicit mixture(host_pair& pair)
      : p(pair), listener(p.host(1), 80), bulk(p.connect(0, 80)), quick(p.connect(0, 80, latency)) {
    const auto accept = [&] {
      while (app_socket s = listener.accept())
        (s.link().traffic_class == latency ? quick_server : bulk_server) = std::move(s);
      return bulk_server && quick_server && bulk.connected() && quick.connected();
    };
    REQUIRE(p.run_until(accept, soon));
    // The window grows, and the latency class falls silent.
    p.run_until([&] { return go_on(), false; }, duration::milliseconds(20));
  }

  void go_on() {
    bulk.write(out);
    while (bulk_server.read(in) > 0) continue;
  }
  /// Host 1 stands still until so many frames wait for it.
  void gather(std::size_t frames) {
    const std::uint64_t before = p.net.frames();
    p.pause(1, instant::never());
    p.run_until([&] { return bulk.write(out), p.net.frames() >= before + frames; },
                duration::milliseconds(5));
    REQUIRE(p.net.frames() >= before + frames);
    p.now = p.now + p.net.latency;
    p.pause(1, p.now);
  }
  /// Frames that one turn of host 1 takes.
  std::uint64_t frames_of_a_turn() {
    const std::uint64_t before = p.stats(1).rx_packets.value();
    p.host(1).poll(p.now);
    return p.stats(1).rx_packets.value() - before;
  }

  host_pair& p;
  app_listener listener;
  app_socket bulk, quick, bulk_server, quick_server;
  std::vector<std::byte> out = std::vector<std::byte>(64 * 1024);
  std::vector<std::byte> in = std::vector<std::byte>(64 * 1024);
};

/// Three packets a turn.
const pair_options sliced{.adjust = [](settings& s) { s.bulk_slice = 3000; }};

}  // namespace

TEST_CASE("On a lane of its own a small message overtakes the bulk data before it", "[pair]") {
  const bool lanes = GENERATE(true, false);
  CAPTURE(lanes);
  host_pair p;
  for (std::size_t i = 0; i < 2; ++i) p.device(i).lanes = lanes;
  {
    mixture m(p);
    m.gather(64);
    m.quick.write(bytes_of_text("now"));
    p.host(0).poll(p.now);
    p.now = p.now + p.net.latency;
    p.host(1).poll(p.now);
    CHECK(m.quick_server.read(m.in) == (lanes ? 3 : 0));
  }
  require_nothing_left(p);
}

TEST_CASE("Beside latency traffic a turn takes a slice of bulk data; a millisecond later all",
          "[pair]") {
  host_pair p(sliced);
  p.device(1).lanes = true;
  {
    mixture m(p);
    m.gather(64);
    CHECK(m.frames_of_a_turn() == 32);
    m.quick_server.write(bytes_of_text("now"));
    CHECK(m.frames_of_a_turn() == 3);
    CHECK(m.frames_of_a_turn() == 3);
    p.now = p.now + duration::milliseconds(1);
    CHECK(m.frames_of_a_turn() == 32);
  }
  require_nothing_left(p);
}

TEST_CASE("A turn that brings a small message leaves bulk data alone, but not twice", "[pair]") {
  host_pair p(sliced);
  p.device(1).lanes = true;
  {
    mixture m(p);
    m.gather(64);
    for (int turn = 0; turn < 6; ++turn) {
      m.quick.write(bytes_of_text("now"));
      p.host(0).poll(p.now);
      p.now = p.now + p.net.latency;
      CHECK(m.frames_of_a_turn() == (turn % 2 == 0 ? 1 : 1 + 3));
      CHECK(m.quick_server.read(m.in) == 3);
    }
  }
  require_nothing_left(p);
}

TEST_CASE("Beside latency traffic a turn sends a slice of bulk data", "[pair]") {
  host_pair p(sliced);
  {
    mixture m(p);
    for (const bool quick : {false, true}) {
      std::uint64_t most = 0;
      for (int turn = 0; turn < 600; ++turn) {
        if (quick) m.quick.write(bytes_of_text("now"));
        m.go_on();
        m.quick_server.read(m.in);
        const std::uint64_t before = p.stats(0).data_packets_sent.value();
        p.host(0).poll(p.now);
        most = std::max(most, p.stats(0).data_packets_sent.value() - before);
        p.host(1).poll(p.now);
        p.now = p.now + host_pair::turn;
      }
      // One more is of the latency channel.
      CAPTURE(quick, most);
      CHECK((quick ? most <= 4 : most > 4));
    }
  }
  require_nothing_left(p);
}

TEST_CASE("Bulk data that stands in the device beside latency traffic is marked", "[pair]") {
  const bool quick = GENERATE(true, false);
  CAPTURE(quick);
  host_pair p(sliced);
  p.device(1).lanes = true;
  {
    mixture m(p);
    const std::uint64_t before = p.stats(0).ecn_reductions.value();
    m.gather(64);
    for (int turn = 0; turn < 30; ++turn) {
      if (quick) m.quick_server.write(bytes_of_text("now"));
      m.frames_of_a_turn();
    }
    p.run_for(duration::milliseconds(1));
    CHECK((p.stats(0).ecn_reductions.value() > before) == quick);
  }
  require_nothing_left(p);
}

TEST_CASE("Sockets of a class share by bytes, however large their records", "[pair]") {
  const auto traffic_class = static_cast<std::uint8_t>(GENERATE(0, 1));
  CAPTURE(traffic_class);
  // So that there are always mbufs for what all of them write.
  host_pair p({.adjust = [](settings& s) { s.send_buffer = 200'000; }});
  p.net.bytes_per_second = 300'000'000;
  {
    app_listener listener(p.host(1), 80);
    std::array<app_socket, 3> clients;
    for (app_socket& c : clients) c = p.connect(0, 80, traffic_class);
    constexpr std::array<std::size_t, 3> record{1300, 700, 520};
    const std::vector<std::byte> out(64 * 1024);
    std::vector<std::byte> in(64 * 1024);
    std::vector<app_socket> servers;
    std::map<std::uint16_t, std::uint64_t> before;
    const auto turn = [&] {
      if (app_socket s = listener.accept()) servers.push_back(std::move(s));
      for (std::size_t i = 0; i < clients.size(); ++i) clients[i].write(out, record[i]);
      for (app_socket& s : servers)
        while (s.read(in) > 0) continue;
      return false;
    };
    p.run_until(turn, duration::milliseconds(5));
    REQUIRE(servers.size() == clients.size());
    for (app_socket& s : servers) before[s.link().peer_port] = s.consumed();
    p.run_until(turn, duration::milliseconds(40));
    double least = 1e18, most = 0;
    for (app_socket& s : servers) {
      const auto bytes = static_cast<double>(s.consumed() - before[s.link().peer_port]);
      least = std::min(least, bytes);
      most = std::max(most, bytes);
    }
    CAPTURE(least, most);
    CHECK(least > 2e6);
    CHECK(most < 1.05 * least);
  }
  require_nothing_left(p);
}

TEST_CASE("Who does not read stops nobody else", "[pair]") {
  host_pair p;
  {
    app_listener listener(p.host(1), 80);
    std::array<app_socket, 2> clients{p.connect(0, 80), p.connect(0, 80)};
    const std::vector<std::byte> out(64 * 1024);
    std::vector<std::byte> in(64 * 1024);
    std::vector<app_socket> servers;
    const auto second_has = [&](std::uint64_t bytes) {
      return servers.size() == 2 && servers[1].consumed() >= bytes;
    };
    p.run_until(
        [&] {
          if (app_socket s = listener.accept()) servers.push_back(std::move(s));
          for (app_socket& c : clients) c.write(out);
          if (servers.size() == 2) servers[1].read(in);
          return second_has(20'000'000);
        },
        duration::seconds(2));
    CHECK(second_has(20'000'000));
    CHECK(clients[0].unacknowledged() > 0);
  }
  require_nothing_left(p);
}

}  // namespace nd::test
