// Applications' threads, dcopy lcores and the stack's thread at once. ThreadSanitizer watches this
// in a build of its own (scripts/test --tsan threads).
#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <thread>

#include "lcore/frame_switch.hpp"
#include "sim/fallible_pool.hpp"
#include "unit/support/connection.hpp"
#include "unit/support/copiers.hpp"

namespace nd::test {
namespace {

/// Threads that call a function again and again until they are stopped.
class loops {
 public:
  ~loops() { stop(); }
  void add(std::function<bool()> turn) {
    threads_.emplace_back([this, turn = std::move(turn)] {
      while (!stop_.load(std::memory_order_relaxed))
        if (!turn()) std::this_thread::yield();
    });
  }
  void stop() {
    stop_.store(true);
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

struct two_copiers : copiers {
  two_copiers(core::host& h, core::copy_policy chosen) : copiers(h, 2, &std::this_thread::yield) {
    policy = chosen;
    writes = reads = {.smallest = 6000, .in_flight = 100'000};
  }
};

/// A thread that writes and one that reads, which pass their time until both are done.
struct application {
  application(app_socket&& s, std::uint64_t bytes, std::uint64_t out, std::uint64_t in,
              lending* lent = nullptr)
      : socket(std::move(s)),
        send{.to = socket, .length = bytes, .salt = out, .lent = lent},
        receive{socket, in} {}
  void start() {
    writing = std::thread([this] {
      while (!send.shut && !socket.failed() && !give_up.load()) {
        send.run();
        std::this_thread::yield();
      }
      while (socket.is_copying_out()) std::this_thread::yield();
      ++ended;
    });
    reading = std::thread([this] {
      while (!receive.ended && !socket.failed() && !give_up.load()) {
        receive.run();
        std::this_thread::yield();
      }
      ++ended;
    });
  }
  void join() {
    for (std::thread* t : {&writing, &reading})
      if (t->joinable()) t->join();
  }
  ~application() {
    give_up.store(true);
    join();
  }
  /// Whether it ends by itself.
  bool is_done() const { return ended.load() == 2; }
  app_socket socket;
  writer send;
  reader receive;
  std::atomic<bool> give_up{false};
  std::atomic<int> ended{0};
  std::thread writing;
  std::thread reading;
};

/// Whether it came to that within a minute.
template <class Done>
bool until(Done&& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("Writers, readers, dcopy lcores and the stack, each in its thread", "[threads]") {
  const core::copy_policy policy =
      GENERATE(core::copy_policy::round_robin, core::copy_policy::compact);
  constexpr std::uint64_t bytes = 1'000'000;
  constexpr std::size_t connections = 2;
  host_pair p({.mtu = 4000, .make_pool = &sim::make_fallible_pool});
  {
    two_copiers copies_0(p.host(0), policy), copies_1(p.host(1), policy);
    app_listener listener(p.host(1), 80, 128, &copies_1);
    loops threads;
    for (const core::copy_service* copies : {&copies_0, &copies_1})
      for (const auto& lcore : copies->lcores)
        threads.add([&lcore] { return lcore->poll({}) > 0; });
    threads.add([&p] {
      p.now = p.now + duration::microseconds(5);
      return p.poll() > 0;
    });
    std::deque<application> applications;
    std::vector<app_socket> waiting;
    for (std::size_t i = 0; i < connections; ++i)
      waiting.emplace_back(p.host(0), made_ip(1), 80, 0, p.values, &copies_0);
    for (app_socket& s : waiting) {
      REQUIRE(until([&] { return s.connected(); }));
      applications.emplace_back(std::move(s), bytes, 1, 2).start();
    }
    REQUIRE(until([&] {
      if (app_socket s = listener.accept())
        applications.emplace_back(std::move(s), bytes, 2, 1).start();
      return applications.size() == 2 * connections;
    }));
    CHECK(until([&] {
      return std::ranges::all_of(applications, [](const auto& a) { return a.is_done(); });
    }));
    for (application& a : applications) a.give_up.store(true);
    for (application& a : applications) a.join();
    for (application& a : applications) {
      CHECK(a.socket.error() == errc{});
      CHECK(a.receive.ended);
      CHECK(a.receive.wrong == 0);
      CHECK(a.socket.consumed() == bytes);
    }
    threads.stop();
    for (const auto& lcore : copies_0.lcores)
      if (policy == core::copy_policy::round_robin || lcore == copies_0.lcores.front())
        CHECK(lcore->stats().dcopy_bytes_written.value() > 0);
  }
  require_nothing_left(p);
}

/// A wire from one device to another, for a thread at each end.
class wire_end final : public port {
 public:
  wire_end(std::size_t host, rte_mempool* pool) : pool_(pool) {
    capabilities_.mac = made_mac(host);
    capabilities_.tx_chains = true;
  }
  wire_end* peer = nullptr;

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant, std::span<rte_mbuf*> frames) override { return in_.pop(frames); }
  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override {
    for (rte_mbuf* m : frames) {
      rte_mbuf* const copy = rte_pktmbuf_copy(m, peer->pool_, 0, m->pkt_len);
      if (copy != nullptr && !peer->in_.push(copy)) rte_pktmbuf_free(copy);
      rte_pktmbuf_free(m);
    }
    return frames.size();
  }
  void tick(instant) override {}
  bool link_up() const noexcept override { return true; }
  void drain() {
    while (rte_mbuf* m = in_.pop()) rte_pktmbuf_free(m);
  }

 private:
  port_capabilities capabilities_;
  rte_mempool* pool_;
  mpsc_ring<rte_mbuf> in_{1023};
};

instant steady_now() {
  return instant(std::chrono::steady_clock::now().time_since_epoch().count());
}

/// A host with several io lcores.
struct lcores {
  lcores(std::size_t host, unsigned count, const settings& values, wire_end& device,
         host_pools& pools)
      : address(made_address(host, false)), exchange(count) {
    port* const only = &device;
    ports = core::share_devices(exchange, address, std::span(&only, 1));
    for (unsigned i = 0; i < count; ++i) {
      core::host_config config = made_config(host, values, pools);
      config.name += "-threads-" + std::to_string(i);
      config.neighbors = {{made_ip(1 - host), made_mac(1 - host)}};
      config.epoch = 1 + host;
      config.seed = 100 * host + i + 1;
      config.place = {i, count};
      config.exchange = &exchange;
      hosts.push_back(std::make_unique<core::host>(config, *ports[i], steady_now()));
    }
  }

  core::host_address address;
  core::lcore_exchange exchange;
  std::vector<std::unique_ptr<core::switched_port>> ports;
  std::vector<std::unique_ptr<core::host>> hosts;
};

TEST_CASE("Io lcores of two hosts, each in its thread, records that change lcores, and lent bytes",
          "[threads]") {
  static constexpr std::array<unsigned, 2> counts{2, 3};
  constexpr std::uint64_t bytes = 300'000;
  constexpr std::size_t connections = 4;
  std::deque<host_pools> pools;
  for (int i = 0; i < 2; ++i) pools.emplace_back(2048, 2048, 1500, &sim::make_fallible_pool);
  settings values;
  values.ip = "10.0.0.1/24";
  values.sockets = 64;
  // There are more threads than CPUs: one that waits for its turn is not lost.
  values.peer_timeout = values.connect_timeout = duration::seconds(60);
  values.arp_probes = 0;
  {
    wire_end a(0, pools[0].rx()), b(1, pools[1].rx());
    a.peer = &b;
    b.peer = &a;
    lcores client(0, counts[0], values, a, pools[0]), server(1, counts[1], values, b, pools[1]);
    {
      std::vector<std::unique_ptr<app_listener>> listeners;
      for (const auto& h : server.hosts)
        listeners.push_back(std::make_unique<app_listener>(*h, 80));
      lending lent{pools[0].lent()};  // outlives who waits for it
      std::deque<application> applications;
      loops threads;
      for (lcores* l : {&client, &server})
        for (const auto& h : l->hosts) threads.add([&h] { return h->poll(steady_now()) > 0; });
      std::vector<app_socket> waiting;
      for (std::size_t i = 0; i < connections; ++i)
        waiting.emplace_back(*client.hosts[i % counts[0]], made_ip(1), 80, 0, values);
      for (app_socket& s : waiting) {
        REQUIRE(until([&] { return s.connected() || s.failed(); }));
        REQUIRE(s.error() == errc{});
        applications.emplace_back(std::move(s), bytes, 1, 2, &lent).start();
      }
      REQUIRE(until([&] {
        for (const auto& listener : listeners)
          if (app_socket s = listener->accept())
            applications.emplace_back(std::move(s), bytes, 2, 1).start();
        return applications.size() == 2 * connections;
      }));
      CHECK(until([&] {
        return std::ranges::all_of(applications, [](const auto& one) { return one.is_done(); });
      }));
      for (application& one : applications) one.give_up.store(true);
      for (application& one : applications) one.join();
      for (application& one : applications) {
        CHECK(one.socket.error() == errc{});
        CHECK(one.receive.wrong == 0);
        CHECK(one.socket.consumed() == bytes);
      }
      CHECK(until([&] { return lent.live == 0; }));
      threads.stop();
    }
    std::uint64_t sent_where_it_lies = 0;
    for (const auto& h : client.hosts) sent_where_it_lies += h->stats().lent_bytes_sent.value();
    CHECK(sent_where_it_lies > 0);
    std::uint64_t handed = 0;
    for (lcores* l : {&client, &server})
      for (const auto& h : l->hosts) handed += h->stats().packets_handed.value();
    CHECK(handed > 0);
    for (lcores* l : {&client, &server})
      for (const auto& h : l->hosts) h->poll(steady_now());  // what applications posted last
    client.hosts.clear();
    server.hosts.clear();
    a.drain();
    b.drain();
  }
  for (const host_pools& p : pools) CHECK(p.in_use() == 0);
}

}  // namespace
}  // namespace nd::test
