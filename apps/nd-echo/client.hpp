// The client's run: connect, warm up, measure, say goodbye.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <random>
#include <string>

#include "common/signal.hpp"
#include "nd-echo/lanes.hpp"
#include "nd-echo/summary.hpp"

namespace nd::apps::echo {

/// All lanes of a client, driven by one thread.
template <network Net, class Lane>
class client {
 public:
  using clock = std::chrono::steady_clock;

  client(Net& net, const options& o, const output& out, std::string tool)
      : net_(net), options_(o), out_(out), bench_(std::move(tool)) {
    std::random_device entropy;
    const std::uint64_t seed = std::uint64_t{entropy()} << 32;
    const auto deadline = bench_.clock.refresh() + o.wait;
    // Seeds of lanes are far apart: crr counts up from its own.
    const auto add = [&](const options& lane) {
      lanes_.emplace_back(net, lane, seed + (lanes_.size() << 48) + 1, deadline);
    };
    options all = o;
    if (o.mode == mode::mixed) {
      bench_.streams_only = true;
      all.mode = mode::rr;
      add(all);
      all.mode = mode::stream;
      all.size = o.block;
    }
    for (std::uint64_t i = 0; i < o.connections; ++i) add(all);
  }

  /// Fills all but what only the caller knows (tool, encap, counters).
  summary run() {
    while (!stop_requested() && !std::ranges::all_of(lanes_, &Lane::ready)) turn();
    if (!stop_requested() && bench_.errors == 0) measure();
    say_goodbye();

    summary s;
    s.mode = to_string(options_.mode);
    s.size = options_.size;
    s.connections = options_.connections;
    s.depth = options_.depth;
    s.duration_s = seconds(measured_);
    total_.merge(bench_.current);
    s.total = std::move(total_);
    if (options_.mode == mode::stream) s.total.messages = s.total.bytes / options_.size;
    s.errors = bench_.errors;
    s.verify_failures = bench_.verify_failures;
    s.verified = options_.verify;
    return s;
  }

 private:
  // The loop: move packets, then let each lane do what it can; one that ping-pongs beside streams
  // after each of these. True while a lane lives.
  bool turn() {
    net_.poll(idle_);
    bench_.clock.turn();
    idle_ = true;
    bool alive = false;
    for (Lane& lane : lanes_) {
      if (lane.step(bench_)) idle_ = false;
      alive = alive || !lane.ended();
      if (bench_.streams_only && &lane != &lanes_.front() && lanes_.front().step(bench_))
        idle_ = false;
    }
    return alive;
  }

  bool turn_until(clock::time_point end) {
    while (bench_.clock.now() < end) {
      if (!turn() || stop_requested()) return false;
    }
    return true;
  }

  void measure() {
    for (Lane& lane : lanes_) lane.start(bench_);
    if (!turn_until(bench_.clock.refresh() + options_.warmup)) return;
    const clock::time_point begin = bench_.clock.refresh();
    const clock::time_point end = begin + options_.duration;
    bench_.measuring = true;
    if (options_.interval.count() == 0) {
      turn_until(end);
    } else {
      clock::time_point from = begin;
      while (from < end && turn_until(std::min(from + options_.interval, end))) {
        print_interval(begin, from, bench_.clock.now());
        from = bench_.clock.now();
      }
    }
    bench_.measuring = false;
    measured_ = bench_.clock.now() - begin;
  }

  void print_interval(clock::time_point begin, clock::time_point from, clock::time_point to) {
    const sums& now = bench_.current;
    const double elapsed = seconds(to - from);
    std::string text = fmt::format("{:8.2f} s  {:9.3f} Gbit/s", seconds(to - begin),
                                   static_cast<double>(now.bytes) * 8e-9 / elapsed);
    if (options_.has_latency()) {
      text += fmt::format("  {:>12}  round trip p50 {:.2f} us, p99 {:.2f} us",
                          with_prefix(static_cast<double>(now.messages) / elapsed, "msg/s"),
                          static_cast<double>(now.latency.percentile(50)) / 1000,
                          static_cast<double>(now.latency.percentile(99)) / 1000);
    }
    out_.line(text);
    total_.merge(now);
    bench_.current.clear();
  }

  void say_goodbye() {
    for (Lane& lane : lanes_) lane.stop(bench_);
    const clock::time_point limit = bench_.clock.refresh() + std::chrono::seconds(10);
    while (bench_.clock.now() < limit && turn()) {
    }
    for (Lane& lane : lanes_) {
      if (!lane.ended()) lane.give_up(bench_, "the server did not finish within 10 s");
    }
  }

  Net& net_;
  const options& options_;
  const output& out_;
  bench bench_;
  std::deque<Lane> lanes_;
  sums total_;
  bool idle_ = false;
  std::chrono::nanoseconds measured_{0};
};

template <network Net>
summary run_client(Net& net, const options& o, const output& out, const std::string& tool) {
  switch (o.mode) {
    case mode::stream: return client<Net, stream_lane<Net>>(net, o, out, tool).run();
    case mode::crr: return client<Net, crr_lane<Net>>(net, o, out, tool).run();
    case mode::mixed: return client<Net, mixed_lane<Net>>(net, o, out, tool).run();
    case mode::rr:
    case mode::pipeline: break;
  }
  return client<Net, message_lane<Net>>(net, o, out, tool).run();
}

}  // namespace nd::apps::echo
