// A NIC for tests: an ethdev driver, registered as a vdev, with queues, RSS, flow rules and
// isolated mode. It checks what it is asked for as a strict driver would, and steers injected
// frames by it.
#pragma once

#include <rte_ethdev.h>
#include <rte_flow.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nd::test {

/// What the device is like. Set before the port is configured.
struct fake_nic_traits {
  std::uint16_t max_rx_queues = 8;
  std::uint16_t max_tx_queues = 8;
  std::uint16_t max_mtu = 9000;
  std::uint64_t rx_offloads = RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
  std::uint64_t tx_offloads = RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
  std::uint64_t rss_types = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_UDP;
  std::uint8_t rss_key_size = 40;
  std::uint16_t reta_size = 128;
  /// What fills the table, modulo the number of queues; none: 0, 1, 2, ...
  std::function<unsigned(unsigned)> reta_entry = nullptr;
  rte_eth_desc_lim rx_descriptors{4096, 64, 8, 0, 0};
  unsigned interface = 0;      ///< the kernel's, as mlx5 has one
  bool has_flow_rules = true;  ///< false: no rte_flow at all
  bool can_isolate = true;
  std::uint32_t flow_priorities = 2;
  bool queues_in_pairs = false;  ///< as many for receiving as for sending, or none
  bool virtual_wire = false;     ///< as virtio between guests: leaves checksums open, and says so
  /// A driver's own taste, asked after the general checks: a reason to refuse, or nullptr.
  std::function<const char*(const std::string& rule)> dislikes = nullptr;
  /// Frames that the driver does not send with an offload.
  std::function<bool(const rte_mbuf&)> refuses = nullptr;
  /// At which call it refuses to give rx interrupts, if it does. `readable`: it has none to enable,
  /// but descriptors that are readable while frames wait, as net_tap has.
  enum class interrupts { given, readable, refused_at_configure, refused_at_start, none };
  interrupts rx_interrupts = interrupts::none;
  std::uint16_t tx_room = 64;  ///< frames of a burst that it takes
};

class fake_nic {
 public:
  explicit fake_nic(fake_nic_traits traits = {});
  ~fake_nic();
  fake_nic(const fake_nic&) = delete;
  fake_nic& operator=(const fake_nic&) = delete;

  std::uint16_t port_id() const noexcept { return port_id_; }
  std::array<std::uint8_t, 6> mac() const noexcept { return mac_; }

  /// Where a frame from the wire went.
  struct fate {
    enum { queue, kernel, dropped } to = dropped;
    std::uint16_t index = 0;  ///< of the queue
    friend bool operator==(const fate&, const fate&) = default;
  };
  /// `damaged`: the device finds the checksums wrong, whatever they are.
  fate inject(std::span<const std::byte> frame, bool damaged = false);

  /// Frames that are sent go to that NIC's inject(); nullptr: they are kept for sent().
  void connect(fake_nic* other) noexcept { other_ = other; }
  std::vector<std::vector<std::byte>> sent() { return std::exchange(sent_, {}); }

  void set_link(bool up) noexcept { link_up_ = up; }

  bool isolated() const noexcept { return isolated_; }
  bool started() const noexcept { return started_; }
  /// The rules that stand, as testpmd would write them.
  std::vector<std::string> rules() const;
  /// All that asked for rules and were refused, with the reason.
  const std::vector<std::string>& refused() const noexcept { return refused_; }
  /// What a driver may not be asked for, and was: empty in a good test.
  const std::vector<std::string>& violations() const noexcept { return violations_; }
  /// Rules that were left when the port was stopped.
  std::size_t rules_at_stop() const noexcept { return rules_at_stop_; }
  unsigned starts() const noexcept { return starts_; }
  std::uint64_t frames_to_kernel() const noexcept { return frames_to_kernel_; }

  /// As configured.
  std::uint64_t rx_offloads() const noexcept { return conf_.rxmode.offloads; }
  std::uint64_t tx_offloads() const noexcept { return conf_.txmode.offloads; }
  std::uint64_t rss_types() const noexcept { return conf_.rx_adv_conf.rss_conf.rss_hf; }
  std::uint16_t rx_descriptors(std::uint16_t queue) const { return queues_.at(queue).descriptors; }
  std::uint16_t queue_count() const noexcept { return static_cast<std::uint16_t>(queues_.size()); }

  /// Frames that came to a queue, and that were sent on one.
  std::uint64_t received_on(std::uint16_t queue) const { return queues_.at(queue).received; }
  std::uint64_t sent_on(std::uint16_t queue) const { return senders_.at(queue).sent; }
  std::uint16_t send_queue_count() const noexcept {
    return static_cast<std::uint16_t>(senders_.size());
  }

  /// Of rx interrupts: whether the device was configured for them, how often they were enabled,
  /// and for how many queues they are enabled now.
  bool has_interrupts() const noexcept { return conf_.intr_conf.rxq != 0; }
  unsigned interrupts_enabled() const noexcept { return interrupts_enabled_; }
  unsigned interrupts_armed();
  /// Right before an interrupt is enabled.
  void on_enable(std::function<void()> action) { on_enable_ = std::move(action); }

  /// How often the driver was asked to look at frames before they are sent.
  std::uint64_t prepares() const noexcept { return prepares_; }
  /// Frames whose checksum this device filled in.
  std::uint64_t checksums_filled() const noexcept { return checksums_filled_; }

 private:
  struct driver;  // the functions that ethdev calls; in the .cpp, with the driver's headers
  friend struct driver;

  struct receive_queue {
    rte_mempool* pool = nullptr;
    std::uint16_t descriptors = 0;
    std::deque<rte_mbuf*> frames;
    std::uint64_t received = 0;
    bool armed = false;  ///< the next frame writes to the queue's event descriptor
    fake_nic* nic = nullptr;
  };
  struct send_queue {
    fake_nic* nic = nullptr;
    std::uint64_t sent = 0;
  };
  /// Bytes that a frame must have, from `offset` on.
  struct byte_match {
    std::size_t offset;
    std::uint8_t value;
    std::uint8_t mask;
  };
  struct rule {
    std::string text;
    std::uint32_t priority = 0;
    std::vector<byte_match> bytes;
    std::vector<std::uint16_t> queues;
    std::uint64_t rss_types = 0;
    std::vector<std::uint8_t> rss_key;
  };

  const char* parse(const rte_flow_attr& attributes, const rte_flow_item* items,
                    const rte_flow_action* actions, rule& out) const;
  const char* parse_items(const rte_flow_item* items, rule& out) const;
  const char* parse_action(const rte_flow_action& action, rule& out) const;
  std::uint16_t spread(std::span<const std::byte> frame, std::span<const std::uint16_t> queues,
                       std::uint64_t types, std::span<const std::uint8_t> key,
                       std::span<const std::uint16_t> reta) const;
  fate deliver(std::span<const std::byte> frame, std::uint16_t queue, bool damaged);
  int event_of(const receive_queue& queue) const;
  std::uint16_t prepare(rte_mbuf** frames, std::uint16_t count);
  void transmit(rte_mbuf* m);
  void violated(std::string what) { violations_.push_back(std::move(what)); }

  fake_nic_traits traits_;
  std::string name_;
  std::uint16_t port_id_ = 0;
  std::array<std::uint8_t, 6> mac_{};
  rte_eth_conf conf_{};
  std::vector<std::uint8_t> rss_key_;
  std::uint16_t mtu_ = 1500;
  std::mutex receiving_;  ///< inject() may be another thread's
  std::vector<receive_queue> queues_;
  rte_intr_handle* interrupt_handle_ = nullptr;
  unsigned interrupts_enabled_ = 0;
  std::function<void()> on_enable_;
  std::vector<send_queue> senders_;
  std::vector<std::uint16_t> reta_;
  std::list<rule> rules_;  // each an rte_flow
  std::vector<std::string> refused_;
  std::vector<std::string> violations_;
  std::vector<std::vector<std::byte>> sent_;
  fake_nic* other_ = nullptr;
  bool isolated_ = false;
  bool started_ = false;
  bool link_up_ = true;
  unsigned starts_ = 0;
  std::size_t rules_at_stop_ = 0;
  std::uint64_t frames_to_kernel_ = 0;
  std::uint64_t checksums_filled_ = 0;
  std::uint64_t prepares_ = 0;
  std::set<const rte_mbuf*> prepared_;
};

}  // namespace nd::test
