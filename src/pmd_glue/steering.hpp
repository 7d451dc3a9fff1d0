// Sharing a NIC with the kernel: isolated mode, and the flow rules that bring us what is ours.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "base/time.hpp"
#include "pmd_glue/arp_copies.hpp"

struct rte_flow;

namespace nd::pmd {

/// Whose the traffic of an interface is.
struct steering_needs {
  std::uint32_t ip = 0;  ///< of this host
  bool udp = false;      ///< encap udp
  std::uint8_t ip_protocol = 19;
  std::uint16_t udp_port = 0;
  bool kernel_has_ip = false;                  ///< then it answers ARP and ping
  std::vector<std::uint32_t> kernel_ips = {};  ///< of its interface; empty: it uses no IPv4 there
  bool arp_copied = false;                     ///< what the kernel gets of ARP, we get too
};

/// What frames a rule matches: Ethernet, and these fields where they are set.
struct flow_match {
  bool arp = false;  ///< else IPv4
  std::optional<std::uint32_t> destination = std::nullopt;
  std::optional<std::uint8_t> protocol = std::nullopt;
  std::optional<std::uint16_t> udp_port = std::nullopt;
  struct bits {
    std::uint16_t value = 0;
    std::uint16_t mask = 0;
    friend bool operator==(const bits&, const bits&) = default;
  };
  std::optional<bits> source_port = std::nullopt;  ///< with udp_port
  std::optional<std::uint8_t> tos = std::nullopt;  ///< the DSCP of it

  /// As testpmd writes it.
  std::string text() const;
  friend bool operator==(const flow_match&, const flow_match&) = default;
};

/// One kind of traffic that should reach us.
struct flow_wish {
  std::string what;
  std::vector<flow_match> matches;  ///< the best first; the first that the device takes is used
  std::string without;              ///< what it means if it takes none; empty: we can't go on
  bool spread = false;              ///< over several queues
  std::uint32_t priority = 0;       ///< of its rule: where several match, the lowest is used
};

/// The wishes in isolated mode. A warning in `warnings` for what can't be had.
std::vector<flow_wish> plan_rules(const steering_needs& needs, std::vector<std::string>& warnings);

/// The wish for what is for one of `lcores`, by source port: 49152 + the receiver's channel id
/// modulo 16384, and id - 1 modulo `lcores` is the lcore. nullopt: not to be told by bits of it.
/// The wishes of all lcores match together what `wish` matches.
std::optional<flow_wish> wish_of_lcore(const flow_wish& wish, std::size_t lcore,
                                       std::size_t lcores);

/// The part of a wish that has this DSCP.
flow_wish wish_of_class(const flow_wish& wish, std::uint8_t tos);

/// Where frames go: RSS over the queues, where there are several, and the device can.
struct flow_target {
  std::vector<std::uint16_t> queues;
  std::uint64_t rss_types = 0;
  std::vector<std::uint8_t> rss_key = {};  ///< empty: the driver's own
  bool by_lcore = false;                   ///< each queue is an io lcore's, in their order
};

/// Where ND's packets of the latency class go, if it has queues of its own.
struct class_target {
  std::vector<std::uint16_t> queues;  ///< none: where the others go
  std::uint8_t tos = 0;
};

/// The flow rules of one port. Destroyed with it, which must be before the port is closed.
class flow_rules {
 public:
  explicit flow_rules(std::uint16_t port_id) noexcept : port_id_(port_id) {}
  ~flow_rules() { clear(); }
  flow_rules(const flow_rules&) = delete;
  flow_rules& operator=(const flow_rules&) = delete;

  /// Creates the best rule that rte_flow_validate accepts for the wish; the port must be started.
  /// Returns its text ("eth / ipv4 proto is 19 / end actions queue index 0 / end"), or nothing; why
  /// is then in `refusal`.
  std::optional<std::string> grant(const flow_wish& wish, const flow_target& target,
                                   std::string& refusal);
  std::size_t size() const noexcept { return rules_.size(); }
  /// Destroys all but the first `kept`.
  void clear(std::size_t kept = 0) noexcept;

 private:
  std::uint16_t port_id_;
  std::vector<rte_flow*> rules_;
};

/// A NIC whose kernel interface is still there: mlx5 and its like.
bool shares_with_kernel(const rte_eth_dev_info& info);

/// Whether setting `isolate` asks for isolated mode.
bool wants_isolation(const settings& values, const rte_eth_dev_info& info);

/// Does what setting `isolate` says to one port.
class nic_sharing {
 public:
  /// Before the port is configured; `shared` as above. Throws std::system_error(errc::no_device)
  /// where `isolate` is `on` and the device refuses, or it is `auto` and the kernel would lose an
  /// interface it uses.
  nic_sharing(const settings& values, const rte_eth_dev_info& info, bool shared);

  bool isolated() const noexcept { return isolated_; }
  /// After rte_eth_dev_start. False where no rule brings us our packets, and isolated mode is to be
  /// left; or throws as above.
  bool install(const flow_target& target, const class_target& latency = {});
  /// After install(): whether rules bring the latency class to its own queues.
  bool separates_classes() const noexcept { return separates_classes_; }
  /// While the port is stopped. Throws as above.
  void leave_isolated_mode();
  /// Before rte_eth_dev_stop.
  void remove() noexcept { rules_.clear(); }

  /// Readable when receive_arp() has something; -1: it never has.
  int arp_fd() const noexcept { return arp_ ? arp_->fd() : -1; }
  /// ARP that the kernel keeps comes as copies; after each burst of the device.
  std::size_t receive_arp(instant now, std::span<rte_mbuf*> frames, rte_mempool* pool) noexcept {
    if (!arp_ || now < next_arp_) return 0;
    next_arp_ = now + arp_interval;
    return arp_->receive(frames, pool);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  void give_up(const std::string& why);
  bool grant(const flow_wish& wish, const flow_target& target);
  bool grant_by_lcore(const flow_wish& wish, const flow_target& target);
  bool grant_by_class(const flow_wish& wish, const flow_target& target,
                      const class_target& latency);

  // A look costs a system call, and ARP does not hurry.
  static constexpr duration arp_interval = duration::milliseconds(1);

  std::uint16_t port_id_;
  unsigned interface_;  ///< of the kernel; 0: none
  bool must_;
  bool isolated_ = false;
  bool separates_classes_ = false;
  std::string name_;
  steering_needs needs_;
  flow_rules rules_;
  std::optional<arp_copies> arp_;
  instant next_arp_{};
};

/// RSS types that spread our packets, of those that the device has; 0 where it can't.
std::uint64_t rss_types_of(const settings& values, const rte_eth_dev_info& info) noexcept;

/// Setting rss_key; empty where it is. Throws std::system_error(errc::bad_option).
std::vector<std::uint8_t> rss_key_of(const settings& values, const rte_eth_dev_info& info);

}  // namespace nd::pmd
