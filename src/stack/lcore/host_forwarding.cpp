// Records that another lcore's channels carry: so one socket sends by several lcores. What was
// forwarded (host_send.cpp), the carrier's channels send, and lose, like their own; then it comes
// back, with what became of it.
#include <cassert>

#include "lcore/host.hpp"

namespace nd::core {

/// For our channels, from another lcore.
void host::carry(instant now, const forwarded_record& f) {
  peer* const p = device_gone_ ? nullptr : peer_of(now, f.peer_ip);
  const bool refused = p == nullptr || (p->epoch != 0 && p->epoch != f.epoch) ||
                       (p->epoch == 0 && p->lost_epoch == f.epoch);
  if (refused) {
    taken(f.record.home);
    return send_back(f.peer_ip, f.record, false, 0);
  }
  p->classes[f.record.traffic_class].forwarded.push(f);
  activate(*p);
}

/// Like one socket of ours: `bound` bytes, where others want to send too.
void host::push_forwarded(peer& p, peer::per_class& c, std::int32_t bound) {
  if (p.epoch == 0) return;  // the first channel is being opened
  for (; !c.forwarded.empty() && bound > 0; let_go(c)) {
    const forwarded_record& f = c.forwarded.front();
    if (f.epoch != p.epoch) {  // the peer's life that it was for is over
      send_back(p.ip, f.record, false, 0);
      continue;
    }
    loads_.clear();
    for (const channel_entry* e : c.channels) loads_.push_back(e->load());
    const std::size_t chosen = pick_channel(c.cursor, loads_);
    if (chosen == no_channel) return;
    channel_entry& e = *c.channels[chosen];
    if (f.record.length > e.chan.max_payload()) {
      send_back(p, f.record, false);  // which says how long it may be
      continue;
    }
    bound -= static_cast<std::int32_t>(sizeof(wire::record_header) + f.record.length);
    e.chan.queue(f.record);
    activate(e);
  }
}

/// Of the first one that waits; its home may forward another one.
void host::let_go(peer::per_class& c) {
  taken(c.forwarded.front().record.home);
  c.forwarded.pop();
}

void host::taken(unsigned home) {
  auto& count = config_.exchange->of(config_.place.index).taken[home];
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void host::send_back(const peer& p, const wire::record& r, bool arrived) {
  send_back(p.ip, r, arrived, p.epoch != 0 ? path_payload(p, r.traffic_class) : 0);
}

void host::send_back(std::uint32_t peer_ip, const wire::record& r, bool arrived,
                     std::uint32_t payload) {
  const forwarded_record f{.record = r,
                           .peer_ip = peer_ip,
                           .payload = static_cast<std::uint16_t>(payload),
                           .carrier = static_cast<std::uint8_t>(config_.place.index),
                           .arrived = arrived};
  [[maybe_unused]] const bool room = config_.exchange->of(r.home).returned.push(f);
  assert(room);  // for all that it forwarded
  config_.exchange->tell(r.home);
}

/// What waits for a channel here: its own lcore's may carry it.
void host::return_forwarded(peer& p) {
  for (peer::per_class& c : p.classes)
    for (; !c.forwarded.empty(); let_go(c)) send_back(p.ip, c.forwarded.front().record, false, 0);
}

void host::on_returned(instant now, const forwarded_record& f) {
  --forwarded_;
  if (const auto found = peers_.find(f.peer_ip); found != peers_.end()) {
    std::vector<lane>& lanes = found->second->classes[f.record.traffic_class].lanes;
    if (!lanes.empty()) {  // it may be a later peer with this address
      lane& from = lanes[f.carrier];
      if (f.payload != 0)
        from.payload = f.payload;
      else
        from.closed_until = now + lane_rest;
    }
  }
  wire::record r = f.record;
  r.home = wire::record::own;
  on_verdict(now, r, f.arrived != 0);
}

}  // namespace nd::core
