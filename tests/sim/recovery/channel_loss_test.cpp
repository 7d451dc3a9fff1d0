// One of four channels loses packets: what the others make of it, in figures.
#include <fmt/core.h>

#include "base/rng.hpp"
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

constexpr duration one_way = duration::microseconds(25);
constexpr duration warm_up = duration::milliseconds(10);

/// Asks, and waits for the answer before it asks again.
struct asker {
  app_socket client, server;
  std::vector<std::int64_t>* round_trips = nullptr;
  instant asked;
  bool waiting = false;

  void run(instant now, bool counts) {
    std::array<std::byte, 64> buffer{};
    if (server.read(buffer) > 0) server.write(buffer);
    if (waiting && client.read(buffer) > 0) {
      waiting = false;
      if (counts) round_trips->push_back((now - asked).ns());
    }
    if (waiting) return;
    client.write(buffer);
    asked = now;
    waiting = true;
  }
};

struct figures {
  double gbit_per_second = 0;
  std::int64_t p99_same_class = 0;  ///< ns, of round trips beside the bulk
  std::int64_t p99_other_class = 0;
  std::uint64_t moved = 0;
};

std::int64_t percentile_99(std::vector<std::int64_t>& all) {
  REQUIRE(all.size() > 100);
  std::ranges::sort(all);
  return all[all.size() * 99 / 100];
}

/// Bulk streams and askers, while a share of one channel's packets is lost in both directions.
figures measure(double loss, bool bulk, duration span, std::uint64_t seed) {
  constexpr std::uint32_t victim = 2;
  host_pair p({.seed = seed, .rx_mbufs = 16384, .tx_mbufs = 16384, .adjust = [](settings& s) {
                 s.channels_throughput = 4;
                 s.channels_latency = 1;
               }});
  p.net.latency = one_way;
  p.net.bytes_per_second = 1'250'000'000;
  p.net.queue_bytes = 1 << 20;
  p.net.mark_bytes = 100'000;
  figures result;
  {
    app_listener listener(p.host(1), 80);
    const auto connect = [&](std::uint8_t traffic_class, app_socket& client, app_socket& server) {
      client = p.connect(0, 80, traffic_class);
      REQUIRE(p.run_until(
          [&] {
            if (!server) server = listener.accept();
            return server && client.connected();
          },
          soon));
    };
    std::array<std::pair<app_socket, app_socket>, 8> streams;
    if (bulk)
      for (auto& [client, server] : streams) connect(0, client, server);
    std::array<asker, 8> same;
    std::array<asker, 4> other;
    std::vector<std::int64_t> same_trips, other_trips;
    for (asker& a : same) {
      connect(0, a.client, a.server);
      a.round_trips = &same_trips;
    }
    for (asker& a : other) {
      connect(1, a.client, a.server);
      a.round_trips = &other_trips;
    }

    rng random(seed);
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      const bool its = !f.is_arp() && f.header().channel == victim;
      fate.drop = its && random.chance(loss);
    };
    const std::vector<std::byte> piece(16384);
    std::vector<std::byte> buffer(65536);
    std::uint64_t received = 0;
    const instant start = p.now;
    const auto turn = [&] {
      const bool counts = p.now - start > warm_up;
      if (bulk) {
        for (auto& [client, server] : streams) {
          client.write(piece);
          const std::size_t n = server.read(buffer);
          if (counts) received += n;
        }
      }
      for (asker& a : same) a.run(p.now, counts);
      for (asker& a : other) a.run(p.now, counts);
      return false;
    };
    p.run_until(turn, warm_up + span);
    p.net.on_frame = nullptr;
    result.gbit_per_second = static_cast<double>(received) * 8 / static_cast<double>(span.ns());
    result.p99_same_class = percentile_99(same_trips);
    result.p99_other_class = percentile_99(other_trips);
    result.moved = p.stats(0).records_moved.value() + p.stats(1).records_moved.value();
    CHECK(p.stats(0).peers_lost.value() == 0);
    for (auto& [client, server] : streams)
      if (client) client.abort();
    for (asker& a : same) a.client.abort();
    for (asker& a : other) a.client.abort();
    p.run_for(duration::milliseconds(5));
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  REQUIRE(p.mbufs_in_use() == 0);
  return result;
}

void print(const char* what, const figures& f) {
  fmt::print("{:<28} {:6.2f} Gbit/s, p99 {:5} us in its class, {:5} us in the other, {} moved\n",
             what, f.gbit_per_second, f.p99_same_class / 1000, f.p99_other_class / 1000, f.moved);
}

TEST_CASE("One of four channels at 10 % loss", "[recovery]") {
  constexpr duration span = duration::milliseconds(100);
  const figures clean = measure(0, true, span, 1), lossy = measure(0.1, true, span, 1);
  print("8 streams, no loss", clean);
  print("8 streams, 10 % on one of 4", lossy);
  CHECK(lossy.gbit_per_second >= clean.gbit_per_second * 0.7);
  CHECK(lossy.p99_other_class <= clean.p99_other_class * 3 / 2);
  CHECK(lossy.p99_same_class <= clean.p99_same_class * 3 / 2);
  const figures idle = measure(0, false, span, 1), idle_lossy = measure(0.1, false, span, 1);
  print("no streams, no loss", idle);
  print("no streams, 10 % on one of 4", idle_lossy);
  CHECK(idle_lossy.p99_same_class <= idle.p99_same_class * 3 / 2);
  CHECK(idle_lossy.p99_other_class <= idle.p99_other_class * 3 / 2);
}

TEST_CASE("One of four channels dead", "[recovery]") {
  constexpr duration span = duration::milliseconds(50);
  const figures clean = measure(0, true, span, 1), dead = measure(1, true, span, 1);
  print("8 streams, one of 4 dead", dead);
  CHECK(dead.gbit_per_second >= clean.gbit_per_second * 0.7);
  CHECK(dead.p99_other_class <= clean.p99_other_class * 3 / 2);
  CHECK(dead.moved > 0);
}

}  // namespace
}  // namespace nd::test
