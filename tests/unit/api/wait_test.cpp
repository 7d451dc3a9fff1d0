// Waiting for the lcore that runs the loop.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <nd/nd.hpp>
#include <thread>

#include "base/time.hpp"

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

TEST_CASE("wait_for returns for what came since the thread was there last", "[wait]") {
  nd::config c;
  c.set("ip", "10.0.0.1/24").set("ring", "waiting").set("arp_probes", "0").set("io_lcores", "1");
  c.set("rx_mbufs", "1024").set("tx_mbufs", "1024");
  nd::runtime rt(nd::existing_eal, c);
  while (rt.wait_for(100ms) > 0) continue;
  const auto quiet = clock_type::now();
  CHECK(rt.wait_for(50ms) == 0);
  CHECK(clock_type::now() - quiet >= 50ms);
  {
    // Another thread sees the turn that serves it; this one waits only then.
    std::atomic<bool> ready{false};
    std::thread other([&] {
      while (rt.wait_for(100ms) > 0) continue;
      ready.store(true);
      rt.wait_for(10s);
    });
    while (!ready.load()) std::this_thread::yield();
    const nd::acceptor a(rt, {nd::any_address, 4000});
    other.join();
    const auto began = clock_type::now();
    CHECK(rt.wait_for(10s) > 0);
    CHECK(clock_type::now() - began < 5s);
  }
  while (rt.wait_for(100ms) > 0) continue;
  std::thread other([&rt] { rt.interrupt(); });
  CHECK(rt.wait_for(std::chrono::nanoseconds::max()) == 0);
  other.join();
}

TEST_CASE("a time later than there is, is never", "[wait]") {
  const nd::instant now(1'000);
  CHECK(now.after(nd::duration(5)) == nd::instant(1'005));
  CHECK(now.after(nd::duration(INT64_MAX)).is_never());
  CHECK(now.after(nd::duration(INT64_MAX - 999)).is_never());
  CHECK(now.after(nd::duration(-5)) == nd::instant(995));
}

}  // namespace
