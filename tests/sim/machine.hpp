// A host of a run: a whole stack that boots, crashes, stands still and runs out of memory.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "lcore/dcopy_lcore.hpp"
#include "lcore/frame_switch.hpp"
#include "lcore/host.hpp"
#include "sim/checks.hpp"
#include "sim/network.hpp"
#include "unit/support/app.hpp"
#include "unit/support/made_host.hpp"

namespace nd::sim {

class machine {
 public:
  /// `pools`: made by make_fallible_pool; null: those that all runs share.
  machine(std::size_t index, const scenario& s, network& net, trace& t,
          test::host_pools* pools = nullptr);
  ~machine();
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;

  bool up() const noexcept { return !lcores_.empty(); }
  std::size_t lcores() const noexcept { return lcores_.size(); }
  core::host& host(std::size_t lcore = 0) noexcept { return *lcores_[lcore].host; }
  unsigned boot() const noexcept { return boot_; }  ///< from 1 on
  instant booted_at() const noexcept { return booted_at_; }
  unsigned mbufs_in_use() const;
  /// Of all boots that have ended.
  const counter_sums& counted() const noexcept { return counted_; }

  // Of these, what holds mbufs or links of the host must be gone before it stops.

  void start(instant now);
  /// Checks what it has counted, and is gone.
  void stop();
  /// Is gone, after a run that has failed.
  void abandon() noexcept;
  /// Throws violation where a socket or memory is left.
  void nothing_is_left() const;
  /// Its applications are gone: waits for its bytes to arrive, then tells its peers.
  void leave(instant now);
  bool is_leaving() const noexcept { return !next_goodbye_.is_never(); }
  bool has_left() const noexcept { return goodbyes_ > most_goodbyes; }

  std::size_t port_number() const noexcept { return device_->number(); }
  instant next_turn() const;
  void turn(instant now);

  /// What its applications have lent.
  test::lending& lent() noexcept { return lent_; }
  /// Null: the host has no dcopy lcores.
  core::copy_service* copies() noexcept { return copies_.get(); }
  /// When the next of the dcopy lcores has its turn: each after a while of its own.
  instant next_copy() noexcept;
  /// Whether anything was copied.
  bool copy(instant now);
  /// What is being copied is copied now: the applications end.
  void finish_copies();

  void pause(instant until) noexcept { paused_until_ = std::max(paused_until_, until); }
  void hoard(unsigned pool, unsigned left, instant until);
  void fail_allocation(unsigned pool, std::uint64_t countdown);
  void fail_often(unsigned pool, std::uint64_t one_in, instant until);
  void fill_device(std::uint64_t one_in, instant until);
  /// All faults end.
  void calm();

  /// Bytes wait for their acknowledgement: throws violation where nothing will wake the host within
  /// that time.
  void expect_deadline(instant now, duration within) const;

 private:
  static constexpr unsigned most_goodbyes = 10;

  /// An io lcore of the host.
  struct io_lcore {
    std::unique_ptr<core::host> host;
    std::optional<host_checks> checks;
    instant last_turn;
  };

  rte_mempool* pool(unsigned number) const;
  std::vector<port*> plug(instant now);
  core::host_config configuration();
  instant next_turn_of(const io_lcore& l) const;
  void turn(io_lcore& l, instant now);
  bool drained() const noexcept;
  void start_copiers(const settings& values);
  void end_faults(instant now);
  void go_on_leaving(instant now);
  bool short_of_something(instant now) const;

  std::size_t index_;
  const scenario& scenario_;
  network& network_;
  trace& trace_;
  test::host_pools& pools_;
  unsigned in_use_before_;
  rng random_;

  test::made_wire::made_port* device_ = nullptr;
  std::unique_ptr<core::lcore_exchange> exchange_;  ///< with several io lcores
  core::host_address address_;
  std::vector<std::unique_ptr<core::switched_port>> ports_;  ///< likewise
  std::vector<io_lcore> lcores_;
  test::lending lent_;
  std::unique_ptr<core::copy_service> copies_;
  std::vector<instant> copy_at_;  ///< each dcopy lcore's turn, if it has work
  counter_sums counted_;
  unsigned boot_ = 0;
  instant booted_at_;
  instant last_turn_;  ///< of any io lcore
  instant paused_until_;
  instant short_until_;  ///< faults of pools and device end
  std::uint64_t device_full_one_in_ = 0;
  std::vector<test::hoard> hoards_;
  instant next_goodbye_ = instant::never();
  instant linger_until_;
  unsigned goodbyes_ = 0;
};

}  // namespace nd::sim
