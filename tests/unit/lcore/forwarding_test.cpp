// One socket over the channels of several lcores: records that other lcores carry.
#include <set>

#include "unit/support/lcore_connections.hpp"

namespace nd::test {
namespace {

/// One connection, from an lcore of host 0. The first one has the device.
struct lone_connection {
  explicit lone_connection(lcore_pair& pair, unsigned lcore = 0)
      : p(pair), client(p.connect(0, lcore)) {
    // Windows are limited by marks.
    p.net.bytes_per_second = 1'250'000'000;
    p.net.mark_bytes = 20'000;
    REQUIRE(p.run_until(
        [this] {
          if (!server) server = p.accept(1);
          return server && client.connected();
        },
        soon));
    port = client.link().local_port;
    p.net.on_frame = [this](made_frame& f, frame_fate&) {
      wire::record_reader reader(f.records());
      for (wire::record_view r; f.from == 0 && reader.next(r);)
        if (r.type() == wire::record_type::data && r.header->source == port)
          channels.insert(f.header().channel);
    };
  }
  ~lone_connection() { p.net.on_frame = nullptr; }

  /// Of host 1, to which its bytes came.
  std::size_t lcores() const {
    std::set<unsigned> found;
    for (const std::uint32_t id : channels) found.insert(core::lcore_of_channel(id, p.lcores(1)));
    return found.size();
  }

  lcore_pair& p;
  app_socket client, server;
  std::uint16_t port = 0;            ///< the client's
  std::set<std::uint32_t> channels;  ///< that its bytes went to
};

bool send(lone_connection& c, std::uint64_t bytes, duration limit = soon) {
  writer w{c.client, bytes};
  reader r{c.server};
  const bool ended = c.p.run_until(transfer(w, r), limit);
  CHECK(r.wrong == 0);
  CHECK(c.server.consumed() == bytes);
  return ended;
}

}  // namespace

TEST_CASE("one socket sends by the channels of all lcores, to all of its peer's", "[lcores]") {
  const unsigned lcores = GENERATE(2U, 4U);
  lcore_pair p({lcores, lcores});
  {
    lone_connection c(p);
    const instant began = p.now;
    CHECK(send(c, 3'000'000));
    CHECK(p.now - began < duration::milliseconds(4));  // 2.4 of them at the link's rate
    CHECK(c.lcores() == lcores);
    CHECK(p.host(0, 0).stats().records_forwarded.value() > 500);
    CHECK(p.sum(0, &counters::records_sent) >= 3'000'000 / 1500);
  }
  require_nothing_left(p);
}

TEST_CASE("what fits its own lcore's channels is not forwarded, nor anything where it shall not be",
          "[lcores]") {
  const bool never = GENERATE(false, true);
  lcore_pair p({3, 3}, [&](settings& s) {
    if (never) s.remote_channels = "never";
  });
  {
    lone_connection c(p);
    CHECK(send(c, never ? 1'000'000 : 8000));
    CHECK(c.lcores() == 1);
    CHECK(p.sum(0, &counters::records_forwarded) == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("forwarded records are lost and come again like others", "[lcores]") {
  lcore_pair p({3, 2});
  {
    lone_connection c(p);
    p.net.faults.loss = 0.05;
    p.net.faults.duplicate = 0.05;
    p.net.faults.reorder = 0.05;
    CHECK(send(c, 1'000'000, duration::seconds(2)));
    CHECK(p.sum(0, &counters::records_forwarded) > 100);
    CHECK(p.sum(0, &counters::records_retransmitted) > 10);
    p.net.faults = {};
  }
  require_nothing_left(p);
}

TEST_CASE("an lcore that stands still keeps what it was given, and no more", "[lcores]") {
  lcore_pair p({2, 2});
  {
    lone_connection c(p);
    p.pause(0, 1, true);
    writer w{c.client, 2'000'000};
    reader r{c.server};
    CHECK_FALSE(p.run_until(transfer(w, r), duration::milliseconds(20)));
    CHECK(p.host(0, 0).holdings().forwarded == core::lcore_exchange::most_waiting);
    p.pause(0, 1, false);
    CHECK(p.run_until(transfer(w, r), soon));
    CHECK(r.wrong == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("a socket may go while other lcores have its records", "[lcores]") {
  enum class end { reset, peer_restarts, host_stops };
  const auto how = GENERATE(end::reset, end::peer_restarts, end::host_stops);
  CAPTURE(how);
  lcore_pair p({3, 3});
  {
    lone_connection c(p);
    writer w{c.client, 10'000'000};
    reader r{c.server};
    CHECK_FALSE(p.run_until(transfer(w, r), duration::milliseconds(1)));
    REQUIRE(p.host(0, 0).holdings().forwarded > 0);
    if (how == end::reset) c.client.abort();
    if (how == end::peer_restarts) {
      c.server = {};
      p.stop(1);
      p.start(1);
      CHECK(p.run_until([&] { return c.client.failed(); }, soon));
      CHECK(c.client.error() == errc::peer_lost);
    }
    if (how == end::host_stops) {
      c.client = {};
      p.stop(0);
      p.start(0);
    }
  }
  require_nothing_left(p);
}

TEST_CASE("no byte for a peer's earlier life is carried to its next one by another lcore",
          "[lcores]") {
  lcore_pair p({2, 2});
  {
    constexpr unsigned lcore = 1;
    lone_connection c(p, lcore);
    writer w{c.client, 10'000'000};
    reader r{c.server};
    CHECK_FALSE(p.run_until(transfer(w, r), duration::milliseconds(1)));
    // The other lcore knows the new life, when this one still goes on with the old.
    p.pause(0, lcore, true);
    c.server = {};
    p.stop(1);
    p.start(1);
    app_socket other = p.connect(0, 1 - lcore);
    app_socket called;
    REQUIRE(p.run_until(
        [&] {
          if (!called) called = p.accept(1);
          return called && other.connected();
        },
        soon));
    c.channels.clear();
    p.pause(0, lcore, false);
    const std::uint64_t before = p.host(0, lcore).stats().records_forwarded.value();
    p.run_for(duration::milliseconds(1));
    CHECK(c.client.failed());
    CHECK(p.host(0, lcore).stats().records_forwarded.value() > before);
    p.host(0, 1 - lcore).for_each_channel([&](const core::channel& channel) {
      CHECK_FALSE(c.channels.contains(channel.peer_id()));
    });
  }
  require_nothing_left(p);
}

}  // namespace nd::test
