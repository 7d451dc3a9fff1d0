#include "sim/simulation.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "sim/strangers.hpp"

namespace nd::sim {
namespace {

constexpr duration liveness_bound = duration::seconds(30);
constexpr duration rest_bound = duration::seconds(30);
constexpr int tries_a_way = 5;
// An address that is asked for five times, 100 ms apart, needs an answer.
constexpr duration unanswered = duration::milliseconds(100);

}  // namespace

simulation::simulation(const scenario& s, trace& t)
    : scenario_(s),
      trace_(t),
      network_(s, t),
      workload_(s, machines_, t),
      random_(s.seed + 3),
      // Neither clock nor wheel starts at zero.
      now_(instant(1'234'567'891)),
      began_(now_),
      boot_at_(s.hosts, instant::never()),
      down_for_(s.hosts),
      cut_(s.hosts * s.hosts) {
  for (std::size_t i = 0; i < s.hosts; ++i) {
    machines_.push_back(std::make_unique<machine>(i, s, network_, t));
    boot(i);
  }
}

simulation::~simulation() {
  for (std::size_t i = 0; i < machines_.size(); ++i)
    if (machines_[i]->up()) {
      workload_.on_exit(i, side_state::crashed, now_);
      machines_[i]->abandon();
    }
}

run_result simulation::run() {
  run_result result;
  try {
    play();
  } catch (const violation& v) {
    result.failure = v.what();
    trace_.note(now_, "violation: {}", result.failure);
  }
  result.trace_hash = trace_.hash();
  result.frames = network_.wire.frames();
  result.turns = turns_;
  result.simulated = now_ - began_;
  for (const auto& m : machines_) result.counted.add(m->counted());
  return result;
}

void simulation::play() {
  run_until(began_ + scenario_.fault_span, [] { return false; });
  stop_faults();
  const instant end = now_ + liveness_bound;
  run_until(end, [this] { return workload_.unfinished() == 0; });
  if (workload_.unfinished() > 0) workload_.tell_unfinished(liveness_bound);
  try_all_ways();
  come_to_rest();
}

void simulation::run_until(instant end, const std::function<bool()>& done) {
  while (!done()) {
    const instant next = next_event();
    now_ = std::min(std::max(next, now_), end);
    if (next > end) return;
    serve(now_);
  }
}

instant simulation::next_event() const {
  instant next = instant::never();
  if (!calm_) {
    if (next_fault_ < scenario_.faults.size()) next = began_ + scenario_.faults[next_fault_].at;
    if (next_connection_ < scenario_.connections.size())
      next = earlier(next, began_ + scenario_.connections[next_connection_].at);
  }
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    next = earlier(next, machines_[i]->next_turn());
    next = earlier(next, machines_[i]->next_copy());
    next = earlier(next, workload_.next_run(i));
    next = earlier(next, boot_at_[i]);
  }
  return next;
}

/// Does what is due.
void simulation::serve(instant now) {
  if (!calm_) {
    while (next_fault_ < scenario_.faults.size() &&
           began_ + scenario_.faults[next_fault_].at <= now)
      apply(scenario_.faults[next_fault_++]);
    while (next_connection_ < scenario_.connections.size() &&
           began_ + scenario_.connections[next_connection_].at <= now)
      workload_.open(scenario_.connections[next_connection_++], now);
  }
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (boot_at_[i] <= now) boot(i);
    machine& m = *machines_[i];
    if (m.next_turn() <= now) {
      m.turn(now);
      ++turns_;
      if (!network_.complaint().empty()) throw violation(network_.complaint());
      workload_.on_turn(i, now);
      if (m.has_left()) {
        boot_at_[i] = now + down_for_[i];
        m.stop();
      }
    }
    if (m.next_copy() <= now && m.copy(now)) workload_.on_turn(i, now);
    if (workload_.next_run(i) <= now) workload_.run(i, now);
  }
}

void simulation::boot(std::size_t host) {
  boot_at_[host] = instant::never();
  machines_[host]->start(now_);
  workload_.on_boot(host);
}

void simulation::take_down(std::size_t host, side_state how) {
  workload_.disturb(host);
  workload_.on_exit(host, how, now_);
}

/// Under load silence is judged sooner.
duration simulation::shortest_patience() const {
  return scenario_.values.peer_timeout / 4;
}

void simulation::apply(const planned_fault& f) {
  machine& m = *machines_[f.host];
  trace_.note(now_, "fault: {} of {} {} for {} us, {} pool {}", name_of(f.kind), f.host, f.other,
              f.span.ns() / 1000, f.amount, f.pool);
  const instant until = earlier(now_ + f.span, began_ + scenario_.fault_span);
  switch (f.kind) {
    case fault_kind::cut: {
      duration& cut = cut_[std::min(f.host, f.other) * scenario_.hosts + std::max(f.host, f.other)];
      cut += f.span;
      if (cut >= unanswered) workload_.hinder(f.host, f.other);
      if (cut >= shortest_patience() / 2) workload_.disturb(f.host, f.other);
      return network_.cut(f.host, f.other, until);
    }
    case fault_kind::mtu:
      return network_.limit_mtu(f.host, f.other, static_cast<std::uint16_t>(f.amount), until);
    case fault_kind::replay: return network_.replay(f.host, f.amount, now_);
    case fault_kind::stranger: return bring_strangers(f.host, f.amount);
    default: break;
  }
  if (!m.up() || m.is_leaving()) return;
  switch (f.kind) {
    case fault_kind::crash:
      take_down(f.host, side_state::crashed);
      m.stop();
      boot_at_[f.host] = now_ + f.span;
      break;
    case fault_kind::leave:
      take_down(f.host, side_state::stopped);
      m.leave(now_);
      down_for_[f.host] = f.span;
      break;
    case fault_kind::pause:
      for (std::size_t other = 0; other < scenario_.hosts; ++other)
        if (other != f.host && f.span >= unanswered) workload_.hinder(f.host, other);
      if (f.span >= shortest_patience() / 2) workload_.disturb(f.host);
      m.pause(until);
      break;
    case fault_kind::hoard:
      workload_.disturb(f.host);
      m.hoard(f.pool, static_cast<unsigned>(f.amount), until);
      break;
    case fault_kind::fail_allocation: m.fail_allocation(f.pool, f.amount); break;
    case fault_kind::fail_often:
      if (f.amount < 20) workload_.disturb(f.host);
      m.fail_often(f.pool, f.amount, until);
      break;
    case fault_kind::device_full: m.fill_device(f.amount, until); break;
    default: break;
  }
}

void simulation::bring_strangers(std::size_t host, std::uint64_t count) {
  if (!machines_[host]->up()) return;
  for (std::uint64_t n = 0; n < count; ++n)
    network_.bring_stranger(host, stranger_frame(random_, scenario_, host), now_);
}

/// Hosts that are down, or about to be, come back.
void simulation::stop_faults() {
  trace_.note(now_, "the faults stop");
  calm_ = true;
  network_.calm();
  workload_.hurry();
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (machines_[i]->up()) machines_[i]->calm();
    if (!boot_at_[i].is_never()) boot_at_[i] = now_;
    down_for_[i] = {};
  }
}

// Whatever there was: in the end each host reaches each other one. The first tries may still meet
// what is left of channels that the other end no longer has.
void simulation::try_all_ways() {
  const instant end = now_ + liveness_bound;
  // Hosts that are still saying goodbye must be back.
  run_until(end, [this] {
    return std::ranges::all_of(machines_,
                               [](const auto& m) { return m->up() && !m->is_leaving(); });
  });
  connection_plan plan;
  for (side_plan& s : plan.sides) s.bytes = s.write_most = 3000;
  for (plan.client = 0; plan.client < scenario_.hosts; ++plan.client) {
    for (plan.server = 0; plan.server < scenario_.hosts; ++plan.server) {
      if (plan.server == plan.client) continue;
      for (int tries = 1;; ++tries) {
        workload_.open(plan, now_);
        run_until(end, [this] { return workload_.unfinished() == 0; });
        if (workload_.unfinished() > 0) workload_.tell_unfinished(liveness_bound);
        const auto& sides = workload_.last().sides;
        if (sides[0].state == side_state::done && sides[1].state == side_state::done) break;
        if (tries == tries_a_way)
          throw violation(fmt::format("{} connects from {} to {} failed after the faults", tries,
                                      plan.client, plan.server));
      }
    }
  }
}

// With all applications' sockets closed nothing is left to do, and nothing is held.
void simulation::come_to_rest() {
  const instant end = now_ + rest_bound;
  const duration quiet = scenario_.values.keepalive * 3;
  std::uint64_t frames = 0;
  do {
    if (now_ >= end) throw violation("the hosts do not come to rest");
    frames = network_.wire.frames();
    run_until(now_ + quiet, [] { return false; });
  } while (network_.wire.frames() != frames || next_event() < now_ + duration::seconds(1));
  for (const auto& m : machines_) m->nothing_is_left();
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    workload_.on_exit(i, side_state::crashed, now_);
    machines_[i]->stop();
  }
  for (const auto& m : machines_)
    if (m->mbufs_in_use() != 0) throw violation("mbufs are missing after the last host has gone");
}

run_result run_seed(std::string_view profile, std::uint64_t seed, std::FILE* trace_to) {
  const scenario s = draw_scenario(profile, seed);
  trace t(trace_to);
  return simulation(s, t).run();
}

}  // namespace nd::sim
