// Wakes the thread of a port when frames come: the rx interrupts of its queues.
#pragma once

#include <rte_epoll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/port.hpp"
#include "pmd_glue/descriptor.hpp"

namespace nd::pmd {

/// Most devices write to an event descriptor, once, when they have been enabled to. Others, as
/// net_tap, have descriptors that are readable while frames wait: there is nothing to enable.
class rx_interrupts {
 public:
  /// Of queues of a started device that was configured with `intr_conf.rxq`; null where it has
  /// none. `calls` is held for calls of the driver: several ports' threads may come at once.
  static std::unique_ptr<rx_interrupts> open(std::uint16_t device,
                                             std::vector<std::uint16_t> queues, std::mutex& calls);
  ~rx_interrupts();
  rx_interrupts(const rx_interrupts&) = delete;
  rx_interrupts& operator=(const rx_interrupts&) = delete;

  /// Before it is armed: a descriptor that is to wake the thread as well, when it is readable.
  bool add(int fd) noexcept;

  rx_wake arm() noexcept;
  void disarm() noexcept;

 private:
  rx_interrupts(std::uint16_t device, std::vector<std::uint16_t> queues, std::mutex& calls,
                int epoll) noexcept
      : calls_(calls), epoll_(epoll), device_(device), queues_(std::move(queues)) {}

  bool add_queues() noexcept;
  bool add_descriptors() noexcept;
  int enable() noexcept;
  void disable() noexcept;

  std::mutex& calls_;
  descriptor epoll_;
  rte_epoll_event added_fd_{};
  std::uint16_t device_;
  std::vector<std::uint16_t> queues_;
  std::size_t added_ = 0;  ///< so many queues' events are in `epoll_`
  bool switched_ = true;   ///< they come only while they are enabled
};

}  // namespace nd::pmd
