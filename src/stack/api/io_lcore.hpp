// One io lcore of a runtime: a host, and the loop that polls it. In inline mode the application's
// thread is that loop.
#pragma once

#include <memory>
#include <string>

#include "base/kernel_link.hpp"
#include "lcore/host.hpp"
#include "pmd_glue/clock.hpp"
#include "pmd_glue/idle.hpp"

namespace nd::api {

class io_lcore {
 public:
  /// `config.kernel` is set here.
  io_lcore(core::host_config config, std::unique_ptr<kernel_link> kernel, port& device,
           const pmd::tsc_clock& clock);

  core::host& host() noexcept { return host_; }
  const core::host& host() const noexcept { return host_; }

  /// One turn of the loop, and what a person should hear of it. Returns how much it served.
  std::size_t turn();
  /// When the last turn began.
  instant turned() const noexcept { return turned_; }
  /// Passes the time after a turn that found nothing to do; `until()` is asked right before a
  /// sleep.
  template <class Until>
  void rest(Until&& until) noexcept {
    if (idle_.would_sleep(turned_) && !armed_) {
      wake_ = device_.arm_rx_wake();
      armed_ = wake_.told;
      if (armed_) return;  // the next turn looks for what came before
    }
    idle_.rest(
        turned_, [&] { return earlier(until(), host_.next_deadline()); }, wake_);
    disarm();
  }
  /// Any thread, after it has given the host something.
  void wake() noexcept { idle_.wake(); }

 private:
  void disarm() noexcept {
    if (armed_) device_.disarm_rx_wake();
    armed_ = false;
    wake_ = {};
  }

  const pmd::tsc_clock& clock_;
  std::unique_ptr<kernel_link> kernel_;
  core::host host_;
  std::string own_address_;  ///< as the setting has it, for messages
  port& device_;
  rx_wake wake_;
  bool armed_ = false;  ///< the device, to tell of what comes
  pmd::polling_idle idle_;
  instant turned_;
};

}  // namespace nd::api
