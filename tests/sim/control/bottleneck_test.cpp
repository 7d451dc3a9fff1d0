// Bulk senders at one bottleneck: fairness, utilisation, queues, and what random loss leaves.
// Prints what it measures (docs/reliability.md).
#include <fmt/core.h>

#include <array>
#include <catch2/catch.hpp>

#include "sim/control/bottleneck.hpp"

namespace nd::sim {
namespace {

constexpr std::array<const char*, 3> modes{"dctcp", "cubic", "rate"};

bottleneck_result run_and_print(const std::string& what, const bottleneck_plan& p) {
  const bottleneck_result r = run_bottleneck(p);
  const double kib = 1.0 / 1024;
  fmt::print(
      "{:<5}  {:<34}  utilisation {:5.1f} %  Jain {:.4f}  queue, KiB: {:3.0f} mean, {:3.0f} "
      "p99, {:3.0f} most  lost {:5.2f} %\n",
      p.congestion, what, r.utilisation * 100, jains_index(r.by_socket),
      static_cast<double>(r.queue_mean) * kib, static_cast<double>(r.queue_p99) * kib,
      static_cast<double>(r.queue_most) * kib, r.lost * 100);
  std::fflush(stdout);
  return r;
}

bottleneck_plan plan_of(const char* mode) {
  bottleneck_plan p;
  p.congestion = mode;
  return p;
}

void shares_are_even(const std::string& what, const bottleneck_plan& p) {
  const bottleneck_result r = run_and_print(what, p);
  CHECK(r.by_socket.size() == p.channels.size() * p.sockets);
  CHECK(jains_index(r.by_socket) >= 0.98);
  CHECK(r.utilisation >= 0.9);
  if (p.congestion == "dctcp") CHECK(r.queue_p99 <= 2 * p.mark_bytes);
}

}  // namespace

TEST_CASE("64 hosts share a bottleneck evenly, and leave nothing of it", "[control]") {
  for (const char* mode : modes) {
    CAPTURE(mode);
    bottleneck_plan p = plan_of(mode);
    p.channels.assign(64, 1);
    shares_are_even("64 hosts, 50 us", p);
  }
}

// The path holds eight packets of each: windows are not all at their minimum.
TEST_CASE("64 hosts share a longer bottleneck evenly", "[control][long]") {
  for (const char* mode : modes) {
    CAPTURE(mode);
    bottleneck_plan p = plan_of(mode);
    p.channels.assign(64, 1);
    p.round_trip = duration::microseconds(500);
    p.warm_up = duration::milliseconds(60);
    p.measured = duration::milliseconds(60);
    shares_are_even("64 hosts, 500 us", p);
  }
}

TEST_CASE("64 connections of one host share its channels evenly", "[control]") {
  for (const char* mode : modes) {
    CAPTURE(mode);
    bottleneck_plan p = plan_of(mode);
    p.channels = {4};
    p.sockets = 64;
    shares_are_even("64 connections, 4 channels", p);
  }
}

TEST_CASE("DCTCP's queue stays within twice the marking threshold", "[control]") {
  for (const std::size_t senders : std::array<std::size_t, 3>{1, 2, 8}) {
    CAPTURE(senders);
    bottleneck_plan p = plan_of("dctcp");
    p.channels.assign(senders, 1);
    const auto r = run_and_print(fmt::format("{} hosts, 50 us", senders), p);
    CHECK(r.queue_most <= 2 * p.mark_bytes);
    CHECK(r.queue_mean >= p.mark_bytes / 2);  // there is one
    CHECK(r.utilisation >= 0.9);
  }
}

TEST_CASE("a host gets its share beside one with 8 channels", "[control]") {
  for (const char* mode : modes) {
    CAPTURE(mode);
    bottleneck_plan p = plan_of(mode);
    p.channels = {8, 1};
    p.sockets = 8;
    p.measured = duration::milliseconds(100);
    const auto r = run_and_print("8 channels and 1", p);
    const double share = r.by_sender[1] / r.total;
    fmt::print("{:<5}  {:<34}  {:.1f} %\n", mode, "  share of the host with one", share * 100);
    CHECK(share >= 0.4);  // half is fair
    CHECK(share <= 0.7);
    CHECK(r.utilisation >= 0.9);
  }
}

TEST_CASE("goodput is retained under random loss", "[control]") {
  struct retained {
    double loss, least_default, least_rate;
  };
  constexpr std::array<retained, 3> targets{
      {{0.01, 0.5, 0.75}, {0.05, 0.25, 0.4}, {0.1, 0.1, 0.3}}};
  for (const std::uint16_t mtu : std::array<std::uint16_t, 2>{1500, 9000}) {
    for (const char* mode : modes) {
      bottleneck_plan p = plan_of(mode);
      p.mtu = mtu;
      p.measured = duration::milliseconds(50);
      const double lossless = run_and_print(fmt::format("MTU {}, no loss", mtu), p).total;
      for (const retained& t : targets) {
        CAPTURE(mode, mtu, t.loss);
        p.loss = t.loss;
        const auto r = run_and_print(fmt::format("MTU {}, loss {:.0f} %", mtu, t.loss * 100), p);
        const double left = r.total / lossless;
        fmt::print("{:<5}  {:<34}  {:.1f} %\n", mode, "  retained", left * 100);
        CHECK(r.lost >= t.loss / 2);
        if (p.congestion == "dctcp") CHECK(left >= t.least_default);
        if (p.congestion == "rate") CHECK(left >= t.least_rate);
      }
    }
  }
}

TEST_CASE("Jain's index", "[control]") {
  CHECK(jains_index({3, 3, 3}) == Approx(1));
  CHECK(jains_index({1, 0, 0, 0}) == Approx(0.25));
  CHECK(jains_index({1, 2}) == Approx(0.9));
}

}  // namespace nd::sim
