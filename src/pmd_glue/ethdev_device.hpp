// An ethdev, configured by what it says it can do: started, stopped and closed once, however many
// ports poll its queues.
#pragma once

#include <rte_ethdev.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/port.hpp"
#include "base/settings.hpp"
#include "pmd_glue/class_queues.hpp"
#include "pmd_glue/rss_steering.hpp"
#include "pmd_glue/rx_interrupts.hpp"
#include "pmd_glue/steering.hpp"

namespace nd::pmd {

/// What the device says of itself. Throws std::system_error(errc::no_device).
rte_eth_dev_info device_info(std::uint16_t id);
/// "ethdev port ID: WHAT: ERROR", of a negative errno.
std::string device_error(std::uint16_t id, const std::string& what, int error);

class ethdev_device {
 public:
  /// For one port, which polls all receive queues, or for several with a pair of queues each. What
  /// it cannot have of `urgent` is left out. Throws std::system_error(errc::no_device,
  /// errc::bad_option).
  ethdev_device(const settings& values, const rte_eth_dev_info& info, std::uint16_t mtu,
                rte_mempool* rx_pool, unsigned ports, class_queues urgent = {})
      : ethdev_device(values, info, mtu, rx_pool, ports, urgent, shares_with_kernel(info)) {}
  /// `shared`: the kernel has the NIC too.
  ethdev_device(const settings& values, const rte_eth_dev_info& info, std::uint16_t mtu,
                rte_mempool* rx_pool, unsigned ports, class_queues urgent, bool shared);
  ~ethdev_device();
  ethdev_device(const ethdev_device&) = delete;
  ethdev_device& operator=(const ethdev_device&) = delete;

  /// So many queues of each kind, in place of those that the constructor set up, while the device
  /// is stopped: for a port that knows them by itself.
  void set_up_pairs(unsigned pairs);
  void start();

  std::uint16_t id() const noexcept { return id_; }
  rte_mempool* rx_pool() const noexcept { return rx_pool_; }
  std::uint16_t ports() const noexcept { return ports_; }
  /// After start(): whether the latency class has queues of its own, one for each port, behind the
  /// others.
  bool sends_urgent() const noexcept { return urgent_.tx; }
  bool receives_urgent() const noexcept {
    return urgent_.rx && (urgent_.tos == 0 || sharing_.separates_classes());
  }
  /// For receiving, without the latency class's.
  std::uint16_t queue_count() const noexcept {
    return static_cast<std::uint16_t>(target_.queues.size());
  }
  const port_capabilities& capabilities() const noexcept { return capabilities_; }
  /// Any thread.
  bool link_up() const noexcept;
  /// After start(): how frames come to the queues. nullopt: not known, as where flow rules do it.
  std::optional<rss_facts> rss() const { return sharing_.isolated() ? std::nullopt : ask_rss(id_); }
  /// One thread.
  std::size_t receive_arp(instant now, std::span<rte_mbuf*> frames) noexcept {
    return sharing_.receive_arp(now, frames, rx_pool_);
  }

  /// After start(): those of a port's queues; null where the device has none, or nobody sleeps.
  rx_interrupts* interrupts(std::size_t port) const noexcept {
    return port < interrupts_.size() ? interrupts_[port].get() : nullptr;
  }

 private:
  void set_up_queues();
  void set_up_queues(std::uint16_t receiving, std::uint16_t sending);
  void set_up_what_it_takes();
  void start_what_it_takes();
  bool forgo_one();
  class_target latency_target() const;
  std::vector<std::uint16_t> queues_of(std::uint16_t port) const;
  void open_interrupts();
  void tell_no_interrupts() const;

  std::uint16_t id_;
  rte_mempool* rx_pool_;
  std::uint16_t ports_;
  nic_sharing sharing_;
  flow_target target_;
  rte_eth_conf configuration_{};
  std::uint16_t rx_descriptors_ = 0;
  std::uint16_t tx_descriptors_ = 0;
  class_queues urgent_;
  port_capabilities capabilities_;
  std::mutex interrupt_calls_;
  std::vector<std::unique_ptr<rx_interrupts>> interrupts_;  ///< of each port
  mutable std::mutex asking_;                               ///< the driver for its link
  mutable std::atomic<bool> link_up_{false};
};

}  // namespace nd::pmd
