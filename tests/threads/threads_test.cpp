// Applications' threads, dcopy lcores and the stack's thread at once. ThreadSanitizer watches this
// in a build of its own (scripts/test --tsan threads).
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <thread>

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
  application(app_socket&& s, std::uint64_t bytes, std::uint64_t out, std::uint64_t in)
      : socket(std::move(s)), send{socket, bytes, out}, receive{socket, in} {}
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
      for (const auto& lcore : copies->lcores) threads.add([&lcore] { return lcore->poll() > 0; });
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

}  // namespace
}  // namespace nd::test
