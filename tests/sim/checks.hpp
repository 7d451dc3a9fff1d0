// What must hold of a host in every turn of its loop.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "base/time.hpp"
#include "lcore/host.hpp"

namespace nd::sim {

/// A rule was broken: the run has failed.
struct violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What all hosts of a run have counted.
class counter_sums {
 public:
  void add(const counters& c) {
    c.for_each([this](std::string_view name, auto, auto, std::uint64_t n) { sums_[name] += n; });
  }
  void add(const counter_sums& others) {
    for (const auto& [name, n] : others.sums_) sums_[name] += n;
  }
  const auto& by_name() const noexcept { return sums_; }

 private:
  std::map<std::string_view, std::uint64_t> sums_;
};

/// Whether the hosts around the one that is checked are our own.
enum class peers_that : std::uint8_t { keep_rules, lie };

/// Of one host in one boot.
class host_checks {
 public:
  host_checks(std::size_t index, const core::host& h, const settings& values, std::uint16_t mtu,
              std::size_t others, peers_that peers = peers_that::keep_rules)
      : index_(index), host_(h), values_(values), mtu_(mtu), others_(others), peers_(peers) {}

  void before_turn();
  /// What has been sent was allowed. Throws violation.
  void after_push() const;
  /// `short_of` says that mbufs or descriptors may have been missing: then a host may try again at
  /// once, as often as it likes. Throws violation.
  void after_turn(instant host_now, std::size_t served, bool short_of);
  /// All that was received is accounted for by what it was, or why it was dropped: each turn.
  void counters_add_up() const;

 private:
  void windows_hold() const;
  void memory_is_bounded() const;
  void peers_keep_the_rules() const;
  void does_not_spin(instant host_now, std::size_t served, bool short_of);

  std::size_t index_;
  const core::host& host_;
  const settings& values_;
  std::uint16_t mtu_;
  std::size_t others_;  ///< hosts that there are beside this one
  peers_that peers_;
  std::vector<std::uint64_t> in_flight_;  ///< by channel id, before the turn
  std::uint64_t sent_before_ = 0;
  unsigned idle_turns_ = 0;  ///< in a row, after which the host asked for another at once
};

}  // namespace nd::sim
