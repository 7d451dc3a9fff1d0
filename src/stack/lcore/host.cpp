#include <algorithm>

#include "lcore/host.hpp"

namespace nd::core {
namespace {

/// Each lcore has its share of the pool.
std::uint64_t rx_bytes(const host_config& config) noexcept {
  return std::uint64_t{config.rx_pool->size - config.rx_reserved} *
         rte_pktmbuf_data_room_size(config.rx_pool) / config.place.count;
}

unsigned share_of(std::int64_t whole, lcore_place place) noexcept {
  return static_cast<unsigned>((whole + place.count - 1) / place.count);
}

/// What a turn moves: half as much again as a call of the application, so that queues get shorter.
std::size_t packets_of_slice(const host_config& config, std::uint16_t mtu) noexcept {
  const auto bytes = static_cast<std::size_t>(config.values.bulk_slice) * 3 / 2;
  return (bytes + mtu - 1) / mtu;
}

}  // namespace

// A flood of strangers' packets is not doubled: 10 aborts, of which one source may cause 2, and 100
// echo replies a millisecond.
//
// 3/8 of the receive pool may be granted, which takes twice as much when applications do not read
// (receive_queue::deliver), or bytes before them are missing. What those take beyond that, an
// eighth at most, is small records with gaps between them; the rest is for the device's
// descriptors.
host::host(const host_config& config, port& device, instant now)
    : config_(config),
      port_(device),
      device_(device.capabilities()),
      meter_(config.cycle_clock),
      random_(config.seed),
      timers_(now),
      mailbox_(share_of(config.values.sockets, config.place) * 2),
      credit_(rx_bytes(config) / 8 * 3),
      out_of_order_{.limit = rx_bytes(config) / 8},
      forwards_(config.place.count > 1 && config.values.remote_channels == "when_full" &&
                config.values.channel_policy != "source_port"),
      environment_{.stats = stats_,
                   .rx_pool = config.rx_pool,
                   .reserve = config.packet_pool,
                   .credit = credit_,
                   .digests = !config.address.udp,
                   .first_offset = config.first_offset},
      cookies_(config.cookie_key),
      neighbors_(config.values.arp_retry, static_cast<int>(config.values.arp_tries)),
      guard_(!config.place.leads() || (config.kernel != nullptr && config.kernel->has_our_address())
                 ? 0  // the first lcore, or the kernel, looks after it
                 : static_cast<int>(config.values.arp_probes),
             config.values.arp_retry, now),
      link_up_(device.link_up()),
      sockets_(config.name + "-sockets", share_of(config.values.sockets, config.place)),
      next_port_(static_cast<std::uint16_t>(49152 + random_.below(16384))),
      next_connection_(first_connection(config.place.index, random_.next()) +
                       received_numbers::window),
      channel_policy_(channel_policy_of(config.values.channel_policy)),
      bulk_packets_(packets_of_slice(config, device_.mtu)),
      latency_seen_(now - latency_memory),
      aborts_(share_of(10, config.place), 2, random_.next(), now),
      echo_replies_(100, now) {
  for (const auto& [ip, mac] : config.neighbors) neighbors_.add_static(ip, mac);
  timers_.arm_no_later(neighbor_wake_, guard_.next_deadline());
  if (config.watch_interval > duration()) timers_.arm_no_later(watch_wake_, now);
}

host::~host() {
  sockets_.for_each([this](socket_entry& s) {
    s.sock.fail(errc::connection_aborted);
    finish(s);
  });
  for (auto& entry : channels_) {
    if (entry == nullptr) continue;
    timers_.disarm(entry->wake);
    verdicts_.clear();
    entry->chan.kill(verdicts_);
    // Their sockets are gone: what the channel held are orphans, or other lcores'.
    for (const wire::record& r : verdicts_.lost) {
      if (r.home != wire::record::own)
        send_back(entry->owner, r, false);
      else
        rte_pktmbuf_free(r.segment);
    }
  }
  for (auto& [ip, p] : peers_) return_forwarded(*p);
  timers_.disarm(neighbor_wake_);
  timers_.disarm(watch_wake_);
  drop_requests();
  for (frames_out* out : {&tx_, &urgent_})
    rte_pktmbuf_free_bulk(out->frames.data(), static_cast<unsigned>(out->count));
  for (auto& [port, listener] : listeners_) drop_listener(*listener);
}

/// Connections that nobody will accept go with it.
void host::drop_listener(listener_link& listener) {
  while (socket_link* waiting = listener.accepted.pop()) waiting->release();
  delete &listener;
}

/// What applications asked for and nobody will serve: their links still have to go.
void host::drop_requests() {
  while (app_end* end = mailbox_.pop()) {
    const std::uint32_t requests = end->requests.load(std::memory_order_acquire);
    if (end->what == app_end::kind::listener) {
      auto* listener = static_cast<listener_link*>(end);
      if ((requests & request_close) == 0) continue;
      if (listener->listening) listeners_.erase(listener->port);
      drop_listener(*listener);
      continue;
    }
    auto* link = static_cast<socket_link*>(end);
    if ((requests & request_connect) != 0) link->release();
    if ((requests & request_close) != 0) link->release();
  }
}

std::size_t host::push(instant now) {
  const std::uint64_t sent_before = stats_.tx_packets.value();
  std::size_t served = 0;
  if (!mailbox_.empty()) served = serve_requests(now);
  while (timer* t = timers_.expire(now)) served += on_timer(now, *t);
  if (!active_peers_.empty() || !active_channels_.empty()) {
    send(now);
    acknowledge(now);
  }
  graveyard_.clear();
  if (!untold_.empty()) [[unlikely]]
    tell_again();
  flush(now);
  pulled_ = false;
  served += stats_.tx_packets.value() - sent_before;
  pushed_ = served > 0;
  return served;
}

std::size_t host::pull(instant now) {
  std::size_t frames = receive(now);
  if (config_.exchange != nullptr) frames += serve_exchange(now);
  if (!touched_.empty()) hand_over(now);
  pulled_ = frames > 0;
  meter_.end_turn(!pulled_ && !pushed_, stats_);
  return frames;
}

instant host::next_deadline() const noexcept {
  constexpr instant at_once{0};
  if (pulled_ || tx_.count > 0 || urgent_.count > 0 || !mailbox_.empty()) return at_once;
  if (config_.exchange != nullptr && (port_.has_work() || !untold_.empty() ||
                                      config_.exchange->of(config_.place.index).has_packets()))
    return at_once;
  for (const channel_entry* e : active_channels_)
    if (e->chan.ack_pending() || (e->chan.queued() > 0 && !e->chan.held_back())) return at_once;
  for (const peer* p : active_peers_)
    if (p->can_push()) return at_once;
  return timers_.next_expiry();
}

std::uint16_t host::max_payload() const noexcept {
  const std::size_t trailer = config_.address.udp ? 0 : sizeof(wire::be32);
  return static_cast<std::uint16_t>(device_.mtu - config_.address.ip_overhead() -
                                    sizeof(wire::channel_header) - sizeof(wire::record_header) -
                                    trailer);
}

bool host::drained() noexcept {
  if (tx_.count > 0 || urgent_.count > 0 || !mailbox_.empty()) return false;
  if (sockets_.any_of([](const socket_entry& e) { return e.sock.has_unfinished_business(); }))
    return false;
  return std::ranges::all_of(peers_, [](const auto& p) { return p.second->resets.empty(); });
}

bool host::say_goodbye(instant now) {
  bool waiting = false;
  for (auto& entry : channels_) {
    if (entry == nullptr || lane_of(*entry).full()) continue;
    rte_mbuf* m = entry->chan.close_packet(now, config_.packet_pool);
    if (m == nullptr) continue;
    transmit(m, entry->route, lane_of(*entry));
    waiting = true;
  }
  flush(now);
  return waiting;
}

bool host::has_channels() const noexcept {
  return std::ranges::any_of(channels_, [](const auto& entry) { return entry != nullptr; });
}

host_holdings host::holdings() const noexcept {
  std::size_t resets = 0;
  for (const auto& [ip, p] : peers_) resets += p->resets.size();
  return {.peers = peers_.size(),
          .channels = static_cast<std::size_t>(
              std::ranges::count_if(channels_, [](const auto& entry) { return entry != nullptr; })),
          .sockets = sockets_.size(),
          .neighbors = neighbors_.size(),
          .resets = resets,
          .handed = handed_.size(),
          .forwarded = forwarded_,
          .credit = credit_.held(),
          .credit_limit = credit_.limit(),
          .out_of_order = out_of_order_.used,
          .out_of_order_limit = out_of_order_.limit};
}

/// Null when there are as many as there may be, and all of them are in use.
peer* host::peer_of(instant now, std::uint32_t ip) {
  if (const auto found = peers_.find(ip); found != peers_.end()) return found->second.get();
  if (peers_.size() >= static_cast<std::size_t>(config_.values.peers) && !forget_idle_peer(now))
    return nullptr;
  auto& p = peers_[ip];
  p = std::make_unique<peer>();
  p->ip = ip;
  p->out_of_order = {.limit = out_of_order_.limit / 2, .whole = &out_of_order_};
  return p.get();
}

/// One without connections goes; where it comes again, ABORT lets it open its channels anew. False
/// when there is none.
bool host::forget_idle_peer(instant now) {
  const auto idle = std::ranges::find_if(
      peers_, [](const auto& e) { return e.second->sockets == 0 && e.second->resets.empty(); });
  if (idle == peers_.end()) return false;
  peer& p = *idle->second;
  give_up(now, p, errc::peer_lost, false);
  if (p.active) std::erase(active_peers_, &p);
  if (p.ip != config_.gateway) neighbors_.forget(p.ip);
  ++stats_.peers_forgotten;
  peers_.erase(idle);
  return true;
}

}  // namespace nd::core
