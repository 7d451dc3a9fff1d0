#include "lcore/frame_switch.hpp"

#include <algorithm>
#include <utility>

#include "wire/nd_header.hpp"

namespace nd::core {

unsigned lcore_of_frame(rte_mbuf* m, const host_address& host, unsigned lcores) noexcept {
  std::span<const std::byte> bytes = mbuf_bytes(m);
  const auto take = [&]<class T>(const T*& header) {
    if (bytes.size() < sizeof(T)) return false;
    header = &wire::at<T>(static_cast<const void*>(bytes.data()));
    bytes = bytes.subspan(sizeof(T));
    return true;
  };
  const wire::ethernet_header* ethernet = nullptr;
  if (!take(ethernet)) return 0;
  if (ethernet->type == wire::ethertype_arp) return for_all;
  const wire::ipv4_header* ip = nullptr;
  if (ethernet->type != wire::ethertype_ipv4 || !take(ip) || ip->protocol != host.protocol())
    return 0;
  const wire::udp_header* udp = nullptr;
  if (host.udp && !take(udp)) return 0;
  const wire::channel_header* packet = nullptr;
  if (!take(packet)) return 0;
  if (packet->kind == wire::packet_kind::abort) return for_all;
  if (packet->channel != 0) return lcore_of_channel(packet->channel, lcores);
  // A handshake that begins: by the other end's number for the channel, so that as many lcores
  // there and here have the same channels.
  const wire::handshake_body* handshake = nullptr;
  return take(handshake) ? lcore_of_channel(handshake->channel, lcores) : 0;
}

switched_port::switched_port(lcore_exchange& exchange, const host_address& host, unsigned lcore,
                             port* device, switched_port* first)
    : exchange_(exchange),
      host_(host),
      lcore_(lcore),
      device_(device),
      first_(first),
      capabilities_(device != nullptr ? device->capabilities() : first->capabilities_),
      link_up_(device != nullptr ? device->link_up() : first->link_up_.load()) {}

switched_port::~switched_port() {
  for (waiting* w : {&bulk_, &urgent_})
    rte_pktmbuf_free_bulk(w->frames.data(), static_cast<unsigned>(w->count));
}

// --- Receiving ----------------------------------------------------------------------------------

std::size_t switched_port::rx_burst(instant now, std::span<rte_mbuf*> frames) {
  const std::size_t n = exchange_.of(lcore_).received.pop(frames);
  if (device_ == nullptr) return n;
  const auto rest = frames.subspan(n);
  return n + keep_own(rest.first(device_->rx_burst(now, rest)), false);
}

std::size_t switched_port::rx_urgent(instant now, std::span<rte_mbuf*> frames) {
  const std::size_t n = exchange_.of(lcore_).received_urgent.pop(frames);
  if (device_ == nullptr) return n;
  const auto rest = frames.subspan(n);
  return n + keep_own(rest.first(device_->rx_urgent(now, rest)), true);
}

/// Passes on what is not this lcore's; how many frames are left, at the front.
std::size_t switched_port::keep_own(std::span<rte_mbuf*> frames, bool urgent) {
  std::size_t own = 0;
  for (rte_mbuf* m : frames) {
    if (m->nb_segs > 1 && rte_pktmbuf_linearize(m) != 0) {
      ++dropped_;
      rte_pktmbuf_free(m);
      continue;
    }
    const unsigned lcore = lcore_of_frame(m, host_, exchange_.lcores());
    if (lcore == for_all) {
      rte_mbuf_refcnt_update(m, static_cast<std::int16_t>(exchange_.lcores() - 1));
      for (unsigned i = 0; i < exchange_.lcores(); ++i)
        if (i != lcore_) pass_on(m, i, urgent);
    }
    if (lcore == for_all || lcore == lcore_)
      frames[own++] = m;
    else
      pass_on(m, lcore, urgent);
  }
  return own;
}

void switched_port::pass_on(rte_mbuf* frame, unsigned lcore, bool urgent) {
  lcore_exchange::inbox& box = exchange_.of(lcore);
  if ((urgent ? box.received_urgent : box.received).push(frame)) return exchange_.tell(lcore);
  ++dropped_;  // as by a device whose ring is full
  rte_pktmbuf_free(frame);
}

// --- Sending ------------------------------------------------------------------------------------

std::size_t switched_port::tx_burst(instant now, std::span<rte_mbuf*> frames) {
  return send(now, frames, false);
}

std::size_t switched_port::tx_urgent(instant now, std::span<rte_mbuf*> frames) {
  return send(now, frames, true);
}

std::size_t switched_port::send(instant now, std::span<rte_mbuf*> frames, bool urgent) {
  if (device_ != nullptr && device_->sends()) {
    send_for_others(now, urgent);  // before, or a device that is always full would be this lcore's
    return urgent ? device_->tx_urgent(now, frames) : device_->tx_burst(now, frames);
  }
  lcore_exchange::inbox& box = exchange_.of(0);
  const std::size_t n = (urgent ? box.to_send_urgent : box.to_send).push_some(frames);
  exchange_.tell(0);
  return n;
}

void switched_port::send_for_others(instant now, bool urgent) {
  lcore_exchange::inbox& box = exchange_.of(lcore_);
  waiting& w = urgent ? urgent_ : bulk_;
  mpsc_ring<rte_mbuf>& ring = urgent ? box.to_send_urgent : box.to_send;
  for (;;) {
    if (w.count == 0) w.count = ring.pop(w.frames);
    if (w.count == 0) return;
    const auto frames = std::span(w.frames).first(std::exchange(w.count, 0));
    const std::size_t sent =
        urgent ? device_->tx_urgent(now, frames) : device_->tx_burst(now, frames);
    if (sent == frames.size()) continue;
    std::ranges::copy(frames.subspan(sent), w.frames.begin());
    w.count = frames.size() - sent;
    return;
  }
}

void switched_port::tick(instant now) {
  if (device_ == nullptr) return;
  send_for_others(now, true);
  send_for_others(now, false);
  device_->tick(now);
}

// --- State --------------------------------------------------------------------------------------

bool switched_port::link_up() const noexcept {
  if (device_ == nullptr) return first_->link_up_.load(std::memory_order_relaxed);
  const bool up = device_->link_up();
  link_up_.store(up, std::memory_order_relaxed);
  return up;
}

std::uint64_t switched_port::tx_refused() const noexcept {
  return device_ == nullptr ? 0 : device_->tx_refused();
}

bool switched_port::has_work() const noexcept {
  return bulk_.count > 0 || urgent_.count > 0 || exchange_.of(lcore_).has_frames();
}

rx_wake switched_port::arm_rx_wake() noexcept {
  return device_ == nullptr ? rx_wake{.told = true} : device_->arm_rx_wake();
}

void switched_port::disarm_rx_wake() noexcept {
  if (device_ != nullptr) device_->disarm_rx_wake();
}

std::vector<std::unique_ptr<switched_port>> share_devices(lcore_exchange& exchange,
                                                          const host_address& host,
                                                          std::span<port* const> devices) {
  std::vector<std::unique_ptr<switched_port>> ports;
  for (unsigned i = 0; i < exchange.lcores(); ++i) {
    port* const device = i < devices.size() ? devices[i] : nullptr;
    switched_port* const first = i == 0 ? nullptr : ports.front().get();
    ports.push_back(std::make_unique<switched_port>(exchange, host, i, device, first));
  }
  return ports;
}

}  // namespace nd::core
