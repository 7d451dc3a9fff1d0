#include "pmd_glue/ethdev_port.hpp"

#include <rte_errno.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <optional>
#include <system_error>
#include <vector>

#include "base/mbuf.hpp"
#include "nd/error.hpp"
#include "pmd_glue/af_xdp_port.hpp"
#include "pmd_glue/ethdev_device.hpp"
#include "pmd_glue/kernel_devices.hpp"
#include "pmd_glue/log.hpp"
#include "pmd_glue/memif_port.hpp"

namespace nd::pmd {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw std::system_error(make_error_code(errc::no_device), message);
}

/// One pair of queues of a device, or all that it receives from and the first one for sending; and
/// what the latency class has of its own.
class ethdev_port : public port {
 public:
  ethdev_port(std::shared_ptr<ethdev_device> device, std::uint16_t index)
      : device_(std::move(device)),
        id_(device_->id()),
        index_(index),
        end_queue_(
            static_cast<std::uint16_t>(device_->ports() > 1 ? index + 1 : device_->queue_count())),
        next_queue_(index),
        urgent_tx_(
            static_cast<std::uint16_t>(device_->sends_urgent() ? device_->ports() + index : index)),
        urgent_rx_(static_cast<std::uint16_t>(device_->queue_count() + index)),
        receives_urgent_(device_->receives_urgent()),
        capabilities_(device_->capabilities()) {}

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    std::size_t n = 0;
    // A queue that is never empty must not starve the others: each turn starts with the next one.
    for (std::uint16_t i = index_; i < end_queue_ && n < frames.size(); ++i) {
      n += rte_eth_rx_burst(id_, next_queue_, &frames[n],
                            static_cast<std::uint16_t>(frames.size() - n));
      if (++next_queue_ >= end_queue_) next_queue_ = index_;
    }
    return index_ > 0 ? n : n + device_->receive_arp(now, frames.subspan(n));
  }
  std::size_t rx_urgent(instant, std::span<rte_mbuf*> frames) override {
    if (!receives_urgent_) return 0;
    return rte_eth_rx_burst(id_, urgent_rx_, frames.data(),
                            static_cast<std::uint16_t>(frames.size()));
  }
  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override {
    return capabilities_.tx_udp_checksum ? prepare_and_send(frames, index_) : send(frames, index_);
  }
  std::size_t tx_urgent(instant, std::span<rte_mbuf*> frames) override {
    return capabilities_.tx_udp_checksum ? prepare_and_send(frames, urgent_tx_)
                                         : send(frames, urgent_tx_);
  }
  void tick(instant) override {}
  bool link_up() const noexcept override { return device_->link_up(); }
  std::uint64_t tx_refused() const noexcept override { return tx_refused_; }
  rx_wake arm_rx_wake() noexcept override {
    rx_interrupts* const own = device_->interrupts(index_);
    return own == nullptr ? rx_wake{} : own->arm();
  }
  void disarm_rx_wake() noexcept override {
    if (rx_interrupts* const own = device_->interrupts(index_)) own->disarm();
  }

 private:
  std::size_t send(std::span<rte_mbuf*> frames, std::uint16_t queue) noexcept {
    return rte_eth_tx_burst(id_, queue, frames.data(), static_cast<std::uint16_t>(frames.size()));
  }
  /// With an offload some drivers have to see to the headers first (ena, ixgbe, virtio, ...).
  std::size_t prepare_and_send(std::span<rte_mbuf*> frames, std::uint16_t queue) {
    std::size_t taken = 0;
    while (taken < frames.size()) {
      const std::span<rte_mbuf*> rest = frames.subspan(taken);
      const std::size_t good =
          rte_eth_tx_prepare(id_, queue, rest.data(), static_cast<std::uint16_t>(rest.size()));
      const int why = rte_errno;
      const std::size_t sent = send(rest.first(good), queue);
      taken += sent;
      if (sent < good || good == rest.size()) break;
      // Kept, it would hold up all behind it.
      rte_pktmbuf_free(frames[taken++]);
      if (tx_refused_++ == 0)
        log(log_level::warning, device_error(id_, "rte_eth_tx_prepare: a frame is dropped", -why));
    }
    return taken;
  }

  std::shared_ptr<ethdev_device> device_;
  std::uint16_t id_;
  std::uint16_t index_;       ///< of the first queue, and the one for sending
  std::uint16_t end_queue_;   ///< behind the last that it receives from
  std::uint16_t next_queue_;  ///< of the next rx_burst
  std::uint16_t urgent_tx_;   ///< where the latency class has none of its own: index_
  std::uint16_t urgent_rx_;
  bool receives_urgent_;  ///< from urgent_rx_
  port_capabilities capabilities_;
  std::uint64_t tx_refused_ = 0;
};

/// net_ring gives the very mbufs that are sent to the receiver. A wire copies; into mbufs that the
/// application's writes cannot use up.
class ring_port final : public ethdev_port {
 public:
  explicit ring_port(std::shared_ptr<ethdev_device> device)
      : ethdev_port(device, 0), rx_pool_(device->rx_pool()) {}

  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override {
    return send_copies(frames, [&](auto copies) { return ethdev_port::tx_burst(now, copies); });
  }
  std::size_t tx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    return send_copies(frames, [&](auto copies) { return ethdev_port::tx_urgent(now, copies); });
  }

 private:
  template <class Send>
  std::size_t send_copies(std::span<rte_mbuf*> frames, Send&& to_wire) {
    std::array<rte_mbuf*, 64> copies;
    std::size_t n = 0;
    while (n < std::min(frames.size(), copies.size())) {
      copies[n] = rte_pktmbuf_copy(frames[n], rx_pool_, 0, frames[n]->pkt_len);
      if (copies[n] == nullptr) break;
      ++n;
    }
    const std::size_t sent = to_wire(std::span(copies).first(n));
    rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(sent));
    rte_pktmbuf_free_bulk(&copies[sent], static_cast<unsigned>(n - sent));
    return sent;
  }

  rte_mempool* rx_pool_;
};

std::string own_queues_text(const ethdev_device& device) {
  if (device.receives_urgent())
    return device.sends_urgent() ? "to send and to receive" : "to receive";
  return device.sends_urgent() ? "to send" : "none";
}

std::shared_ptr<ethdev_device> started(std::shared_ptr<ethdev_device> device) {
  device->start();
  return device;
}

/// Why the io lcores of a host get one port between them; empty: each gets a pair of queues.
std::string why_one_port(const settings& values, const rte_eth_dev_info& info, unsigned lcores) {
  const unsigned pairs = std::min(info.max_rx_queues, info.max_tx_queues);
  if (memif_of(info)) return "";  // it agrees with the other end
  if (kernel_device_of(info) || std::string_view(info.driver_name) == "net_tap")
    return "interfaces of the kernel are polled by one thread";
  if (std::string_view(info.driver_name) == "net_ring") return "ring is polled by one thread";
  if (pairs < lcores)
    return "the device has " + std::to_string(pairs) + " pair" + (pairs == 1 ? "" : "s") +
           " of queues";
  if (rss_types_of(values, info) == 0) return "the device has no RSS for encap=" + values.encap;
  return "";
}

}  // namespace

std::uint16_t port_mtu(const settings& values) {
  const auto id = static_cast<std::uint16_t>(values.port);
  const rte_eth_dev_info info = device_info(id);
  std::uint16_t largest = 0;
  if (const auto memif = memif_of(info)) {
    // Frames that take more than one slot are not safe to send (memif_guard.hpp's tests).
    largest = static_cast<std::uint16_t>(std::min(memif->bsize - RTE_ETHER_HDR_LEN, 9000));
  } else if (const auto kernel = kernel_device_of(info)) {
    largest = kernel->mtu;
  } else if (values.mtu != 0) {
    // Drivers that set no max_mtu may still bound the frame (net_tap).
    const std::uint32_t frame = std::max<std::uint32_t>(info.max_rx_pktlen, RTE_ETHER_MAX_LEN);
    largest = static_cast<std::uint16_t>(
        std::min({std::uint32_t{info.max_mtu}, frame - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN,
                  std::uint32_t{9000}}));
  } else {
    if (const int result = rte_eth_dev_get_mtu(id, &largest); result < 0)
      refuse(device_error(id, "rte_eth_dev_get_mtu", result));
  }
  if (values.mtu == 0) return std::min<std::uint16_t>(largest, 9000);
  if (values.mtu < 576 || values.mtu > largest) {
    throw std::system_error(make_error_code(errc::bad_option),
                            "setting mtu: " + std::to_string(values.mtu) + " is outside 576 .. " +
                                std::to_string(largest) + ", which is what ethdev port " +
                                std::to_string(id) + " takes");
  }
  return static_cast<std::uint16_t>(values.mtu);
}

namespace {

/// Whatever it is, the latency class is told by it.
constexpr std::uint8_t any_tos = 0xff;

/// What rte_eth_dev_adjust_nb_rx_tx_desc() will make of a setting, or a little more.
unsigned descriptors_at_most(std::int64_t wanted, const rte_eth_desc_lim& limit) {
  const unsigned most = limit.nb_max == 0 ? unsigned{UINT16_MAX} : limit.nb_max;
  return std::clamp(static_cast<unsigned>(wanted), unsigned{limit.nb_min}, most);
}

}  // namespace

unsigned count_ports(const settings& values, unsigned lcores) {
  if (lcores < 2) return 1;
  const auto id = static_cast<std::uint16_t>(values.port);
  return why_one_port(values, device_info(id), lcores).empty() ? lcores : 1;
}

rx_pool_needs port_rx_pool_needs(const settings& values, std::uint16_t mtu, unsigned ports) {
  const rte_eth_dev_info info = device_info(static_cast<std::uint16_t>(values.port));
  const auto kernel = kernel_device_of(info);
  if (memif_of(info)) ports = 1;  // it copies into and out of its rings
  if (!kernel) {
    const unsigned own = class_queues_of_nic(values, info, ports, any_tos).rx ? ports : 0;
    // net_vmxnet3 fills two rings, the second for what doesn't fit the first one's buffers.
    const unsigned rings = std::string_view(info.driver_name) == "net_vmxnet3" ? 2 : 1;
    const unsigned held = descriptors_at_most(values.rx_descriptors, info.rx_desc_lim) * rings *
                          (own + (ports > 1 ? ports : static_cast<unsigned>(values.rx_queues)));
    return {.data_room = rx_data_room(mtu),
            .reserved = std::max(held, standard_descriptors) - standard_descriptors};
  }
  // The driver copies what it sends into mbufs of this pool.
  const auto sending = kernel->kept == 0 ? 0 : static_cast<unsigned>(values.tx_descriptors);
  return {.data_room = std::max(rx_data_room(mtu, kernel->buffer_headroom),
                                RTE_PKTMBUF_HEADROOM + kernel->buffer),
          .reserved = kernel->kept + sending,
          .kept = kernel->kept,
          .layout = kernel->layout};
}

int port_node(const settings& values) noexcept {
  return rte_eth_dev_socket_id(static_cast<std::uint16_t>(values.port));
}

unsigned port_tx_held(const settings& values, unsigned ports) {
  const rte_eth_dev_info info = device_info(static_cast<std::uint16_t>(values.port));
  const unsigned queues = class_queues_of_nic(values, info, ports, any_tos).tx ? 2 * ports : ports;
  return descriptors_at_most(values.tx_descriptors, info.tx_desc_lim) *
         (memif_of(info) ? 1 : queues);
}

std::unique_ptr<port> open_port(const settings& values, std::uint16_t mtu, rte_mempool* rx_pool) {
  return std::move(open_ports(values, mtu, rx_pool, 1).front());
}

std::vector<std::unique_ptr<port>> open_ports(const settings& values, std::uint16_t mtu,
                                              rte_mempool* rx_pool, unsigned lcores,
                                              std::optional<rss_facts>* rss,
                                              std::uint8_t latency_tos) {
  if (rss != nullptr) rss->reset();
  const rte_eth_dev_info info = device_info(static_cast<std::uint16_t>(values.port));
  std::vector<std::unique_ptr<port>> out;
  unsigned ports = 1;
  if (lcores > 1) {
    const std::string why = why_one_port(values, info, lcores);
    if (why.empty())
      ports = lcores;
    else
      log(log_level::notice, "ethdev port " + std::to_string(values.port) + " (" +
                                 info.driver_name + "): " + why + ": the first of " +
                                 std::to_string(lcores) + " io lcores polls it for all");
  }
  if (const auto memif = memif_of(info)) {
    out = open_memif_ports(values, info, *memif, mtu, rx_pool, lcores);
  } else if (std::string_view(info.driver_name) == "net_ring") {
    const bool own =
        wants_class_queues(values) && std::min(info.max_rx_queues, info.max_tx_queues) > 1;
    out.push_back(std::make_unique<ring_port>(started(std::make_shared<ethdev_device>(
        values, info, mtu, rx_pool, 1, class_queues{.tx = own, .rx = own}))));
  } else if (const auto kernel = kernel_device_of(info);
             kernel && kernel->made_by == kernel_device::driver::af_xdp) {
    if (rx_pool->nb_mem_chunks != 1)
      refuse(
          "net_af_xdp needs a receive pool in one piece of memory: more memory (-m), or "
          "--iova-mode=va");
    settings rings = values;  // powers of two
    rings.rx_descriptors =
        static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(values.rx_descriptors)));
    auto inner = std::make_unique<ethdev_port>(
        started(std::make_shared<ethdev_device>(rings, info, mtu, rx_pool, 1)), std::uint16_t{0});
    out.push_back(make_af_xdp_port(std::move(inner), values, info.if_index, rx_pool));
  } else {
    const auto device = started(std::make_shared<ethdev_device>(
        values, info, mtu, rx_pool, ports, class_queues_of_nic(values, info, ports, latency_tos)));
    if (wants_class_queues(values))
      log(log_level::info,
          "ethdev port " + std::to_string(values.port) +
              ": latency traffic has queues of its own: " + own_queues_text(*device));
    if (rss != nullptr && ports > 1) *rss = device->rss();
    for (std::uint16_t i = 0; i < ports; ++i)
      out.push_back(std::make_unique<ethdev_port>(device, i));
  }
  return out;
}

}  // namespace nd::pmd
