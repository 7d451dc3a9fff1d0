// The network around the host: neighbours and the gateway, ARP, ICMP, the link's state.
#include "lcore/host.hpp"
#include "wire/icmp.hpp"

namespace nd::core {

// --- Neighbours ---------------------------------------------------------------------------------

/// Whose MAC address frames to `ip` get: its own where that is known or can be asked for, else the
/// gateway's. 0: there is no way.
std::uint32_t host::next_hop(std::uint32_t ip) const noexcept {
  if (neighbors_.find(ip)) return ip;  // the setting `neighbors` may name any address
  return config_.address.on_link(ip) ? ip : config_.gateway;
}

/// A router may be outside the prefix: hosts of some clouds have /32.
bool host::is_neighbor(std::uint32_t ip) const noexcept {
  return config_.address.on_link(ip) || (ip == config_.gateway && ip != 0);
}

/// The MAC address for frames to a peer; where it is not known, it is asked for, or the peer fails.
std::optional<mac_address> host::find_way(instant now, const peer& p) {
  const std::uint32_t hop = next_hop(p.ip);
  if (const auto mac = neighbors_.find(hop)) return mac;
  // It called us: there is a way back.
  for (const peer::per_class& c : p.classes)
    if (!c.channels.empty()) return c.channels.front()->route.mac;
  if (hop == 0) {
    ++stats_.no_route;
    events_.push(now, {.kind = event_kind::no_route, .ip = p.ip});
    fail_unreachable(now, p.ip);
    return std::nullopt;
  }
  // Without a link the request stays due: armed by each turn, its timer would never let one end.
  if (neighbors_.resolve(now, hop)) timers_.arm_no_later(neighbor_wake_, now);
  return std::nullopt;
}

void host::learn(instant now, std::uint32_t ip, const mac_address& mac) {
  const auto before = neighbors_.find(ip);
  const bool gateway = ip == config_.gateway;  // those whom we only answer are behind it too
  if (!(gateway ? neighbors_.confirm(ip, mac) : neighbors_.learn(ip, mac))) return;
  if (before && config_.place.leads()) {
    ++stats_.neighbors_moved;
    events_.push(now,
                 {.kind = event_kind::neighbor_moved, .ip = ip, .mac = mac, .before = *before});
  }
  for (auto& [peer_ip, p] : peers_) {
    if (next_hop(peer_ip) != ip) continue;
    for (peer::per_class& c : p->classes)
      for (channel_entry* e : c.channels) e->route.mac = mac;
    for (std::size_t i = 0; i < traffic_classes; ++i)
      if (p->needs_channels(i)) open_channels(now, *p, i);
  }
}

/// Nobody has the address: all that are reached through it are lost.
void host::on_no_neighbor(instant now, std::uint32_t ip) {
  ++stats_.arp_failed;
  if (ip == config_.gateway) events_.push(now, {.kind = event_kind::gateway_silent, .ip = ip});
  for (auto& [peer_ip, p] : peers_)
    if (next_hop(peer_ip) == ip) fail_unreachable(now, peer_ip);
}

void host::fail_unreachable(instant now, std::uint32_t ip) {
  const auto found = peers_.find(ip);
  if (found != peers_.end()) lose_peer(now, *found->second, errc::host_unreachable, false);
}

void host::on_neighbor_timer(instant now) {
  switch (guard_.on_timer(now)) {
    case address_guard::frame::none: break;
    case address_guard::frame::probe:
      send_arp(wire::arp_request, mac_broadcast, 0, {}, config_.address.ip);
      ++stats_.arp_requests_sent;
      break;
    case address_guard::frame::announcement: announce(); break;
  }
  // Without a link nobody can answer: who asks waits for it, until the connect_timeout.
  if (link_up_) {
    ask_neighbors(now);
  } else if (!link_down_told_ && tell_link_down_at_.is_never()) {
    tell_link_down_at_ = now + link_grace;
  }
  const instant next = link_up_ ? neighbors_.next_deadline() : instant::never();
  timers_.arm_no_later(neighbor_wake_, earlier(next, guard_.next_deadline()));
  // The kernel's answer, or the link, is looked for soon.
  if (is_waiting()) timers_.arm_no_later(watch_wake_, now);
}

void host::ask_neighbors(instant now) {
  neighbors_.on_timer(
      now,
      [this](std::uint32_t ip) {
        if (config_.kernel != nullptr && config_.kernel->has_our_address())
          return config_.kernel->resolve(ip);
        send_arp(wire::arp_request, mac_broadcast, config_.address.ip, {}, ip);
        ++stats_.arp_requests_sent;
      },
      [this, now](std::uint32_t ip) { on_no_neighbor(now, ip); });
}

/// For news that come between two ordinary looks.
bool host::is_waiting() const noexcept {
  return neighbors_.asking() && (config_.kernel != nullptr || !link_up_);
}

// --- ARP ----------------------------------------------------------------------------------------

void host::on_arp(instant now, mbuf_ptr frame) {
  const auto bytes = mbuf_bytes(frame.get()).subspan(sizeof(wire::ethernet_header));
  if (bytes.size() < sizeof(wire::arp_packet)) {
    ++stats_.drop_malformed;
    return;
  }
  const auto arp = wire::at<wire::arp_packet>(static_cast<const void*>(bytes.data()));
  if (!wire::is_valid(arp)) {
    ++stats_.drop_malformed;
    return;
  }
  ++stats_.arp_received;
  const host_address& us = config_.address;
  if (arp.sender_ip == us.ip) {
    // With our MAC address it is the kernel's, which has the interface too.
    if (arp.sender_mac != us.mac && config_.place.leads()) on_address_conflict(now, arp.sender_mac);
    return;
  }
  const bool for_us = arp.operation == wire::arp_request && arp.target_ip == us.ip;
  if (is_neighbor(arp.sender_ip)) {
    learn(now, arp.sender_ip, arp.sender_mac);
  } else if (for_us && arp.sender_ip != 0 && config_.place.leads()) {
    ++stats_.arp_off_link;
    events_.push(
        now, {.kind = event_kind::off_link_neighbor, .ip = arp.sender_ip, .mac = arp.sender_mac});
  }
  if (!for_us || !config_.place.leads() ||
      (config_.kernel != nullptr && config_.kernel->has_our_address()))
    return;
  send_arp(wire::arp_reply, arp.sender_mac, us.ip, arp.sender_mac, arp.sender_ip);
  ++stats_.arp_replies_sent;
}

void host::on_address_conflict(instant now, const mac_address& other) {
  ++stats_.address_conflicts;
  events_.push(now, {.kind = event_kind::address_conflict, .ip = config_.address.ip, .mac = other});
  const bool kernel_defends = config_.kernel != nullptr && config_.kernel->has_our_address();
  if (!kernel_defends && guard_.on_conflict(now)) announce();
}

/// Tells all that this address is here.
void host::announce() {
  send_arp(wire::arp_request, mac_broadcast, config_.address.ip, {}, config_.address.ip);
  ++stats_.arp_requests_sent;
}

void host::send_arp(std::uint16_t operation, const mac_address& to, std::uint32_t sender_ip,
                    const mac_address& target_mac, std::uint32_t target_ip) {
  if (tx_.full()) return;  // ARP repeats itself
  rte_mbuf* m = rte_pktmbuf_alloc(config_.packet_pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return;
  }
  auto* frame = rte_pktmbuf_append(m, wire::ethernet_min_frame);
  std::memset(frame, 0, wire::ethernet_min_frame);
  auto& ethernet = wire::at<wire::ethernet_header>(static_cast<void*>(frame));
  ethernet.destination = to;
  ethernet.source = config_.address.mac;
  ethernet.type = wire::ethertype_arp;
  wire::at<wire::arp_packet>(static_cast<void*>(frame + sizeof ethernet)) =
      wire::make_arp(operation, config_.address.mac, sender_ip, target_mac, target_ip);
  enqueue(m, tx_);
}

// --- ICMP ---------------------------------------------------------------------------------------

/// Echo requests are answered in the mbuf that they came in. "Unreachable" is only counted: anybody
/// can send it, and a kernel that shares its address with a stack says it of each packet that both
/// see.
void host::on_icmp(instant now, mbuf_ptr frame, const received_packet& in) {
  const auto& icmp = wire::at<wire::icmp_header>(static_cast<const void*>(in.bytes.data()));
  if (icmp.type == wire::icmp_unreachable) {
    ++stats_.icmp_unreachable_received;
    return;
  }
  if (icmp.type != wire::icmp_echo_request || icmp.code != 0) {
    ++stats_.drop_not_ours;
    return;
  }
  ++stats_.icmp_echo_received;
  if (config_.kernel != nullptr && config_.kernel->has_our_address()) return;  // it answers
  const bool fits = in.bytes.size() + sizeof(wire::ipv4_header) <= device_.mtu;
  if (!fits || tx_.full() || !echo_replies_.allow(now)) {
    ++stats_.icmp_echo_limited;
    return;
  }
  turn_into_echo_reply(frame.get(), config_.address, in);
  enqueue(frame.release(), tx_);
  ++stats_.icmp_echo_answered;
}

// --- Sizes of packets ---------------------------------------------------------------------------

/// A frame that was larger than the device's buffers.
void host::on_cut(instant now, const received_packet& in) {
  ++stats_.drop_cut;
  const std::size_t kept = in.bytes.size() + sizeof(wire::ipv4_header);
  events_.push(now, {.kind = event_kind::frame_cut,
                     .ip = in.source_ip,
                     .bytes = in.length,
                     .limit = static_cast<std::uint32_t>(kept)});
}

void host::on_peer_mtu(instant now, const peer& p, std::uint16_t mtu) {
  const std::uint16_t own = device_.mtu;
  if (mtu == own) return;
  ++stats_.mtu_differs;
  events_.push(now, {.kind = event_kind::mtu_differs, .ip = p.ip, .bytes = mtu, .limit = own});
}

void host::watch_path_mtu(instant now, channel_entry& entry) {
  const path_mtu& mtu = entry.chan.mtu();
  const bool limited = entry.chan.state() == channel_state::open && mtu.limited();
  if (std::exchange(entry.mtu_limited, limited) || !limited) return;
  ++stats_.path_mtu_limited;
  events_.push(now, {.kind = event_kind::path_mtu_limited,
                     .ip = entry.owner.ip,
                     .bytes = mtu.current(),
                     .limit = mtu.limit()});
}

// --- The link -----------------------------------------------------------------------------------

/// What became of the device and the kernel's interface since the last look.
void host::watch(instant now) {
  if (config_.kernel == nullptr) {
    on_link(now, port_.link_up());
  } else {
    while (const auto news = config_.kernel->next()) {
      switch (news->what) {
        case kernel_news::kind::neighbor:
          if (is_neighbor(news->ip)) learn(now, news->ip, news->mac);
          break;
        case kernel_news::kind::link_up: on_link(now, true); break;
        case kernel_news::kind::link_down: on_link(now, false); break;
        case kernel_news::kind::gone: on_device_gone(now); break;
      }
    }
  }
  if (now >= tell_link_down_at_) {
    tell_link_down_at_ = instant::never();
    link_down_told_ = true;
    events_.push(now, {.kind = event_kind::link_down});
  }
  stats_.tx_refused += port_.tx_refused() - stats_.tx_refused.value();
  stats_.rx_switch_full += port_.rx_dropped() - stats_.rx_switch_full.value();
  for (const auto& entry : channels_)
    if (entry != nullptr) watch_path_mtu(now, *entry);
  // A look at the kernel's news is cheaper than one at the device.
  const duration soon = duration::milliseconds(config_.kernel != nullptr ? 1 : 10);
  timers_.arm_no_later(watch_wake_, now + (is_waiting() ? soon : config_.watch_interval));
}

void host::on_link(instant now, bool up) {
  if (up == link_up_) return;
  link_up_ = up;
  tell_link_down_at_ = instant::never();
  if (!up) {
    if (!config_.place.leads()) return;
    ++stats_.link_downs;
    link_down_told_ = true;
    events_.push(now, {.kind = event_kind::link_down});
    return;
  }
  if (std::exchange(link_down_told_, false)) events_.push(now, {.kind = event_kind::link_up});
  neighbors_.start_over(now);
  timers_.arm_no_later(neighbor_wake_, neighbors_.next_deadline());
  // There may be another switch behind it, which does not know where we are.
  const bool kernel_announces = config_.kernel != nullptr && config_.kernel->has_our_address();
  if (config_.place.leads() && config_.values.arp_probes > 0 && !kernel_announces) announce();
}

/// Nothing can come of this host any more: all who wait for it are told.
void host::on_device_gone(instant now) {
  if (device_gone_) return;
  device_gone_ = true;
  if (config_.place.leads()) events_.push(now, {.kind = event_kind::device_gone});
  for (auto& [ip, p] : peers_) lose_peer(now, *p, errc::no_device, false);
  for (auto& [port, listener] : listeners_) {
    listener->error.store(static_cast<int>(errc::no_device), std::memory_order_relaxed);
    listener->status.fetch_or(socket_link::failed, std::memory_order_release);
  }
}

}  // namespace nd::core
