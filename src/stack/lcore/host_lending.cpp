// Records that another lcore's channels carry: so one socket sends by several lcores. What is lent
// (host_send.cpp), the borrower's channels send, and lose, like their own; then it comes back, with
// what became of it.
#include <cassert>

#include "lcore/host.hpp"

namespace nd::core {

/// For our channels, from another lcore.
void host::borrow(instant now, const lent_record& l) {
  peer* const p = device_gone_ ? nullptr : peer_of(now, l.peer_ip);
  const bool refused = p == nullptr || (p->epoch != 0 && p->epoch != l.epoch) ||
                       (p->epoch == 0 && p->lost_epoch == l.epoch);
  if (refused) {
    taken(l.record.lender);
    return give_back(l.peer_ip, l.record, false, 0);
  }
  p->classes[l.record.traffic_class].borrowed.push(l);
  activate(*p);
}

/// Like one socket of ours: `bound` bytes, where others want to send too.
void host::push_borrowed(peer& p, peer::per_class& c, std::int32_t bound) {
  if (p.epoch == 0) return;  // the first channel is being opened
  for (; !c.borrowed.empty() && bound > 0; let_go(c)) {
    const lent_record& l = c.borrowed.front();
    if (l.epoch != p.epoch) {  // the peer's life that it was for is over
      give_back(p.ip, l.record, false, 0);
      continue;
    }
    loads_.clear();
    for (const channel_entry* e : c.channels) loads_.push_back(e->load());
    const std::size_t chosen = pick_channel(c.cursor, loads_);
    if (chosen == no_channel) return;
    channel_entry& e = *c.channels[chosen];
    if (l.record.length > e.chan.max_payload()) {
      give_back(p, l.record, false);  // which says how long it may be
      continue;
    }
    bound -= static_cast<std::int32_t>(sizeof(wire::record_header) + l.record.length);
    e.chan.queue(l.record);
    activate(e);
  }
}

/// Of the first one that waits; its lender may lend another one.
void host::let_go(peer::per_class& c) {
  taken(c.borrowed.front().record.lender);
  c.borrowed.pop();
}

void host::taken(unsigned lender) {
  auto& count = config_.exchange->of(config_.place.index).taken[lender];
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void host::give_back(const peer& p, const wire::record& r, bool arrived) {
  give_back(p.ip, r, arrived, p.epoch != 0 ? path_payload(p, r.traffic_class) : 0);
}

void host::give_back(std::uint32_t peer_ip, const wire::record& r, bool arrived,
                     std::uint32_t payload) {
  const lent_record l{.record = r,
                      .peer_ip = peer_ip,
                      .payload = static_cast<std::uint16_t>(payload),
                      .borrower = static_cast<std::uint8_t>(config_.place.index),
                      .arrived = arrived};
  [[maybe_unused]] const bool room = config_.exchange->of(r.lender).returned.push(l);
  assert(room);  // for all that it lent
  config_.exchange->tell(r.lender);
}

/// What waits for a channel here: its own lcore's may carry it.
void host::return_borrowed(peer& p) {
  for (peer::per_class& c : p.classes)
    for (; !c.borrowed.empty(); let_go(c)) give_back(p.ip, c.borrowed.front().record, false, 0);
}

void host::on_returned(instant now, const lent_record& l) {
  --lent_;
  if (const auto found = peers_.find(l.peer_ip); found != peers_.end()) {
    std::vector<lane>& lanes = found->second->classes[l.record.traffic_class].lanes;
    if (!lanes.empty()) {  // it may be a later peer with this address
      lane& from = lanes[l.borrower];
      if (l.payload != 0)
        from.payload = l.payload;
      else
        from.closed_until = now + lane_rest;
    }
  }
  wire::record r = l.record;
  r.lender = wire::record::own;
  on_verdict(now, r, l.arrived != 0);
}

}  // namespace nd::core
