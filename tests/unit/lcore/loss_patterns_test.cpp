// Every pattern of losses among the first ten frames of setup, and of teardown. Frames of both
// directions are counted together, in the order in which they are sent; ARP's too where addresses
// are not known yet.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

constexpr std::uint64_t frames = 10;
constexpr std::uint64_t patterns = std::uint64_t{1} << frames;
/// Made time in which all must be over, whatever was lost.
constexpr duration bound = duration::seconds(3);

template <class F>
void for_each_pattern(F&& f) {
  for (std::uint64_t pattern = 1; pattern < patterns; ++pattern) {
    CAPTURE(pattern);
    f(pattern);
  }
}

/// Drops frame n from now on where bit n of `pattern` is set.
void lose(host_pair& p, std::uint64_t pattern) {
  const std::uint64_t first = p.net.frames();
  p.net.on_frame = [=](made_frame& f, frame_fate& fate) {
    const std::uint64_t n = f.number - first;
    fate.drop = n < frames && (pattern >> n & 1) != 0;
  };
}

/// With all applications' sockets closed.
void require_no_trace(host_pair& p) {
  REQUIRE(p.comes_to_rest());
  for (std::size_t i = 0; i < 2; ++i) {
    if (!p.up(i)) continue;
    const core::host_holdings left = p.host(i).holdings();
    REQUIRE(left.sockets == 0);
    REQUIRE(left.credit == 0);
    REQUIRE(left.out_of_order == 0);
    REQUIRE(p.host(i).drained());
    REQUIRE(p.host(i).next_deadline() > p.now + duration::seconds(1));
    p.stop(i);
  }
  REQUIRE(p.mbufs_in_use() == 0);
}

/// A connection's two ends, which each write `length` bytes and read the other's.
struct exchange {
  app_socket client, server;
  std::uint64_t length;
  writer to_server{client, length, 1}, to_client{server, length, 2};
  reader at_server{server, 1}, at_client{client, 2};

  exchange(host_pair& p, std::size_t from, std::uint64_t bytes)
      : client(p.connect(from, 80)), length(bytes) {
    to_server.shut = to_client.shut = true;  // nobody ends here
  }
  /// Whether all bytes have come.
  bool run(app_listener& listener) {
    if (!server) server = listener.accept();
    to_server.run();
    at_client.run();
    if (server) {
      to_client.run();
      at_server.run();
    }
    return server && server.consumed() == length && client.consumed() == length;
  }
  void require_right() const {
    REQUIRE(client.error() == errc{});
    REQUIRE(server.error() == errc{});
    REQUIRE(at_server.wrong + at_client.wrong == 0);
  }
};

void set_up(std::uint64_t pattern, const pair_options& options, bool both) {
  host_pair p(options);
  lose(p, pattern);
  {
    app_listener at_0(p.host(0), 80), at_1(p.host(1), 80);
    // More than a packet holds at first.
    exchange one(p, 0, 3000);
    std::optional<exchange> other;
    if (both) other.emplace(p, 1, 3000);
    REQUIRE(p.run_until(
        [&] {
          const bool done = one.run(at_1);
          return (!other || other->run(at_0)) && done;
        },
        bound));
    one.require_right();
    if (both) other->require_right();
    REQUIRE(p.stats(1).connections_accepted.value() == 1);
    REQUIRE(p.stats(0).connections_accepted.value() == (both ? 1U : 0U));
  }
  require_no_trace(p);
}

TEST_CASE("Setup survives every pattern of losses", "[pair][patterns]") {
  SECTION("addresses are known") {
    for_each_pattern([](std::uint64_t pattern) { set_up(pattern, {}, false); });
  }
  SECTION("addresses are asked for") {
    // More often than requests are lost.
    const pair_options asking{.static_neighbors = false,
                              .adjust = [](settings& s) { s.arp_tries = 20; }};
    for_each_pattern([&](std::uint64_t pattern) { set_up(pattern, asking, false); });
  }
  SECTION("both ends connect at once") {
    for_each_pattern([](std::uint64_t pattern) { set_up(pattern, {}, true); });
  }
}

/// Who ends the connection.
enum class ending { client_first, server_first, both_at_once };

void tear_down(std::uint64_t pattern, ending who, bool close) {
  host_pair p;
  {
    connection c(p);
    p.run_for(duration::milliseconds(2));
    lose(p, pattern);
    writer w{c.client, 10, 1}, v{c.server, 3000, 2};
    w.shut = v.shut = true;
    w.run();
    v.run();
    reader r{c.server, 1}, q{c.client, 2};
    app_socket& second = who == ending::server_first ? c.client : c.server;
    app_socket& first = who == ending::server_first ? c.server : c.client;
    first.shut_down_send();
    bool ended = who == ending::both_at_once;
    if (ended) second.shut_down_send();
    REQUIRE(p.run_until(
        [&] {
          if (c.server) r.run();
          if (c.client) q.run();
          if (second.at_end() && !std::exchange(ended, true)) {
            if (close)
              second.close();
            else
              second.shut_down_send();
          }
          return first.at_end() && (!second || second.at_end());
        },
        bound));
    REQUIRE(r.wrong + q.wrong == 0);
    REQUIRE(first.error() == errc{});
    if (second) REQUIRE(second.error() == errc{});
    REQUIRE((!c.server || c.server.consumed() == 10));
    REQUIRE((!c.client || c.client.consumed() == 3000));
  }
  require_no_trace(p);
}

TEST_CASE("Teardown survives every pattern of losses", "[pair][patterns]") {
  SECTION("the connecting side first") {
    for_each_pattern([](std::uint64_t n) { tear_down(n, ending::client_first, false); });
  }
  SECTION("the accepting side first, and the other closes") {
    for_each_pattern([](std::uint64_t n) { tear_down(n, ending::server_first, true); });
  }
  SECTION("both at once") {
    for_each_pattern([](std::uint64_t n) { tear_down(n, ending::both_at_once, false); });
  }
}

/// What a runtime does when it ends (api/runtime_impl.cpp).
void leave(host_pair& p, std::size_t i, const std::function<void()>& meanwhile) {
  const auto drained = [&] {
    meanwhile();
    return p.host(i).drained();
  };
  p.run_until(drained, p.values.linger);
  for (int tries = 0; tries < 10 && p.host(i).say_goodbye(p.now); ++tries)
    p.run_until(
        [&] {
          meanwhile();
          return !p.host(i).has_channels();
        },
        duration::milliseconds(5));
  p.stop(i);
}

/// What host 0 leaves behind when it ends.
enum class left_behind { ended, open, nothing };

void end_host(std::uint64_t pattern, left_behind what) {
  host_pair p;
  // All ten goodbyes are lost where all frames are, and then silence tells.
  const bool told = pattern + 1 < patterns;
  {
    connection c(p);
    p.run_for(duration::milliseconds(2));
    if (what == left_behind::ended) {
      lose(p, pattern);
      writer w{c.client, 3000, 1};
      w.run();
      c.client.close();
      reader r{c.server, 1};
      leave(p, 0, [&] {
        r.run();
        if (c.server.at_end()) c.server.shut_down_send();
      });
      REQUIRE(r.ended);
      REQUIRE(r.wrong == 0);
      REQUIRE(c.server.consumed() == 3000);
      REQUIRE(c.server.error() == errc{});
    } else if (what == left_behind::open) {
      lose(p, pattern);
      leave(p, 0, [] {});
      c.client.forget();
      REQUIRE(p.run_until([&] { return c.server.failed(); }, bound));
      REQUIRE(c.server.error() == (told ? errc::connection_reset : errc::peer_lost));
    } else {
      c.client.close();
      c.server.close();
      p.run_for(duration::milliseconds(50));
      lose(p, pattern);
      leave(p, 0, [] {});
      p.run_for(duration::milliseconds(50));
      if (told) REQUIRE_FALSE(p.host(1).has_channels());
    }
  }
  require_no_trace(p);
}

TEST_CASE("A host's end survives every pattern of losses", "[pair][patterns]") {
  SECTION("with a connection that ends") {
    for_each_pattern([](std::uint64_t n) { end_host(n, left_behind::ended); });
  }
  SECTION("with a connection that nobody ends") {
    for_each_pattern([](std::uint64_t n) { end_host(n, left_behind::open); });
  }
  SECTION("with nothing but channels") {
    for_each_pattern([](std::uint64_t n) { end_host(n, left_behind::nothing); });
  }
}

TEST_CASE("A refusal survives every pattern of losses", "[pair][patterns]") {
  for_each_pattern([](std::uint64_t pattern) {
    host_pair p;
    lose(p, pattern);
    {
      app_socket client = p.connect(0, 80);
      REQUIRE(p.run_until([&] { return client.failed(); }, bound));
      REQUIRE(client.error() == errc::connection_refused);
    }
    require_no_trace(p);
  });
}

}  // namespace
}  // namespace nd::test
