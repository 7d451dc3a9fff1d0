// Many sockets: when ports run out, when credit does, and when SYNs are lost among thousands.
#include <catch2/catch.hpp>
#include <numeric>

#include "unit/support/eal.hpp"
#include "unit/support/host_pair.hpp"

using nd::duration;
using nd::errc;
using nd::test::app_listener;
using nd::test::app_socket;
using nd::test::host_pair;
using nd::test::pair_options;

namespace {

pair_options many_sockets() {
  pair_options o;
  o.adjust = [](nd::settings& v) { v.sockets = 65'536; };
  return o;
}

/// Lets both hosts run until all of `sockets` stand or have failed.
bool all_decided(host_pair& p, std::vector<app_socket>& sockets, app_listener& listener,
                 std::vector<app_socket>& accepted) {
  std::size_t decided = 0;
  return p.run_until(
      [&] {
        while (app_socket s = listener.accept()) accepted.push_back(std::move(s));
        while (decided < sockets.size() &&
               (sockets[decided].connected() || sockets[decided].failed()))
          ++decided;
        return decided == sockets.size();
      },
      duration::seconds(20));
}

}  // namespace

TEST_CASE("ports that run out are an error, and nothing else", "[host][many]") {
  constexpr std::size_t ports = 65'536 - 16'384;
  host_pair p(many_sockets());
  app_listener listener(p.host(1), 7, 65'535), another(p.host(1), 8);
  std::vector<app_socket> sockets, accepted;
  for (std::size_t i = 0; i < ports; ++i) sockets.push_back(p.connect(0, 7));
  REQUIRE(all_decided(p, sockets, listener, accepted));
  CHECK(std::ranges::all_of(sockets, [](const app_socket& s) { return s.connected(); }));
  CHECK(accepted.size() == ports);

  std::vector<app_socket> late;
  for (int i = 0; i < 3; ++i) late.push_back(p.connect(0, 7));
  late.push_back(p.connect(0, 8));
  REQUIRE(p.run_until(
      [&] {
        return std::ranges::all_of(late,
                                   [](const app_socket& s) { return s.connected() || s.failed(); });
      },
      duration::seconds(5)));
  for (std::size_t i = 0; i < 3; ++i) CHECK(late[i].error() == errc::address_not_available);
  CHECK(late[3].connected());  // another port of the peer has all of ours again

  sockets[1000].abort();
  p.run_for(duration::milliseconds(1));
  std::vector<app_socket> again;
  again.push_back(p.connect(0, 7));
  REQUIRE(all_decided(p, again, listener, accepted));
  CHECK(again[0].connected());
}

TEST_CASE("idle connections do not take the credit that others need", "[host][many]") {
  host_pair p(many_sockets());
  app_listener listener(p.host(1), 7, 65'535);
  std::vector<app_socket> sockets, accepted;
  // Of these each reads something, and stays open.
  for (std::size_t i = 0; i < 8000; ++i) sockets.push_back(p.connect(0, 7));
  REQUIRE(all_decided(p, sockets, listener, accepted));
  REQUIRE(accepted.size() == sockets.size());
  const nd::core::host_holdings held = p.host(1).holdings();
  CHECK(held.credit <= held.credit_limit / 4 * 3);

  std::vector<std::byte> bytes(300), in(1000);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t first = 0; first < sockets.size(); first += 1000) {
      for (std::size_t i = first; i < first + 1000; ++i)
        REQUIRE(sockets[i].write(bytes) == bytes.size());
      REQUIRE(p.run_until(
          [&] {
            std::uint64_t read = 0;
            for (app_socket& s : accepted) {
              s.read(in);
              read += s.consumed();
            }
            const auto rounds = static_cast<std::uint64_t>(round);
            return read == (rounds * sockets.size() + first + 1000) * bytes.size();
          },
          duration::seconds(5)));
    }
  }
  sockets.clear();
  accepted.clear();
  p.run_for(duration::milliseconds(100));
  CHECK(p.host(1).holdings().credit == 0);
  CHECK(p.host(1).holdings().sockets == 0);
}

TEST_CASE("SYNs that are lost among thousands of others are not taken for old ones",
          "[host][many]") {
  host_pair p(many_sockets());
  app_listener listener(p.host(1), 7, 65'535);
  p.net.latency = duration::milliseconds(2);
  // Once the window is wide, three packets are so late that all others are there before them.
  std::size_t seen = 0, late = 0;
  p.net.on_frame = [&](nd::test::made_frame& f, nd::test::frame_fate& fate) {
    if (f.from != 0) return;
    const std::size_t syncs = f.count(nd::wire::record_type::sync);
    seen += syncs;
    if (syncs == 0 || seen < 8000 || late == 3) return;
    ++late;
    fate.extra = duration::milliseconds(15);
  };
  std::vector<app_socket> sockets, accepted;
  for (std::size_t i = 0; i < 30'000; ++i) sockets.push_back(p.connect(0, 7));
  REQUIRE(all_decided(p, sockets, listener, accepted));
  CHECK(late == 3);
  CHECK(std::ranges::all_of(sockets, [](const app_socket& s) { return s.connected(); }));
  CHECK(accepted.size() == sockets.size());
}
