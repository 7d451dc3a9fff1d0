#include "pmd_glue/ethdev_port.hpp"

#include <rte_dev.h>
#include <rte_devargs.h>
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
#include "pmd_glue/kernel_devices.hpp"
#include "pmd_glue/log.hpp"
#include "pmd_glue/memif_args.hpp"
#include "pmd_glue/memif_guard.hpp"
#include "pmd_glue/memif_lanes.hpp"
#include "pmd_glue/steering.hpp"

namespace nd::pmd {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw std::system_error(make_error_code(errc::no_device), message);
}

std::string describe(std::uint16_t id, const std::string& what, int error) {
  return "ethdev port " + std::to_string(id) + ": " + what + ": " + rte_strerror(-error);
}

void check(std::uint16_t id, const char* what, int result) {
  if (result < 0) refuse(describe(id, what, result));
}

rte_eth_dev_info info_of(std::uint16_t id) {
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

std::optional<memif_args> memif_of(const rte_eth_dev_info& info) {
  if (std::string_view(info.driver_name) != "net_memif") return std::nullopt;
  const rte_devargs* arguments = rte_dev_devargs(info.device);
  if (arguments == nullptr) return std::nullopt;
  std::string text = arguments->name;
  if (arguments->args != nullptr) text += std::string(",") + arguments->args;
  return parse_memif_vdev(text);
}

std::size_t receive_queues(const settings& values, const rte_eth_dev_info& info,
                           const rte_mempool* rx_pool) {
  const auto wanted = static_cast<std::size_t>(values.rx_queues);
  const auto refuse_queues = [](const std::string& why) {
    throw std::system_error(make_error_code(errc::bad_option), "setting rx_queues: " + why);
  };
  if (wanted > info.max_rx_queues)
    refuse_queues("ethdev port " + std::to_string(values.port) + " has " +
                  std::to_string(info.max_rx_queues));
  const std::size_t held = wanted * static_cast<std::size_t>(values.rx_descriptors);
  constexpr std::size_t left = 512;
  if (wanted > 1 && held + left > rx_pool->size)
    refuse_queues("their descriptors hold " + std::to_string(held) + " mbufs of " +
                  std::to_string(rx_pool->size) + ", which leaves fewer than " +
                  std::to_string(left) + ": lower rx_descriptors, or set rx_mbufs higher");
  return wanted;
}

/// With several queues by RSS, which are the same to all traffic, there are no lanes.
bool wants_second_lane(const settings& values) noexcept {
  return values.class_queues == "auto" && values.rx_queues == 1;
}

/// Any ethdev.
class ethdev_port : public port {
 public:
  ethdev_port(const settings& values, const rte_eth_dev_info& info, std::uint16_t mtu,
              rte_mempool* rx_pool, bool second_lane = false)
      : id_(static_cast<std::uint16_t>(values.port)),
        rx_pool_(rx_pool),
        sharing_(values, info, shares_with_kernel(info)) {
    target_.queues.resize(receive_queues(values, info, rx_pool));
    std::iota(target_.queues.begin(), target_.queues.end(), std::uint16_t{0});
    target_.rss_types = rss_types_of(values, info);
    target_.rss_key = rss_key_of(values, info);
    rte_eth_conf& conf = configuration_;
    // Some drivers are slower with any offload. Protocol 19 has no use for one, nor have 20 bytes
    // of IPv4 header (docs/nic.md); no frame of ours has several segments.
    if (values.encap == "udp") {
      conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
      conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    }
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
    set_up_queues(second_lane);
    rte_ether_addr mac{};
    check(id_, "rte_eth_macaddr_get", rte_eth_macaddr_get(id_, &mac));
    std::ranges::copy(mac.addr_bytes, capabilities_.mac.begin());
    capabilities_.mtu = mtu;
    capabilities_.tx_udp_checksum = conf.txmode.offloads != 0;
  }
  ~ethdev_port() override {
    sharing_.remove();
    rte_eth_dev_stop(id_);
    rte_eth_dev_close(id_);
  }
  ethdev_port(const ethdev_port&) = delete;
  ethdev_port& operator=(const ethdev_port&) = delete;

  /// While the port is stopped. The second lane has the queues behind the others.
  void set_up_queues(bool second_lane) {
    second_lane_ = second_lane;
    const auto more = static_cast<std::uint16_t>(second_lane ? 1 : 0);
    const auto receiving = static_cast<std::uint16_t>(queue_count() + more);
    const auto sending = static_cast<std::uint16_t>(1 + more);
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
  bool has_second_lane() const noexcept { return second_lane_; }

  void start() {
    check(id_, "rte_eth_dev_start", rte_eth_dev_start(id_));
    sharing_.install(target_);
  }

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    std::size_t n = 0;
    // A queue that is never empty must not starve the others: each turn starts with the next one.
    for (std::uint16_t i = 0; i < queue_count() && n < frames.size(); ++i) {
      n += rte_eth_rx_burst(id_, first_queue_, &frames[n],
                            static_cast<std::uint16_t>(frames.size() - n));
      if (++first_queue_ >= queue_count()) first_queue_ = 0;
    }
    return n + sharing_.receive_arp(now, frames.subspan(n), rx_pool_);
  }
  std::size_t rx_urgent(instant, std::span<rte_mbuf*> frames) override {
    if (!second_lane_) return 0;
    return rte_eth_rx_burst(id_, queue_count(), frames.data(),
                            static_cast<std::uint16_t>(frames.size()));
  }
  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override {
    return capabilities_.tx_udp_checksum ? prepare_and_send(frames, 0) : send(frames, 0);
  }
  std::size_t tx_urgent(instant, std::span<rte_mbuf*> frames) override {
    const std::uint16_t queue = second_lane_ ? 1 : 0;
    return capabilities_.tx_udp_checksum ? prepare_and_send(frames, queue) : send(frames, queue);
  }
  void tick(instant) override {}
  bool link_up() const noexcept override {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  }
  std::uint64_t tx_refused() const noexcept override { return tx_refused_; }

 protected:
  std::uint16_t id_;
  rte_mempool* rx_pool_;

 private:
  std::uint16_t queue_count() const noexcept {
    return static_cast<std::uint16_t>(target_.queues.size());
  }
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
        log(log_level::warning, describe(id_, "rte_eth_tx_prepare: a frame is dropped", -why));
    }
    return taken;
  }

  nic_sharing sharing_;
  flow_target target_;
  rte_eth_conf configuration_{};
  std::uint16_t rx_descriptors_ = 0;
  std::uint16_t tx_descriptors_ = 0;
  bool second_lane_ = false;
  std::uint16_t first_queue_ = 0;  ///< of the next rx_burst
  port_capabilities capabilities_;
  std::uint64_t tx_refused_ = 0;
};

/// net_ring gives the very mbufs that are sent to the receiver. A wire copies; into mbufs that the
/// application's writes cannot use up.
class ring_port final : public ethdev_port {
 public:
  using ethdev_port::ethdev_port;

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
};

/// net_memif, safe against the other process's death (memif_guard.hpp).
class memif_port final : public port {
 public:
  memif_port(const settings& values, const rte_eth_dev_info& info, const memif_args& arguments,
             std::uint16_t mtu, rte_mempool* rx_pool)
      : mend_(arguments),
        inner_(
            std::make_unique<ethdev_port>(values, info, mtu, rx_pool, wants_second_lane(values))),
        guard_(static_cast<std::uint16_t>(values.port)),
        redial_(static_cast<std::uint16_t>(values.port), arguments, false,
                [this] { return set_up_redial(); }),
        lanes_(arguments.role, inner_->capabilities().mac, rx_pool),
        wants_lanes_(wants_second_lane(values)) {
    if (arguments.role == memif_role::server) inner_->start();  // a client is started by redial_
  }
  ~memif_port() override {
    guard_.release();
    const interrupt_pause quiet;
    inner_.reset();
  }

  const port_capabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    if (!may_poll(now)) return 0;
    const std::size_t n = inner_->rx_burst(now, frames);
    return n == 0 ? 0 : received(now, frames.first(n), false);
  }
  std::size_t rx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    if (!lanes_.can_receive() || !may_poll(now)) return 0;
    const std::size_t n = inner_->rx_urgent(now, frames);
    return n == 0 ? 0 : received(now, frames.first(n), true);
  }
  /// Between two calls of rx_burst, as the guard asks for; frames to nobody are lost as on a wire
  /// without a link.
  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override {
    if (pollable_) return inner_->tx_burst(now, frames);
    if (guard_.link_up()) return 0;
    rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(frames.size()));
    return frames.size();
  }
  std::size_t tx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    if (pollable_ && lanes_.can_send()) return inner_->tx_urgent(now, frames);
    return tx_burst(now, frames);
  }
  void tick(instant now) override {
    if (!pollable_) return;
    auto [frame, on_second] = lanes_.next_word(now);
    if (frame == nullptr) return;
    const std::span one(&frame, 1);
    if ((on_second ? inner_->tx_urgent(now, one) : inner_->tx_burst(now, one)) == 0)
      rte_pktmbuf_free(frame);
  }
  bool link_up() const noexcept override { return guard_.link_up(); }

 private:
  bool may_poll(instant now) {
    pollable_ = guard_.may_poll(now);
    if (guard_.link_up() != linked_) [[unlikely]]
      on_link(now);
    if (!pollable_ && !linked_) redial_.poll(now);
    return pollable_;
  }
  [[gnu::cold]] void on_link(instant now) {
    linked_ = guard_.link_up();
    if (!linked_) return lanes_.stop();
    lanes_.start(now, inner_->has_second_lane());
    dials_ = 0;
  }
  /// A server with one pair of queues refuses a client with two: each second try is with one.
  bool set_up_redial() {
    const bool second = wants_lanes_ && dials_++ % 2 == 0;
    try {
      if (second != inner_->has_second_lane()) inner_->set_up_queues(second);
      return true;
    } catch (const std::system_error& error) {
      log(log_level::warning, error.what());
      return false;
    }
  }
  std::size_t received(instant now, std::span<rte_mbuf*> frames, bool urgent) {
    guard_.received(now);
    return lanes_.on_received(frames, urgent);
  }

  memif_listener_mend mend_;
  std::unique_ptr<ethdev_port> inner_;
  memif_guard guard_;
  memif_redial redial_;
  memif_lanes lanes_;
  bool wants_lanes_;
  unsigned dials_ = 0;  ///< since the link was there
  bool linked_ = false;
  bool pollable_ = false;
};

template <class Port>
std::unique_ptr<port> started(std::unique_ptr<Port> p) {
  p->start();
  return p;
}

}  // namespace

std::uint16_t port_mtu(const settings& values) {
  const auto id = static_cast<std::uint16_t>(values.port);
  const rte_eth_dev_info info = info_of(id);
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
    check(id, "rte_eth_dev_get_mtu", rte_eth_dev_get_mtu(id, &largest));
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

/// What rte_eth_dev_adjust_nb_rx_tx_desc() will make of a setting, or a little more.
unsigned descriptors_at_most(std::int64_t wanted, const rte_eth_desc_lim& limit) {
  const unsigned most = limit.nb_max == 0 ? unsigned{UINT16_MAX} : limit.nb_max;
  return std::clamp(static_cast<unsigned>(wanted), unsigned{limit.nb_min}, most);
}

}  // namespace

rx_pool_needs port_rx_pool_needs(const settings& values, std::uint16_t mtu) {
  const rte_eth_dev_info info = info_of(static_cast<std::uint16_t>(values.port));
  const auto kernel = kernel_device_of(info);
  if (!kernel) {
    // net_vmxnet3 fills two rings, the second for what doesn't fit the first one's buffers.
    const unsigned rings = std::string_view(info.driver_name) == "net_vmxnet3" ? 2 : 1;
    const unsigned held = descriptors_at_most(values.rx_descriptors, info.rx_desc_lim) * rings *
                          static_cast<unsigned>(values.rx_queues);
    return {.data_room = rx_data_room(mtu),
            .reserved = std::max(held, standard_descriptors) - standard_descriptors};
  }
  // The driver copies what it sends into mbufs of this pool.
  const auto sending = kernel->kept == 0 ? 0 : static_cast<unsigned>(values.tx_descriptors);
  return {.data_room = std::max(rx_data_room(mtu, kernel->buffer_headroom),
                                RTE_PKTMBUF_HEADROOM + kernel->buffer),
          .reserved = kernel->kept + sending,
          .kept = kernel->kept};
}

int port_node(const settings& values) noexcept {
  return rte_eth_dev_socket_id(static_cast<std::uint16_t>(values.port));
}

unsigned port_tx_held(const settings& values) {
  const rte_eth_dev_info info = info_of(static_cast<std::uint16_t>(values.port));
  return descriptors_at_most(values.tx_descriptors, info.tx_desc_lim);
}

std::unique_ptr<port> open_port(const settings& values, std::uint16_t mtu, rte_mempool* rx_pool) {
  const rte_eth_dev_info info = info_of(static_cast<std::uint16_t>(values.port));
  if (const auto memif = memif_of(info))
    return std::make_unique<memif_port>(values, info, *memif, mtu, rx_pool);
  if (std::string_view(info.driver_name) == "net_ring")
    return started(std::make_unique<ring_port>(
        values, info, mtu, rx_pool,
        wants_second_lane(values) && std::min(info.max_rx_queues, info.max_tx_queues) > 1));
  if (const auto kernel = kernel_device_of(info);
      kernel && kernel->made_by == kernel_device::driver::af_xdp) {
    if (rx_pool->nb_mem_chunks != 1)
      refuse(
          "net_af_xdp needs a receive pool in one piece of memory: more memory (-m), or "
          "--iova-mode=va");
    settings rings = values;  // powers of two
    rings.rx_descriptors =
        static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(values.rx_descriptors)));
    return make_af_xdp_port(started(std::make_unique<ethdev_port>(rings, info, mtu, rx_pool)),
                            values, info.if_index, rx_pool);
  }
  return started(std::make_unique<ethdev_port>(values, info, mtu, rx_pool));
}

}  // namespace nd::pmd
