// Hosts with several io lcores: sockets and channels on all of them, records that change lcores,
// peers that are lost to all.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "unit/support/lcore_connections.hpp"

namespace nd::test {

TEST_CASE("between hosts with as many lcores no record changes lcores", "[lcores]") {
  const unsigned lcores = GENERATE(2U, 3U, 4U);
  lcore_pair p({lcores, lcores}, [](settings& s) { s.remote_channels = "never"; });
  {
    connections c(p, 2);
    CHECK(c.transfer_all(50'000, soon));
    for (unsigned i = 0; i < lcores; ++i) {
      CHECK(p.host(0, i).stats().connections_opened.value() == 2);
      CHECK(p.host(1, i).stats().connections_accepted.value() == 2);
    }
    CHECK(p.sum(0, &counters::packets_handed) == 0);
    CHECK(p.sum(1, &counters::packets_handed) == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("between others, records reach their socket's lcore and are acknowledged then",
          "[lcores]") {
  const auto [a, b] = GENERATE(std::pair{1U, 4U}, std::pair{4U, 1U}, std::pair{2U, 3U},
                               std::pair{3U, 2U}, std::pair{2U, 4U});
  CAPTURE(a, b);
  lcore_pair p({a, b});
  {
    connections c(p, 8);
    for (const app_socket& s : c.servers)
      CHECK(const_cast<app_socket&>(s).link().lcore ==
            core::lcore_of_ports(const_cast<app_socket&>(s).link().local_port,
                                 const_cast<app_socket&>(s).link().peer_port, b));
    CHECK(c.transfer_all(20'000, soon));
    if (a == 2 && b == 4) {
      // Channels of two lcores end at two: the other two lcores' records come to those.
      CHECK(p.sum(1, &counters::packets_handed) > 0);
    }
    if (b == 3) CHECK(p.sum(1, &counters::packets_handed) > 0);
    if (b == 1) CHECK(p.sum(1, &counters::packets_handed) == 0);
    CHECK(p.sum(0, &counters::packets_lost) == 0);
    CHECK(p.sum(1, &counters::packets_lost) == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("with losses too", "[lcores]") {
  lcore_pair p({3, 4});
  p.net.faults.loss = 0.05;
  p.net.faults.duplicate = 0.05;
  p.net.faults.reorder = 0.05;
  {
    connections c(p, 3);
    CHECK(c.transfer_all(30'000, duration::seconds(2)));
  }
  p.net.faults = {};
  require_nothing_left(p);
}

TEST_CASE("what a lcore that stands still has not kept is not acknowledged, and comes later",
          "[lcores]") {
  lcore_pair p({1, 2});
  {
    connections c(p, 8);
    // A connection whose records come to the first lcore and are for the second one.
    const auto found =
        std::ranges::find_if(c.servers, [](app_socket& s) { return s.link().lcore == 1; });
    REQUIRE(found != c.servers.end());
    app_socket& client = c.clients[static_cast<std::size_t>(found - c.servers.begin())];
    p.run_for(duration::milliseconds(5));
    p.pause(1, 1, true);
    const std::uint64_t handed = p.sum(1, &counters::packets_handed);
    writer w{client, 5000};
    reader r{*found};
    w.run();
    p.run_for(duration::milliseconds(5));
    CHECK(p.sum(1, &counters::packets_handed) > handed);
    CHECK(p.host(1, 0).holdings().handed > 0);
    CHECK(client.unacknowledged() == 5000);
    p.pause(1, 1, false);
    CHECK(p.run_until(transfer(w, r), soon));
    CHECK(r.wrong == 0);
    CHECK(p.run_until([&] { return client.unacknowledged() == 0; }, soon));
    CHECK(p.host(1, 0).holdings().handed == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("more than other lcores can be at work on is dropped and counted, and nothing is lost",
          "[lcores]") {
  lcore_pair p({1, 2});
  p.values.receive_buffer = 4 << 20;
  {
    connections c(p, 8);
    p.pause(1, 1, true);
    std::vector<writer> writers;
    std::vector<reader> readers;
    for (std::size_t i = 0; i < c.clients.size(); ++i) {
      writers.push_back({c.clients[i], 300'000, i, 100});
      readers.push_back({c.servers[i], i});
    }
    const auto write = [&] {
      for (writer& w : writers) w.run();
      return false;
    };
    p.run_until(write, duration::milliseconds(60));
    CHECK(p.host(1, 0).holdings().handed <= core::lcore_exchange::tickets);
    p.pause(1, 1, false);
    CHECK(p.run_until(
        [&] {
          write();
          for (reader& r : readers) r.run();
          return std::ranges::all_of(readers, &reader::ended);
        },
        duration::seconds(2)));
    for (const reader& r : readers) CHECK(r.wrong == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("a peer that has restarted is lost to all lcores, when one of them hears of it",
          "[lcores]") {
  lcore_pair p({4, 1});
  {
    connections c(p);
    c.servers.clear();
    p.stop(1);
    p.start(1);
    // One lcore sends; the others would find out by their next keepalive.
    writer w{c.clients[2], 100};
    w.run();
    CHECK(p.run_until(
        [&] { return std::ranges::all_of(c.clients, [](auto& s) { return s.failed(); }); },
        duration::milliseconds(1)));
    for (app_socket& s : c.clients) CHECK(s.error() == errc::peer_lost);
  }
  {
    connections again(p);
    CHECK(again.transfer_all(1000, soon));
  }
  require_nothing_left(p);
}

TEST_CASE("a peer's new life that one lcore hears of ends the old one on all", "[lcores]") {
  lcore_pair p({4, 1});
  {
    connections c(p);
    c.servers.clear();
    p.stop(1);
    p.start(1);
    // It calls first: one channel of its comes to one lcore.
    app_socket caller = p.connect(1, 0);
    app_socket called;
    CHECK(p.run_until(
        [&] {
          if (!called) called = p.accept(0);
          return called && caller.connected() &&
                 std::ranges::all_of(c.clients, [](auto& s) { return s.failed(); });
        },
        duration::milliseconds(2)));
    CHECK_FALSE(called.failed());
  }
  require_nothing_left(p);
}

TEST_CASE("an lcore whose share is a few sockets", "[lcores]") {
  CHECK_NOTHROW(core::socket_table("few", 2));
}

TEST_CASE("every lcore learns from ARP, and one answers it", "[lcores]") {
  lcore_pair p({3, 3}, {}, false);
  {
    connections c(p);
    CHECK(c.transfer_all(1000, soon));
    CHECK(p.host(0, 1).stats().arp_replies_sent.value() == 0);
    CHECK(p.host(0, 2).stats().arp_replies_sent.value() == 0);
    CHECK(p.sum(1, &counters::arp_replies_sent) == p.sum(0, &counters::arp_requests_sent));
    for (unsigned n = 0; n < 3; ++n) CHECK(p.host(0, n).stats().arp_received.value() > 0);
  }
  require_nothing_left(p);
}

}  // namespace nd::test
