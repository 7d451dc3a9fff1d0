// Connections between two hosts with several io lcores, and what must hold when they are over.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "unit/support/lcore_pair.hpp"
#include "unit/support/traffic.hpp"

namespace nd::test {

inline constexpr duration soon = duration::milliseconds(200);

/// A connection from each lcore of host 0, `each` times.
struct connections {
  connections(lcore_pair& pair, unsigned each = 1) : p(pair) {
    for (unsigned n = 0; n < each; ++n)
      for (unsigned lcore = 0; lcore < p.lcores(0); ++lcore) clients.push_back(p.connect(0, lcore));
    servers.resize(clients.size());
    REQUIRE(p.run_until([this] { return all_there(); }, soon));
  }

  bool all_there() {
    while (app_socket s = p.accept(1)) {
      const auto client = std::ranges::find_if(
          clients, [&](app_socket& c) { return c.link().local_port == s.link().peer_port; });
      REQUIRE(client != clients.end());
      servers[static_cast<std::size_t>(client - clients.begin())] = std::move(s);
    }
    return std::ranges::all_of(servers, [](const app_socket& s) { return bool(s); }) &&
           std::ranges::all_of(clients, [](const app_socket& c) { return c.connected(); });
  }

  /// Both ways on all connections at once, with the contents compared, to the end of the streams.
  bool transfer_all(std::uint64_t length, duration limit) {
    std::vector<writer> writers;
    std::vector<reader> readers;
    for (std::size_t i = 0; i < clients.size(); ++i) {
      writers.push_back({clients[i], length, i * 2});
      writers.push_back({servers[i], length, i * 2 + 1});
      readers.push_back({servers[i], i * 2});
      readers.push_back({clients[i], i * 2 + 1});
    }
    const bool ended = p.run_until(
        [&] {
          for (writer& w : writers) w.run();
          for (reader& r : readers) r.run();
          return std::ranges::all_of(readers, &reader::ended);
        },
        limit);
    for (const reader& r : readers) {
      CHECK(r.wrong == 0);
      CHECK(r.from.consumed() == length);
    }
    return ended;
  }

  lcore_pair& p;
  std::vector<app_socket> clients, servers;
};

inline void require_nothing_left(lcore_pair& p) {
  const auto rested = [&] {
    for (std::size_t i = 0; i < 2; ++i)
      for (unsigned n = 0; n < p.lcores(i); ++n) {
        const core::host_holdings h = p.host(i, n).holdings();
        if (h.sockets + h.handed + h.forwarded + h.credit + h.out_of_order > 0) return false;
      }
    return true;
  };
  REQUIRE(p.run_until(rested, soon));
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  REQUIRE(p.mbufs_in_use() == 0);
}

}  // namespace nd::test
