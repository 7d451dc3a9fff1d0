// Frames out: sockets push records onto channels, channels make packets, the device takes bursts.
#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>
#include <utility>

#include "lcore/host.hpp"

namespace nd::core {

void host::activate(channel_entry& entry) {
  if (entry.active) return;
  entry.active = true;
  active_channels_.push_back(&entry);
}

void host::activate(peer& p) {
  if (p.active) return;
  p.active = true;
  active_peers_.push_back(&p);
}

void host::make_ready(socket_entry& s) {
  if (s.sync_held) return;
  s.owner.classes[s.sock.traffic_class()].ready.push(s);
  activate(s.owner);
}

void host::push_reset(peer& p, const wire::record& r) {
  p.resets.push_back(r);
  activate(p);
}

// Rounds of "sockets fill the channels' queues, channels empty them", latency first, until nothing
// more can leave or a class has spent its budget of the turn. What the latency class has is with
// the device before bulk data is built.
void host::send(instant now) {
  const auto has_ready = [](const peer* p) { return p->has_ready(); };
  std::array<std::size_t, traffic_classes> budget;
  budget.fill(tx_budget);
  if (serves_latency(now)) budget[bulk_class] = bulk_packets_;
  std::size_t sent;
  do {
    for (peer* p : active_peers_) push_records(now, *p);
    sent = 0;
    for (std::size_t c = traffic_classes; c-- > 0;) {
      const std::size_t before = budget[c];
      for (std::size_t i = 0; i < active_channels_.size() && budget[c] > 0; ++i)
        if (active_channels_[i]->chan.traffic_class() == c)
          budget[c] -= send_channel(now, *active_channels_[i], budget[c]);
      sent += before - budget[c];
      if (urgent_.count > 0) flush(now, urgent_);
    }
  } while (sent > 0 && std::ranges::min(budget) > 0 &&
           std::ranges::any_of(active_peers_, has_ready));
  if (forwards_) [[unlikely]]
    forward(now);
  std::erase_if(active_peers_, [](peer* p) {
    p->active = p->has_ready();
    return !p->active;
  });
}

void host::push_records(instant now, peer& p) {
  const stage_meter::scope in_socket(meter_, stage::socket);
  for (std::size_t i = traffic_classes; i-- > 0;) {
    peer::per_class& c = p.classes[i];
    if (!c.waiting() && p.resets.empty()) continue;
    if (c.channels.empty()) {
      if (p.needs_channels(i)) open_channels(now, p, i);
      continue;
    }
    if (!p.resets.empty()) queue_resets(p, c);
    if (!c.forwarded.empty())
      push_forwarded(p, c,
                     c.ready.empty() ? std::numeric_limits<std::int32_t>::max() : round_of(i));
    push_class(now, c, round_of(i));
  }
}

void host::queue_resets(peer& p, peer::per_class& c) {
  const bool live = c.any_live();
  for (channel_entry* e : c.channels)
    for (; !p.resets.empty() && e->chan.can_queue() && (e->is_live() || !live);
         p.resets.pop_front()) {
      e->chan.queue(p.resets.front());
      activate(*e);
    }
}

// Deficit round robin (Shreedhar and Varghese, SIGCOMM 1995): each ready socket gives as many bytes
// as the others, in however large records. What one has given too much is taken off the next time.
// `choose(socket)` says what payload its next record may have, 0 where nothing takes it now: the
// ready queue is the wait list. `give(record)` follows.
template <class Choose, class Give>
void host::serve_ready(instant now, peer::per_class& c, std::int32_t round, bool each_waits_alone,
                       Choose&& choose, Give&& give) {
  const socket_entry* first_waiting = nullptr;  // of those that wait alone
  while (socket_entry* s = c.ready.front()) {
    if (s == first_waiting) break;
    bool wants_more = s->sock.wants_to_send();
    if (s->deficit <= 0) s->deficit += round;
    while (s->deficit > 0 && wants_more) {
      const std::uint16_t max_payload = choose(*s);
      if (max_payload == 0) {
        if (!each_waits_alone) return;
        if (first_waiting == nullptr) first_waiting = s;
        break;
      }
      const auto record = s->sock.next_record(now, max_payload);
      wants_more = s->sock.wants_to_send();
      if (!record) {
        if (!wants_more) break;
        // It has bytes, but no mbuf to cut them into: again in the next turn, behind the others.
        c.ready.pop();
        c.ready.push(*s);
        return;
      }
      s->deficit -= static_cast<std::int32_t>(sizeof(wire::record_header) + record->length);
      give(*record);
    }
    c.ready.pop();
    if (wants_more)
      c.ready.push(*s);
    else
      s->deficit = std::min(s->deficit, 0);  // who is idle saves nothing up
    const instant deadline = s->sock.next_deadline();
    if (!deadline.is_never()) timers_.arm_no_later(s->wake, deadline);
  }
  c.stuck = !c.ready.empty() && c.ready.front() == first_waiting;
}

void host::push_class(instant now, peer::per_class& c, std::int32_t round) {
  channel_entry* chosen = nullptr;
  const auto choose = [&](socket_entry& s) -> std::uint16_t {
    loads_.clear();
    for (const channel_entry* e : c.channels) loads_.push_back(e->load());
    const std::size_t i = pick_channel(channel_policy_, s.cursor, s.sock.key().local_port, loads_);
    if (i == no_channel) return 0;
    chosen = c.channels[i];
    return chosen->chan.max_payload();
  };
  serve_ready(now, c, round, channel_policy_ == channel_policy::source_port, choose,
              [&](const wire::record& r) {
                chosen->chan.queue(r);
                activate(*chosen);
              });
}

/// What the channels here have no room or no time for.
void host::forward(instant now) {
  for (peer* p : active_peers_) {
    if (p->epoch == 0) continue;
    for (std::size_t i = traffic_classes; i-- > 0;) {
      peer::per_class& c = p->classes[i];
      if (!c.ready.empty()) forward_class(now, *p, c, i);
    }
  }
}

void host::forward_class(instant now, peer& p, peer::per_class& c, std::size_t traffic_class) {
  if (c.lanes.empty()) c.lanes.resize(config_.place.count);
  const std::uint32_t payload = path_payload(p, traffic_class);
  unsigned chosen = 0;
  std::uint32_t told = 0;
  const auto choose = [&](const socket_entry&) -> std::uint16_t {
    if (forwarded_ >= lcore_exchange::most_forwarded) return 0;
    std::uint64_t least = lcore_exchange::most_waiting;
    for (unsigned i = 0; i < config_.place.count; ++i) {
      if (i == config_.place.index || now < c.lanes[i].closed_until) continue;
      const auto& taken = config_.exchange->of(i).taken[config_.place.index];
      const std::uint64_t waiting = forwarded_to_[i] - taken.load(std::memory_order_relaxed);
      if (waiting >= least) continue;
      least = waiting;
      chosen = i;
    }
    if (least == lcore_exchange::most_waiting) return 0;
    const std::uint16_t there = c.lanes[chosen].payload;
    return there != 0 ? there : static_cast<std::uint16_t>(payload);
  };
  const auto give = [&](const wire::record& r) {
    forwarded_record f{.record = r, .epoch = p.epoch, .peer_ip = p.ip};
    f.record.home = static_cast<std::uint8_t>(config_.place.index);
    f.record.traffic_class = static_cast<std::uint8_t>(traffic_class);
    [[maybe_unused]] const bool room = config_.exchange->of(chosen).forwarded.push(f);
    assert(room);  // for as many as may be forwarded
    ++forwarded_;
    ++forwarded_to_[chosen];
    ++stats_.records_forwarded;
    told |= std::uint32_t{1} << chosen;
  };
  serve_ready(now, c, round_of(traffic_class), false, choose, give);
  for (; told != 0; told &= told - 1)
    config_.exchange->tell(static_cast<unsigned>(std::countr_zero(told)));
}

std::size_t host::send_channel(instant now, channel_entry& entry, std::size_t budget) {
  const stage_meter::scope in_channel(meter_, stage::channel);
  std::size_t sent = 0;
  frames_out& out = lane_of(entry);
  while (sent < budget) {
    if (out.full()) flush(now, out);
    if (out.full()) break;  // the device is full: what is not built can still change
    rte_mbuf* m = entry.chan.next_packet(now, config_.packet_pool);
    if (m == nullptr) break;
    transmit(m, entry.route, out);
    ++sent;
  }
  return sent;
}

// One acknowledgement a channel and turn, for those that no data packet carried. Then channels with
// nothing to do leave the list, and their timers take over.
void host::acknowledge(instant now) {
  const stage_meter::scope in_channel(meter_, stage::channel);
  for (channel_entry* entry : active_channels_) {
    frames_out& out = lane_of(*entry);
    if (out.full()) flush(now, out);
    if (!out.full())
      if (rte_mbuf* m = entry->chan.next_ack(now, config_.packet_pool))
        transmit(m, entry->route, out);
    timers_.arm_no_later(entry->wake, entry->chan.next_deadline());
  }
  std::erase_if(active_channels_, [](channel_entry* e) {
    e->active = e->chan.queued() > 0 || e->chan.ack_pending();
    return !e->active;
  });
}

void host::transmit(rte_mbuf* packet, const packet_route& route, frames_out& out) {
  const stage_meter::scope in_tx(meter_, stage::tx);
  write_frame(packet, config_.address, route, device_);
  enqueue(packet, out);
}

/// Callers have seen that there is room.
void host::enqueue(rte_mbuf* frame, frames_out& out) {
  assert(!out.full());
  ++stats_.tx_packets;
  stats_.tx_bytes += frame->pkt_len;
  out.frames[out.count++] = frame;
}

void host::flush(instant now) {
  const stage_meter::scope in_tx(meter_, stage::tx);
  if (urgent_.count > 0) flush(now, urgent_);
  if (tx_.count > 0) flush(now, tx_);
  if (!device_gone_) port_.tick(now);
}

void host::flush(instant now, frames_out& out) {
  const stage_meter::scope in_tx(meter_, stage::tx);
  const auto frames = std::span(out.frames).first(std::exchange(out.count, 0));
  if (device_gone_)
    return rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(frames.size()));
  const std::size_t sent =
      &out == &urgent_ ? port_.tx_urgent(now, frames) : port_.tx_burst(now, frames);
  if (sent == frames.size()) return;
  ++stats_.tx_device_full;
  std::ranges::copy(frames.subspan(sent), frames.begin());
  out.count = frames.size() - sent;
}

}  // namespace nd::core
