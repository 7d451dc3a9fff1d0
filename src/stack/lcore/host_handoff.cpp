// Packets whose records are for sockets of other lcores: those deliver them, and the channel's
// lcore acknowledges what all have kept.
#include <bit>

#include "lcore/host.hpp"

namespace nd::core {

/// The lcores whose sockets the records are for, a bit each.
std::uint32_t host::lcores_of(std::span<std::byte> records) const noexcept {
  const unsigned count = config_.place.count;
  if (count == 1) return 1;
  std::uint32_t lcores = 0;
  wire::record_reader reader(records);
  for (wire::record_view r; reader.next(r);)
    if (r.type() != wire::record_type::ack_ranges)
      lcores |= std::uint32_t{1} << lcore_of_ports(r.header->source, r.header->dest, count);
  return lcores;
}

/// Gives the packet to the other lcores among `lcores`, and its own records to this one's sockets.
/// One that cannot have it now gets it when the packet comes again, as a packet that was lost.
void host::hand_out(instant now, mbuf_ptr packet, channel_entry& entry, const handed_packet& what,
                    std::span<std::byte> records, std::uint32_t lcores) {
  if (handed_.full()) {
    ++stats_.drop_lcore_busy;
    return;
  }
  const std::uint32_t ours = std::uint32_t{1} << config_.place.index;
  const std::uint32_t others = lcores & ~ours;
  const std::uint32_t ticket = handed_.add(what);
  handed_packet& state = handed_[ticket];
  handoff h;
  h.packet = packet.get();
  h.epoch = entry.owner.epoch;
  h.known_since = entry.owner.known_since;
  h.peer_ip = entry.owner.ip;
  h.ticket = ticket;
  h.at = static_cast<std::uint16_t>(records.data() - mbuf_bytes(packet.get()).data());
  h.length = static_cast<std::uint16_t>(records.size());
  h.from = static_cast<std::uint8_t>(config_.place.index);
  h.latency = entry.chan.traffic_class() == latency_class;
  for (std::uint32_t left = others; left != 0; left &= left - 1) {
    const auto lcore = static_cast<unsigned>(std::countr_zero(left));
    rte_mbuf_refcnt_update(packet.get(), 1);
    if (!config_.exchange->of(lcore).packets.push(h)) {
      rte_mbuf_refcnt_update(packet.get(), -1);
      state.kept = false;
      continue;
    }
    ++state.pending;
    config_.exchange->tell(lcore);
  }
  ++stats_.packets_handed;
  if ((lcores & ours) != 0 && !deliver(now, packet, entry.owner, records)) state.kept = false;
  if (state.pending > 0) {
    entry.handed.push(ticket);
    return;
  }
  handed_.remove(ticket);
  ++stats_.drop_lcore_busy;
}

/// What other lcores have for this one, and what they say of packets that they got from it.
std::size_t host::serve_exchange(instant now) {
  lcore_exchange::inbox& box = config_.exchange->of(config_.place.index);
  std::size_t served = 0;
  for (peer_news news; box.news.pop(news); ++served) on_news(now, news);
  for (handoff h; served < burst && box.answers.pop(h); ++served) on_handed_back(now, h);
  for (handoff h; served < burst && box.packets.pop(h); ++served) {
    h.kept = deliver_handed(now, h);
    h.packet = nullptr;
    config_.exchange->of(h.from).answers.push(h);  // has room: the ticket says so
    config_.exchange->tell(h.from);
  }
  forwarded_record f;
  for (std::size_t n = 0; n < burst && box.returned.pop(f); ++n, ++served) on_returned(now, f);
  for (std::size_t n = 0; n < burst && box.forwarded.pop(f); ++n, ++served) carry(now, f);
  return served;
}

bool host::deliver_handed(instant now, const handoff& h) {
  mbuf_ptr packet(h.packet);
  peer* const p = peer_of(now, h.peer_ip);
  if (p == nullptr || h.epoch < p->epoch) return false;
  // It was given up since: its lcore will hear of that too.
  if (h.epoch == p->lost_epoch && h.known_since <= p->gone_at) return false;
  // Its lcore has heard of the peer's new life first.
  if (p->epoch != 0 && h.epoch > p->epoch) {
    ++stats_.peers_lost;
    give_up(now, *p, errc::peer_lost, true);
  }
  if (p->epoch == 0) {
    p->epoch = h.epoch;
    p->known_since = h.known_since;
  }
  if (h.latency != 0) latency_seen_ = now;
  return deliver(now, packet, *p, mbuf_bytes(packet.get()).subspan(h.at, h.length));
}

void host::on_handed_back(instant now, const handoff& h) {
  handed_packet& state = handed_[h.ticket];
  state.kept = state.kept && h.kept != 0;
  if (--state.pending > 0) return;
  channel_entry* const entry = channel_of(state);
  if (!state.in_line || entry == nullptr) return conclude(h.ticket);
  accept_in_order(now, *entry);
}

/// A packet that was kept, all here: it is acknowledged behind those that came before it.
void host::accept(instant now, channel_entry& entry, const handed_packet& what) {
  if (entry.handed.empty() || handed_.full())
    return entry.chan.on_accepted(what.arrived, what.header, what.bytes,
                                  what.congestion_experienced);
  entry.handed.push(handed_.add(what));
  accept_in_order(now, entry);
}

void host::accept_in_order(instant now, channel_entry& entry) {
  while (!entry.handed.empty()) {
    const std::uint32_t ticket = entry.handed.front();
    handed_packet& first = handed_[ticket];
    const bool done = first.pending == 0;
    if (!done && now - first.arrived < handed_patience) return;
    first.in_line = false;
    entry.handed.pop();
    if (done) conclude(ticket);
  }
}

/// All have answered.
void host::conclude(std::uint32_t ticket) {
  const handed_packet what = handed_[ticket];
  handed_.remove(ticket);
  channel_entry* const entry = channel_of(what);
  if (entry == nullptr) {
    ++stats_.drop_unknown_channel;
  } else if (!what.kept) {
    ++stats_.drop_lcore_busy;
  } else if (is_fresh(entry->chan, what.header)) {  // it may have come again meanwhile
    entry->chan.on_accepted(what.arrived, what.header, what.bytes, what.congestion_experienced);
    activate(*entry);
  }
}

/// Null: it has ended.
channel_entry* host::channel_of(const handed_packet& what) const noexcept {
  channel_entry* const entry = find_channel(what.header.channel);
  const bool same = entry != nullptr && entry->chan.tag() == what.header.tag &&
                    entry->chan.state() == channel_state::open;
  return same ? entry : nullptr;
}

/// A channel ends; it may be in use further up.
void host::bury(channel_entry& entry) {
  for (; !entry.handed.empty(); entry.handed.pop()) {
    handed_packet& waiting = handed_[entry.handed.front()];
    waiting.in_line = false;
    if (waiting.pending == 0) conclude(entry.handed.front());  // which finds no open channel
  }
  graveyard_.push_back(std::move(channels_[channel_number(entry.chan.id(), config_.place.count)]));
}

// --- Peers, for all lcores ----------------------------------------------------------------------

void host::tell_lcores(const peer_news& news) {
  for (unsigned i = 0; i < config_.place.count; ++i)
    if (i != config_.place.index) untold_.emplace_back(i, news);
  if (!untold_.empty()) tell_again();
}

/// Those whose ring is full hear of it later, and in order.
void host::tell_again() {
  std::uint32_t full = 0;
  std::erase_if(untold_, [&](const auto& one) {
    const auto& [lcore, news] = one;
    const std::uint32_t bit = std::uint32_t{1} << lcore;
    if ((full & bit) != 0 || !config_.exchange->of(lcore).news.push(news)) {
      full |= bit;
      return false;
    }
    config_.exchange->tell(lcore);
    return true;
  });
}

void host::on_news(instant now, const peer_news& news) {
  const auto found = peers_.find(news.ip);
  if (found == peers_.end()) return;
  peer& p = *found->second;
  if (news.error == 0) {
    if (p.epoch == 0 || p.epoch >= news.epoch) return;
    ++stats_.peers_lost;
    return give_up(now, p, errc::peer_lost, true);
  }
  if (p.epoch != news.epoch || p.known_since > news.when) return;
  give_up(now, p, static_cast<errc>(news.error), news.reconnect != 0);
  // What another lcore has found out was not this peer's silence here.
  if (news.reconnect != 0) p.lost_at = {};
}

}  // namespace nd::core
