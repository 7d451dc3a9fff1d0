#include "pmd_glue/ethdev_device.hpp"

#include <rte_eal.h>
#include <rte_errno.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>
#include <system_error>
#include <utility>

#include "nd/error.hpp"
#include "pmd_glue/log.hpp"

namespace nd::pmd {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw std::system_error(make_error_code(errc::no_device), message);
}

void check(std::uint16_t id, const char* what, int result) {
  if (result < 0) refuse(device_error(id, what, result));
}

/// What queues leave of the pool.
constexpr std::size_t mbufs_left = 512;

std::size_t mbufs_held(const settings& values, std::size_t queues) noexcept {
  return queues * static_cast<std::size_t>(values.rx_descriptors);
}

std::size_t receive_queues(const settings& values, const rte_eth_dev_info& info,
                           const rte_mempool* rx_pool, unsigned ports) {
  const std::size_t wanted = ports > 1 ? ports : static_cast<std::size_t>(values.rx_queues);
  const auto refuse_queues = [](const std::string& why) {
    throw std::system_error(make_error_code(errc::bad_option), "setting rx_queues: " + why);
  };
  if (wanted > info.max_rx_queues)
    refuse_queues("ethdev port " + std::to_string(values.port) + " has " +
                  std::to_string(info.max_rx_queues));
  const std::size_t held = mbufs_held(values, wanted);
  if (wanted > 1 && held + mbufs_left > rx_pool->size)
    refuse_queues("their descriptors hold " + std::to_string(held) + " mbufs of " +
                  std::to_string(rx_pool->size) + ", which leaves fewer than " +
                  std::to_string(mbufs_left) + ": lower rx_descriptors, or set rx_mbufs higher");
  return wanted;
}

/// Whether frames may lie in memory of the application, in several pieces. Drivers that copy don't
/// mind. Others may be slower with the offload that this takes, and read by the addresses of the IO
/// virtual memory, which must be those of the process.
bool takes_chains(const settings& values, const rte_eth_dev_info& info) {
  const std::string_view driver = info.driver_name;
  if (values.zero_copy == "off") return false;
  if (driver == "net_ring") return true;  // ring_port copies
  const bool offered = (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
  if (driver == "net_memif" || driver == "net_af_packet" || driver == "net_tap") return offered;
  return values.zero_copy == "on" && offered && rte_eal_iova_mode() == RTE_IOVA_VA;
}

/// Whether to ask the device to wake a thread that sleeps. These drivers offer nothing for it in
/// DPDK 22.11.
bool wants_interrupts(const settings& values, const rte_eth_dev_info& info) {
  constexpr std::array<std::string_view, 4> without{"net_memif", "net_ring", "net_af_packet",
                                                    "net_af_xdp"};
  return values.idle == "sleep" &&
         std::ranges::find(without, std::string_view(info.driver_name)) == without.end();
}

}  // namespace

std::string device_error(std::uint16_t id, const std::string& what, int error) {
  return "ethdev port " + std::to_string(id) + ": " + what + ": " + rte_strerror(-error);
}

rte_eth_dev_info device_info(std::uint16_t id) {
  if (rte_eth_dev_is_valid_port(id) == 0) {
    const unsigned count = rte_eth_dev_count_avail();
    refuse("no ethdev port " + std::to_string(id) +
           (count == 0 ? ": the EAL found no device; name one with -a PCI or --vdev=..."
                       : ": the EAL has " + std::to_string(count) + " (setting port)"));
  }
  rte_eth_dev_info info{};
  check(id, "rte_eth_dev_info_get", rte_eth_dev_info_get(id, &info));
  return info;
}

ethdev_device::ethdev_device(const settings& values, const rte_eth_dev_info& info,
                             std::uint16_t mtu, rte_mempool* rx_pool, unsigned ports,
                             class_queues urgent, bool shared)
    : id_(static_cast<std::uint16_t>(values.port)),
      rx_pool_(rx_pool),
      ports_(static_cast<std::uint16_t>(ports)),
      sharing_(values, info, shared),
      urgent_(urgent) {
  target_.queues.resize(receive_queues(values, info, rx_pool, ports));
  std::iota(target_.queues.begin(), target_.queues.end(), std::uint16_t{0});
  target_.rss_types = rss_types_of(values, info);
  target_.rss_key = rss_key_of(values, info);
  target_.by_lcore = ports > 1;
  rte_eth_conf& conf = configuration_;
  // Some drivers are slower with any offload. Protocol 19 has no use for one, nor have 20 bytes
  // of IPv4 header (docs/nic.md); frames have several segments only where bytes are lent.
  if (values.encap == "udp") {
    conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
  }
  const bool udp_checksum = conf.txmode.offloads != 0;
  capabilities_.tx_chains = takes_chains(values, info);
  if (capabilities_.tx_chains)
    conf.txmode.offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  if (target_.queues.size() > 1 && target_.rss_types != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = target_.rss_types;
    if (!target_.rss_key.empty()) {
      conf.rx_adv_conf.rss_conf.rss_key = target_.rss_key.data();
      conf.rx_adv_conf.rss_conf.rss_key_len = static_cast<std::uint8_t>(target_.rss_key.size());
    }
  }
  // memif can't be told an MTU and takes what its slots hold.
  if (mtu <= info.max_mtu &&
      std::uint32_t{mtu} + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN <= info.max_rx_pktlen)
    conf.rxmode.mtu = mtu;
  rx_descriptors_ = static_cast<std::uint16_t>(values.rx_descriptors);
  tx_descriptors_ = static_cast<std::uint16_t>(values.tx_descriptors);
  if (urgent_.tos != 0)
    urgent_.rx = urgent_.rx && sharing_.isolated() &&
                 mbufs_held(values, 2 * std::size_t{ports_}) + mbufs_left <= rx_pool->size;
  conf.intr_conf.rxq = wants_interrupts(values, info) ? 1 : 0;
  set_up_what_it_takes();
  rte_ether_addr mac{};
  check(id_, "rte_eth_macaddr_get", rte_eth_macaddr_get(id_, &mac));
  std::ranges::copy(mac.addr_bytes, capabilities_.mac.begin());
  capabilities_.mtu = mtu;
  capabilities_.tx_udp_checksum = udp_checksum;
}

ethdev_device::~ethdev_device() {
  sharing_.remove();
  interrupts_.clear();
  rte_eth_dev_stop(id_);
  rte_eth_dev_close(id_);
}

/// The latency class has the queues behind the others.
void ethdev_device::set_up_queues() {
  set_up_queues(static_cast<std::uint16_t>(queue_count() + (urgent_.rx ? ports_ : 0)),
                static_cast<std::uint16_t>(ports_ + (urgent_.tx ? ports_ : 0)));
}

void ethdev_device::set_up_pairs(unsigned pairs) {
  set_up_queues(static_cast<std::uint16_t>(pairs), static_cast<std::uint16_t>(pairs));
}

void ethdev_device::set_up_queues(std::uint16_t receiving, std::uint16_t sending) {
  check(id_, "rte_eth_dev_configure",
        rte_eth_dev_configure(id_, receiving, sending, &configuration_));
  check(id_, "rte_eth_dev_adjust_nb_rx_tx_desc",
        rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_descriptors_, &tx_descriptors_));
  const auto node = static_cast<unsigned>(SOCKET_ID_ANY);
  for (std::uint16_t queue = 0; queue < receiving; ++queue)
    check(id_, "rte_eth_rx_queue_setup",
          rte_eth_rx_queue_setup(id_, queue, rx_descriptors_, node, nullptr, rx_pool_));
  for (std::uint16_t queue = 0; queue < sending; ++queue)
    check(id_, "rte_eth_tx_queue_setup",
          rte_eth_tx_queue_setup(id_, queue, tx_descriptors_, node, nullptr));
}

void ethdev_device::start() {
  start_what_it_takes();
  if (!sharing_.install(target_, latency_target())) {
    check(id_, "rte_eth_dev_stop", rte_eth_dev_stop(id_));
    sharing_.leave_isolated_mode();
    // Without rules frames would come to any of the queues.
    if (std::exchange(urgent_.rx, false)) set_up_what_it_takes();
    start_what_it_takes();
  }
  if (configuration_.intr_conf.rxq != 0) open_interrupts();
  if (interrupts_.empty() || sharing_.arp_fd() < 0) return;
  if (!interrupts_[0]->add(sharing_.arp_fd())) interrupts_[0].reset();
}

void ethdev_device::set_up_what_it_takes() {
  for (;;) {
    try {
      return set_up_queues();
    } catch (const std::system_error&) {
      if (!forgo_one()) throw;
    }
  }
}

void ethdev_device::start_what_it_takes() {
  int result = rte_eth_dev_start(id_);
  while (result != 0 && forgo_one()) {
    set_up_what_it_takes();
    result = rte_eth_dev_start(id_);
  }
  check(id_, "rte_eth_dev_start", result);
}

/// Something that it need not have, when the device has refused to work with it. False: there is
/// nothing left.
bool ethdev_device::forgo_one() {
  if (urgent_.tx || urgent_.rx) {
    urgent_ = {};
    return true;
  }
  if (configuration_.intr_conf.rxq == 0) return false;
  tell_no_interrupts();
  configuration_.intr_conf.rxq = 0;
  return true;
}

class_target ethdev_device::latency_target() const {
  class_target out{.queues = {}, .tos = urgent_.tos};
  if (urgent_.rx && urgent_.tos != 0)
    for (std::uint16_t i = 0; i < ports_; ++i)
      out.queues.push_back(static_cast<std::uint16_t>(queue_count() + i));
  return out;
}

/// A port's, for receiving.
std::vector<std::uint16_t> ethdev_device::queues_of(std::uint16_t port) const {
  std::vector<std::uint16_t> out = target_.queues;
  if (ports_ > 1) out = {port};
  if (receives_urgent()) out.push_back(static_cast<std::uint16_t>(queue_count() + port));
  return out;
}

void ethdev_device::open_interrupts() {
  for (std::uint16_t i = 0; i < ports_; ++i) {
    auto opened = rx_interrupts::open(id_, queues_of(i), interrupt_calls_);
    if (opened == nullptr) break;
    interrupts_.push_back(std::move(opened));
  }
  if (interrupts_.size() == ports_) return;
  interrupts_.clear();  // it stays started: its link would go down for nothing
  tell_no_interrupts();
}

void ethdev_device::tell_no_interrupts() const {
  log(log_level::info,
      "ethdev port " + std::to_string(id_) + ": no rx interrupts; who sleeps looks now and then");
}

/// Drivers need not bear two threads that ask at once: the second takes the last answer.
bool ethdev_device::link_up() const noexcept {
  if (const std::unique_lock lock(asking_, std::try_to_lock); lock) {
    rte_eth_link link{};
    link_up_.store(rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP,
                   std::memory_order_relaxed);
  }
  return link_up_.load(std::memory_order_relaxed);
}

}  // namespace nd::pmd
