#include "pmd_glue/rx_interrupts.hpp"

#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace nd::pmd {

std::unique_ptr<rx_interrupts> rx_interrupts::open(std::uint16_t device,
                                                   std::vector<std::uint16_t> queues,
                                                   std::mutex& calls) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return nullptr;
  std::unique_ptr<rx_interrupts> out(new rx_interrupts(device, std::move(queues), calls, epoll));
  // Asked first: a driver without interrupts refuses this silently.
  const int enabled = out->enable();
  if (enabled == 0) {
    out->disable();
    return out->add_queues() ? std::move(out) : nullptr;
  }
  // A driver that can enable them, but not now, may have descriptors that nothing ever writes to.
  return enabled == -ENOTSUP && out->add_descriptors() ? std::move(out) : nullptr;
}

rx_interrupts::~rx_interrupts() {
  for (const std::uint16_t q : std::span(queues_).first(added_))
    rte_eth_dev_rx_intr_ctl_q(device_, q, epoll_.get(), RTE_INTR_EVENT_DEL, nullptr);
}

bool rx_interrupts::add_queues() noexcept {
  for (; added_ < queues_.size(); ++added_)
    if (rte_eth_dev_rx_intr_ctl_q(device_, queues_[added_], epoll_.get(), RTE_INTR_EVENT_ADD,
                                  nullptr) != 0)
      return false;
  return true;
}

bool rx_interrupts::add_descriptors() noexcept {
  for (const std::uint16_t q : queues_) {
    epoll_event readable{.events = EPOLLIN, .data = {}};
    const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(device_, q);
    if (fd < 0 || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &readable) != 0) return false;
  }
  switched_ = false;
  return true;
}

bool rx_interrupts::add(int fd) noexcept {
  added_fd_.epdata.event = EPOLLIN;
  return rte_epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &added_fd_) == 0;
}

/// 0, or a negative errno.
int rx_interrupts::enable() noexcept {
  const std::lock_guard lock(calls_);
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const int result = rte_eth_dev_rx_intr_enable(device_, queues_[i]);
    if (result == 0) continue;
    while (i-- > 0) rte_eth_dev_rx_intr_disable(device_, queues_[i]);
    return result;
  }
  return 0;
}

void rx_interrupts::disable() noexcept {
  const std::lock_guard lock(calls_);
  for (const std::uint16_t q : queues_) rte_eth_dev_rx_intr_disable(device_, q);
}

rx_wake rx_interrupts::arm() noexcept {
  return !switched_ || enable() == 0 ? rx_wake{.told = true, .fd = epoll_.get()} : rx_wake{};
}

/// The EAL reads the event descriptors as each driver wants it: vfio's have a count to be read,
/// mlx5's have events that its rx_intr_disable takes.
void rx_interrupts::disarm() noexcept {
  if (!switched_) return;
  std::array<rte_epoll_event, 16> events;
  rte_epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  disable();
}

}  // namespace nd::pmd
