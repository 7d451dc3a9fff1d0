// A run: whole hosts on a made network and a made clock, from a scenario to a verdict.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "sim/workload.hpp"

namespace nd::sim {

struct run_result {
  std::string failure;  ///< empty: all held
  std::uint64_t trace_hash = 0;
  std::uint64_t frames = 0;
  std::uint64_t turns = 0;
  duration simulated;
  counter_sums counted;
  bool passed() const noexcept { return failure.empty(); }
};

class simulation {
 public:
  simulation(const scenario& s, trace& t);
  ~simulation();

  run_result run();

  // For tests that plant a fault.

  instant now() const noexcept { return now_; }
  network& net() noexcept { return network_; }
  machine& host(std::size_t i) noexcept { return *machines_[i]; }

 private:
  void play();
  void run_until(instant end, const std::function<bool()>& done);
  instant next_event() const;
  void serve(instant until);
  void boot(std::size_t host);
  duration shortest_patience() const;
  void apply(const planned_fault& f);
  void take_down(std::size_t host, side_state how);
  void bring_strangers(std::size_t host, std::uint64_t count);
  void stop_faults();
  void try_all_ways();
  void come_to_rest();

  const scenario& scenario_;
  trace& trace_;
  network network_;
  workload::machines machines_;
  workload workload_;
  rng random_;
  instant now_;
  instant began_;
  bool calm_ = false;  ///< the faults have stopped
  std::size_t next_fault_ = 0;
  std::size_t next_connection_ = 0;
  std::vector<instant> boot_at_;    ///< of hosts that are down
  std::vector<duration> down_for_;  ///< of hosts that are leaving
  std::vector<duration> cut_;       ///< time that each way was cut in all
  std::uint64_t turns_ = 0;
};

/// Draws the scenario and plays it.
run_result run_seed(std::string_view profile, std::uint64_t seed, std::FILE* trace_to = nullptr);

}  // namespace nd::sim
