// A thread that sleeps until the device interrupts it: ports that are armed, and a runtime.
#ifdef ND_FAKE_DEVICES

#include "pmd_glue/rx_interrupts.hpp"

#include <poll.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <nd/nd.hpp>
#include <semaphore>
#include <thread>

#include "base/rng.hpp"
#include "unit/support/opened_nic.hpp"

using namespace nd::test;
using namespace std::chrono_literals;
using interrupts = fake_nic_traits::interrupts;

namespace {

fake_nic_traits traits_with(interrupts how) {
  fake_nic_traits traits;
  traits.rx_interrupts = how;
  return traits;
}

bool readable(int fd) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, 0) == 1;
}

/// A runtime in inline mode, and frames that it drops.
struct sleeper {
  explicit sleeper(fake_nic_traits traits, const std::string& idle = "sleep") : nic(traits) {
    nd::config c;
    c.set("port", std::to_string(nic.port_id()))
        .set("ip", "10.0.0.1/24")
        .set("rx_mbufs", "1024")
        .set("rx_descriptors", "128")
        .set("tx_mbufs", "1024")
        .set("idle", idle);
    runtime.emplace(nd::existing_eal, c);
    while (runtime->wait_for(20ms) > 0)
      ;
  }
  fake_nic::fate arrive() { return nic.inject(frame_for(nic, {.protocol = 19})); }

  fake_nic nic;
  std::optional<nd::runtime> runtime;
};

}  // namespace

TEST_CASE("an armed port tells of each frame that comes, and of none that was there",
          "[interrupt]") {
  const std::uint64_t seed = GENERATE(1u, 2u, 3u);
  const std::string queues = GENERATE("1", "4");
  const interrupts how = GENERATE(interrupts::given, interrupts::readable);
  CAPTURE(seed, queues, static_cast<int>(how));
  fake_nic nic(traits_with(how));
  opened o(nic, {{"rx_queues", queues}, {"idle", "sleep"}});
  REQUIRE(nic.has_interrupts());
  nd::rng random(seed);
  std::size_t sent = 0, received = 0, told = 0;
  const auto maybe_arrive = [&] {
    if (random.below(3) != 0) return false;
    const auto from = static_cast<std::uint32_t>(others + random.below(200));
    REQUIRE(nic.inject(frame_for(nic, {.from = from})).to == fate::queue);
    ++sent;
    return true;
  };
  for (int i = 0; i < 3000; ++i) {
    CAPTURE(i);
    maybe_arrive();
    const nd::rx_wake wake = o.port->arm_rx_wake();
    REQUIRE(wake.told);
    maybe_arrive();
    const std::size_t found = o.drain();
    received += found;
    if (found == 0) {
      const bool came = maybe_arrive();
      REQUIRE(readable(wake.fd) == came);
      told += came ? 1 : 0;
    }
    o.port->disarm_rx_wake();
    REQUIRE(nic.interrupts_armed() == 0);
    if (how == interrupts::given) REQUIRE_FALSE(readable(wake.fd));
    received += o.drain();
    REQUIRE_FALSE(readable(wake.fd));
  }
  CHECK(received == sent);
  CHECK(told > 100);
  CHECK((nic.interrupts_enabled() == 0) == (how == interrupts::readable));
  o.port.reset();
  CHECK(nic.violations() == texts{});
}

TEST_CASE("a device that refuses rx interrupts works without", "[interrupt]") {
  const interrupts how =
      GENERATE(interrupts::refused_at_configure, interrupts::refused_at_start, interrupts::none);
  CAPTURE(static_cast<int>(how));
  fake_nic nic(traits_with(how));
  opened o(nic, {{"idle", "sleep"}});
  CHECK(nic.has_interrupts() == (how == interrupts::none));  // which shows once it is started
  CHECK(nic.starts() == 1);
  CHECK_FALSE(o.port->arm_rx_wake().told);
  o.port->disarm_rx_wake();
  REQUIRE(nic.inject(frame_for(nic, {})).to == fate::queue);
  CHECK(o.drain() == 1);
  o.port.reset();
  CHECK(nic.violations() == texts{});
}

TEST_CASE("who never sleeps asks for no rx interrupts", "[interrupt]") {
  const std::string idle = GENERATE("spin", "pause");
  sleeper s(traits_with(interrupts::given), idle);
  s.runtime->wait_for(5ms);
  CHECK_FALSE(s.nic.has_interrupts());
  CHECK(s.nic.interrupts_enabled() == 0);
}

TEST_CASE("a thread that sleeps is woken by frames, whenever they come", "[interrupt]") {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  sleeper s(traits_with(interrupts::given));
  REQUIRE(s.nic.has_interrupts());
  nd::rng random(7);
  std::binary_semaphore go(0);
  std::atomic<bool> ended{false};
  std::atomic<std::int64_t> after{0};
  std::thread wire([&] {
    for (go.acquire(); !ended; go.acquire()) {
      const auto until = now() + std::chrono::microseconds(after);
      while (now() < until)
        ;
      s.arrive();
    }
  });
  // Around the moment, 0.5 ms into the silence, at which it arms the device and falls asleep.
  constexpr int frames = 300;
  int late = 0;
  for (int i = 0; i < frames; ++i) {
    after = 300 + static_cast<std::int64_t>(random.below(500));
    const auto start = now();
    go.release();
    while (s.runtime->wait_for(1s) == 0)
      ;
    // A lost wake-up costs 100 ms; a busy machine may be late at times.
    if (now() - start > 50ms) ++late;
  }
  ended = true;
  go.release();
  wire.join();
  CHECK(late < 5);
  CHECK(s.nic.interrupts_enabled() > frames / 4);
}

TEST_CASE("a frame that comes right before its interrupt is enabled is not slept on",
          "[interrupt]") {
  sleeper s(traits_with(interrupts::given));
  s.nic.on_enable([&s] { s.arrive(); });
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i)
    while (s.runtime->wait_for(1s) == 0)
      ;
  // Slept on, each costs 100 ms.
  CHECK(std::chrono::steady_clock::now() - start < 1s);
  s.nic.on_enable(nullptr);
}

TEST_CASE("an idle thread with rx interrupts sleeps on, until it is interrupted", "[interrupt]") {
  sleeper s(traits_with(interrupts::given));
  const unsigned before = s.nic.interrupts_enabled();
  auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() < start + 500ms) s.runtime->wait_for(500ms);
  // Bounded sleeps would be 600.
  CHECK(s.nic.interrupts_enabled() - before < 40);
  // Not heard, it costs the rest of 100 ms each time; on a busy machine it may be late by itself.
  auto best = std::chrono::steady_clock::duration(1s);
  for (int i = 0; i < 5; ++i) {
    start = std::chrono::steady_clock::now();
    std::thread other([&] {
      while (std::chrono::steady_clock::now() < start + 10ms)
        ;
      s.runtime->interrupt();
    });
    s.runtime->wait_for(10s);
    other.join();
    best = std::min(best, std::chrono::steady_clock::now() - start);
    s.runtime->clear_interrupt();
  }
  CHECK(best < 60ms);
}

#endif  // ND_FAKE_DEVICES
