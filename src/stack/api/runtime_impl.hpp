// What stands behind nd::runtime: the EAL, pools, ports and io lcores of one host.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/dcopy_lcores.hpp"
#include "api/io_lcore.hpp"
#include "api/lcore_plan.hpp"
#include "api/registered_memory.hpp"
#include "base/settings.hpp"
#include "lcore/app_stream.hpp"
#include "lcore/frame_switch.hpp"
#include "lcore/host.hpp"
#include "nd/runtime.hpp"
#include "pmd_glue/clock.hpp"
#include "pmd_glue/eal.hpp"
#include "pmd_glue/ethdev_port.hpp"
#include "pmd_glue/idle.hpp"
#include "pmd_glue/mempool.hpp"
#include "pmd_glue/ring_end.hpp"
#include "pmd_glue/shared_interface.hpp"

namespace nd::api {

class runtime_impl {
 public:
  /// With `eal_of_app`, the application has initialised the EAL and keeps it.
  runtime_impl(const config& cfg, std::vector<std::string> args, bool eal_of_app);
  ~runtime_impl();
  runtime_impl(const runtime_impl&) = delete;
  runtime_impl& operator=(const runtime_impl&) = delete;

  bool inline_mode() const noexcept { return plan_.io.empty(); }
  /// One turn in inline mode; elsewhere a pause.
  std::size_t poll();
  /// As nd::runtime::wait_for().
  std::size_t wait_for(duration most);
  instant now() const noexcept { return clock_->now(); }

  void interrupt() noexcept {
    interrupted_.store(true, std::memory_order_relaxed);
    turns_.wake_all();
    if (inline_mode()) lcores_[0]->wake();
  }
  bool interrupted() const noexcept { return interrupted_.load(std::memory_order_relaxed); }
  void clear_interrupt() noexcept { interrupted_.store(false, std::memory_order_relaxed); }

  /// Hands a request to the io lcore that serves it.
  void post(core::app_end& end, std::uint32_t requests) {
    io_lcore& l = *lcores_[end.lcore];
    core::post(l.host().mailbox(), end, requests, [this] { poll(); });
    if (!inline_mode()) l.wake();
  }
  unsigned lcores() const noexcept { return static_cast<unsigned>(lcores_.size()); }
  /// Where the next connection of this host goes: each io lcore in turn.
  std::uint8_t next_lcore() noexcept {
    return static_cast<std::uint8_t>(next_lcore_.fetch_add(1, std::memory_order_relaxed) %
                                     lcores());
  }

  /// Charges a copy of the application's to its stage, where the stack runs on its thread.
  stage_meter::scope metered_copy() noexcept {
    return {inline_mode() ? host().meter() : no_meter_, stage::copy};
  }

  /// Polls, or pauses, until `done()`; otherwise the reason why not: would_block with
  /// `non_blocking`, interrupted, or timed_out after `limit` (zero: none).
  template <class Done>
  std::error_code wait(bool non_blocking, std::chrono::nanoseconds limit, Done&& done) {
    if (done()) return {};
    const instant deadline =
        limit.count() > 0 ? now().after(duration(limit.count())) : instant::never();
    for (;;) {
      const std::uint32_t turns = turns_.value();
      const std::size_t served = poll();
      if (done()) return {};
      if (non_blocking) return errc::would_block;
      if (interrupted()) return errc::interrupted;
      if (!deadline.is_never() && now() >= deadline) return errc::timed_out;
      if (served == 0) rest(turns, deadline);
    }
  }

  /// How much of `bytes` a call on a throughput socket may copy: the thread that copies looks after
  /// latency traffic too.
  std::size_t at_a_time(std::size_t bytes) noexcept {
    const auto slice = static_cast<std::size_t>(values_.bulk_slice);
    if (bytes <= slice || !inline_mode() || dcopy_ || !host().serves_latency(lcores_[0]->turned()))
      return bytes;
    cut_short_ = true;
    return slice;
  }

  /// Polls, or pauses, until dcopy lcores have done their part of a call. They may have to wait for
  /// this thread's core.
  template <class Copied>
  void finish_copies(Copied&& copied) {
    for (unsigned turns = 1; !copied(); ++turns) {
      poll();
      if (turns % 1024 == 0) std::this_thread::yield();
    }
  }

  struct mbufs_in_use {
    unsigned rx = 0;
    unsigned tx = 0;
    unsigned packets = 0;
  };
  mbufs_in_use count_mbufs() const noexcept {
    return {rte_mempool_in_use_count(rx_pool_.get()), rte_mempool_in_use_count(tx_pool_.get()),
            rte_mempool_in_use_count(packet_pool_.get())};
  }

  const config& configuration() const noexcept { return config_; }
  const settings& values() const noexcept { return values_; }
  const std::vector<std::string>& args() const noexcept { return args_; }
  core::app_environment app_environment() noexcept {
    return {.pool = host().tx_pool(),
            .digests = host().digests(),
            .same_thread = inline_mode(),
            .copies = dcopy_ ? &dcopy_->service() : nullptr,
            .can_lend = host().can_lend(),
            .late_digests = host().late_digests(),
            .most_unsent = host().most_unsent()};
  }
  std::uint16_t port_id() const noexcept { return static_cast<std::uint16_t>(values_.port); }
  /// Looks after memory whose handle may outlive the runtime. Throws errc::no_buffer_space.
  void keep(const std::shared_ptr<memory_region>& region);
  /// Of mbufs that refer to lent bytes; there is one once memory is registered.
  rte_mempool* lent_pool() const noexcept { return lent_pool_.get(); }
  /// Bytes that were to be lent, but that this device must have copied.
  std::atomic<std::uint64_t> lent_by_copy{0};

  /// Of the first io lcore.
  core::host& host() noexcept { return lcores_[0]->host(); }
  const core::host& host() const noexcept { return lcores_[0]->host(); }
  /// Calls `f(const core::host&)` for that of each.
  template <class F>
  void for_each_host(F&& f) const {
    for (const auto& l : lcores_) f(std::as_const(*l).host());
  }
  /// Null: there are none.
  const core::copy_service* copies() const noexcept {
    return dcopy_ ? &dcopy_->service() : nullptr;
  }
  nd::address address() const noexcept { return nd::address(address_.ip); }

 private:
  /// What the thread of an io lcore is given.
  struct loop {
    runtime_impl* of;
    io_lcore* lcore;
  };

  void make_lcores(unsigned count, const core::host_config& config, pmd::shared_interface first);
  static int run_loop(void* given);
  std::size_t wait_for_lcore(instant deadline);
  void rest(std::uint32_t turns, instant deadline) noexcept;
  /// Inline: the same after a turn that has found nothing.
  void rest_inline(instant deadline) noexcept;
  void stop_loops() noexcept;
  void finish(io_lcore& l);

  std::unique_ptr<pmd::eal> eal_;  ///< goes last
  config config_;
  settings values_;
  lcore_plan plan_;
  std::vector<std::string> args_;
  std::optional<pmd::tsc_clock> clock_;  ///< runs from the EAL's start on
  core::host_address address_;
  std::unique_ptr<pmd::ring_end> ring_;
  pmd::mempool_ptr rx_pool_;
  pmd::mempool_ptr tx_pool_;
  pmd::mempool_ptr packet_pool_;
  pmd::mempool_ptr lent_pool_;
  std::mutex regions_mutex_;
  std::vector<std::weak_ptr<memory_region>> regions_;
  std::vector<std::unique_ptr<port>> ports_;        ///< one for each io lcore, or one for all
  std::optional<pmd::rss_facts> rss_;               ///< of several ports
  std::unique_ptr<core::lcore_exchange> exchange_;  ///< of several io lcores
  std::vector<std::unique_ptr<core::switched_port>> shared_;  ///< those ports, as each sees them
  std::vector<std::unique_ptr<io_lcore>> lcores_;             ///< one in inline mode
  std::vector<loop> loops_;
  std::atomic<unsigned> next_lcore_{0};
  std::unique_ptr<dcopy_lcores> dcopy_;
  pmd::idle_mode idle_mode_ = pmd::idle_mode::spin;
  bool cut_short_ = false;  ///< a call could have moved more: don't wait
  pmd::turn_signal turns_;  ///< in lcore mode
  stage_meter no_meter_{nullptr};
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> stopping_{false};  ///< lcore mode: the loops finish and return
  unsigned running_ = 0;               ///< loops; constant once they are to stop
  std::atomic<unsigned> drained_{0};   ///< io lcores with nothing left to send
  std::atomic<unsigned> finished_{0};  ///< and those that have told their peers
};

}  // namespace nd::api
