// Channels come and go: handshake, restart and loss of peers.
#include <algorithm>

#include "lcore/host.hpp"

namespace nd::core {
namespace {

/// What INIT and COOKIE_ECHO ask for: a channel that can be, and whose id and tag are not those of
/// nobody (RFC 9260, section 3.3.2).
bool makes_sense(const wire::handshake_body& body) noexcept {
  return body.traffic_class < traffic_classes && body.mtu >= path_mtu::least && body.channel != 0 &&
         body.tag != 0;
}

/// The dynamic ports (RFC 6335).
std::uint16_t udp_source_of(std::uint32_t channel) noexcept {
  return static_cast<std::uint16_t>(49152 + channel % 16384);
}

const wire::handshake_body* body_of(const received_packet& in) noexcept {
  if (in.bytes.size() < sizeof(wire::channel_header) + sizeof(wire::handshake_body)) return nullptr;
  return &wire::at<wire::handshake_body>(
      static_cast<const void*>(in.bytes.data() + sizeof(wire::channel_header)));
}

}  // namespace

wire::packet_format host::handshake_format(std::uint32_t peer_ip) const noexcept {
  return {.source = peer_ip,
          .destination = config_.address.ip,
          .protocol = config_.address.protocol(),
          .crc = !config_.address.udp};
}

packet_route host::route_to(std::uint32_t ip, const mac_address& mac, std::uint8_t traffic_class,
                            std::uint32_t channel) const noexcept {
  packet_route route;
  route.mac = mac;
  route.ip = ip;
  route.udp_source = udp_source_of(channel);
  route.dscp_ecn = static_cast<std::uint8_t>(
      (traffic_class == 0 ? wire::dscp_throughput : wire::dscp_latency) | wire::ecn_ect0);
  return route;
}

/// Sends a packet with a body to somebody with whom there is no channel.
void host::answer(const received_packet& in, const wire::channel_header& header,
                  std::span<const std::byte> body) {
  if (tx_.full()) return;  // the device is full; whoever asked asks again
  rte_mbuf* m = allocate_segment(config_.packet_pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return;
  }
  wire::packet_writer writer(tx_payload(m), header, handshake_format(in.source_ip).reversed());
  writer.append_body(body);
  m->data_off = tx_headroom;
  m->data_len = static_cast<std::uint16_t>(writer.finish());
  m->pkt_len = m->data_len;
  transmit(m, route_to(in.source_ip, in.source_mac, 0, header.channel), tx_);
}

// Nothing is remembered: the answer carries all that the next packet needs.
void host::on_init(instant now, const received_packet& in) {
  const wire::handshake_body* init = body_of(in);
  if (init == nullptr || !makes_sense(*init)) {
    ++stats_.drop_malformed;
    return;
  }
  ++stats_.handshake_packets_received;
  wire::handshake_body body{};
  body.epoch = config_.epoch;
  body.mtu = device_.mtu;
  body.traffic_class = init->traffic_class;
  cookies_.bake(now, in.source_ip, *init, body);
  wire::channel_header header{};
  header.version = wire::nd_version;
  header.kind = wire::packet_kind::init_ack;
  header.channel = init->channel;
  header.tag = init->tag;
  answer(in, header, wire::bytes_of(body));
}

/// The channel that the peer calls by this id.
channel_entry* host::channel_called(const peer& p, std::uint32_t peer_id) noexcept {
  for (const peer::per_class& c : p.classes)
    for (channel_entry* e : c.channels)
      if (e->chan.peer_id() == peer_id) return e;
  return nullptr;
}

/// A cookie that comes late: it has opened a channel that was given up since, or it is from before
/// the peer opened `present` under the same id.
bool host::is_void(const peer& p, const channel_entry* present,
                   const wire::handshake_body& echo) noexcept {
  const instant baked(static_cast<std::int64_t>(std::uint64_t{echo.cookie_time}));
  if (echo.epoch == p.lost_epoch && baked < p.lost_at) return true;
  return present != nullptr && echo.epoch == p.epoch && baked < present->chan.opened_at();
}

void host::on_cookie_echo(instant now, const received_packet& in) {
  const wire::handshake_body* echo = body_of(in);
  if (echo == nullptr || !makes_sense(*echo)) {
    ++stats_.drop_malformed;
    return;
  }
  if (!cookies_.accepts(now, in.source_ip, *echo)) {
    ++stats_.drop_bad_cookie;
    return;
  }
  peer* const found = peer_of(now, in.source_ip);
  if (found == nullptr) {
    ++stats_.drop_too_many_peers;
    return;
  }
  peer& p = *found;
  if (echo->epoch < p.epoch) {
    ++stats_.drop_stale_epoch;
    return;
  }
  channel_entry* entry = channel_called(p, echo->channel);
  const bool repeated = entry != nullptr && entry->chan.peer_tag() == echo->tag;
  if (!repeated && is_void(p, entry, *echo)) {
    ++stats_.drop_bad_cookie;
    return;
  }
  if (p.epoch != 0 && echo->epoch > p.epoch) {
    ++stats_.peers_lost;
    lose_peer(now, p, errc::peer_lost, true);
    entry = nullptr;
  }
  learn_epoch(now, p, echo->epoch);
  // Behind a router all have its MAC address: that is no neighbour's.
  if (config_.address.on_link(in.source_ip)) neighbors_.confirm(in.source_ip, in.source_mac);

  if (entry != nullptr && !repeated) {  // it started over: nobody is at the other end of this one
    drop_channel(now, *entry);
    entry = nullptr;
  }
  if (entry == nullptr) {
    if (p.classes[echo->traffic_class].channels.size() >= max_channels_per_class) {
      ++stats_.drop_bad_handshake;
      return;
    }
    entry = create_channel(p, in.source_mac, echo->traffic_class);
    ++stats_.handshakes_accepted;
    on_peer_mtu(now, p, echo->mtu);
  }
  ++stats_.handshake_packets_received;
  entry->chan.accept(now, *echo);
  entry->route.udp_source = udp_source_of(echo->channel);
  entry->route.checksum = entry->chan.checksummed();
  activate(*entry);
  update_peer(p);
}

void host::on_handshake_answer(instant now, channel_entry& entry, wire::packet_kind kind,
                               const wire::handshake_body& body) {
  peer& p = entry.owner;
  if (body.epoch < p.epoch) {
    ++stats_.drop_stale_epoch;
    return;
  }
  if (!entry.chan.on_handshake(now, kind, body)) {
    ++stats_.drop_bad_handshake;
    return;
  }
  ++stats_.handshake_packets_received;
  if (entry.chan.state() != channel_state::open) return;
  if (p.epoch != 0 && body.epoch > p.epoch) {
    // It restarted while we connected: this channel is the first of its new life.
    std::erase(p.classes[entry.chan.traffic_class()].channels, &entry);
    lose_peer(now, p, errc::peer_lost, true);
    p.classes[entry.chan.traffic_class()].channels.push_back(&entry);
  }
  learn_epoch(now, p, body.epoch);
  on_peer_mtu(now, p, body.mtu);
  entry.route.udp_source = udp_source_of(entry.chan.peer_id());
  entry.route.checksum = entry.chan.checksummed();
  update_peer(p);
}

void host::learn_epoch(instant now, peer& p, std::uint64_t epoch) {
  // What was taken for its end was a pause: from now on it gets more time.
  if (std::exchange(p.fell_silent, false) && epoch == p.lost_epoch) {
    ++stats_.peers_returned;
    ++p.pauses;
  }
  if (std::exchange(p.epoch, epoch) == epoch) return;
  p.known_since = now;
  tell_lcores({.epoch = epoch, .when = now, .ip = p.ip});
}

/// Keeps what channels are told of their peer up to date.
void host::update_peer(peer& p) {
  for (peer::per_class& c : p.classes) {
    for (channel_entry* e : c.channels) {
      e->chan.set_sharing(static_cast<unsigned>(c.channels.size()));
      e->chan.set_keepalive(p.sockets > 0);
      e->chan.set_busy_timeout(config_.values.peer_timeout / 4 *
                               (std::int64_t{1} << std::min(p.pauses, 2)));
      e->payload = e->chan.max_payload();
      if (p.sockets > 0) timers_.arm_no_later(e->wake, e->chan.next_deadline());
    }
    if (!c.ready.empty()) activate(p);
  }
}

channel_entry* host::find_channel(std::uint32_t id) const noexcept {
  const std::uint32_t number = channel_number(id, config_.place.count);
  const bool ours = id != 0 && lcore_of_channel(id, config_.place.count) == config_.place.index;
  return ours && number < channels_.size() ? channels_[number].get() : nullptr;
}

/// The lowest one, or one by whose id the device brings the channel's packets to this lcore.
std::size_t host::free_channel_number(std::uint32_t peer_ip) const {
  const auto is_free = [this](std::size_t n) {
    return n >= channels_.size() || channels_[n] == nullptr;
  };
  std::size_t first = 0;
  while (!is_free(first)) ++first;
  if (!config_.comes_here) return first;
  constexpr std::size_t tries = 256;  // of which one in as many as there are lcores will do
  for (std::size_t n = first; n < first + tries; ++n) {
    const std::uint32_t id = channel_id(static_cast<std::uint32_t>(n), config_.place);
    if (is_free(n) && config_.comes_here(peer_ip, udp_source_of(id))) return n;
  }
  return first;
}

channel_entry* host::create_channel(peer& p, const mac_address& mac, std::uint8_t traffic_class) {
  const std::size_t index = free_channel_number(p.ip);
  if (index >= channels_.size()) channels_.resize(index + 1);

  channel_config c;
  c.id = channel_id(static_cast<std::uint32_t>(index), config_.place);
  c.tag = static_cast<std::uint32_t>(random_.next() | 1);
  c.epoch = config_.epoch;
  c.first_number = config_.first_number.value_or(static_cast<std::uint32_t>(random_.next()));
  c.skip_seed = random_.next();
  c.mtu = device_.mtu;
  c.traffic_class = traffic_class;
  c.allow_no_checksum = config_.values.checksum == "none";
  c.ip_overhead = config_.address.ip_overhead();
  c.format = handshake_format(p.ip).reversed();
  c.initial_window = static_cast<std::uint64_t>(config_.values.initial_window);
  c.congestion = congestion_mode_of(config_.values.congestion);
  c.ack_hold = std::min(config_.values.ack_hold, config_.values.max_ack_delay);
  c.max_ack_delay = config_.values.max_ack_delay;
  c.keepalive = config_.values.keepalive;
  c.peer_timeout = config_.values.peer_timeout;
  c.connect_timeout = config_.values.connect_timeout;

  channels_[index] = std::make_unique<channel_entry>(c, stats_, p);
  channel_entry& entry = *channels_[index];
  entry.route = route_to(p.ip, mac, traffic_class, c.id);
  p.classes[traffic_class].channels.push_back(&entry);
  activate(entry);
  return &entry;
}

void host::open_channels(instant now, peer& p, std::size_t traffic_class) {
  if (!p.classes[traffic_class].channels.empty()) return;
  const auto mac = find_way(now, p);
  if (!mac) return;
  const std::int64_t wanted =
      traffic_class == 0 ? config_.values.channels_throughput : config_.values.channels_latency;
  // A socket sends over its own lcore's channels: each lcore has one at least.
  const std::int64_t share = (wanted + config_.place.count - 1) / config_.place.count;
  for (std::int64_t n = std::max<std::int64_t>(share, 1); n > 0; --n) {
    channel_entry* entry = create_channel(p, *mac, static_cast<std::uint8_t>(traffic_class));
    entry->chan.open(now);
    ++stats_.handshakes_started;
  }
  update_peer(p);
}

/// A channel is stalled: what it holds leaves over another one, where there is one that works.
void host::relieve(instant now, channel_entry& entry) {
  if (!entry.owner.classes[entry.chan.traffic_class()].any_live()) return;
  entry.chan.give_away(now, verdicts_);
  apply_verdicts(now, entry.owner);
}

/// The peer does not answer on this channel: whether it does on another one. A channel that does
/// not open may be missing; records can only wait for those that are open to work again where
/// another one carries them, which is one of their class.
bool host::others_answer(instant now, const channel_entry& entry) {
  const bool opening = entry.chan.state() != channel_state::open;
  for (const peer::per_class& c : entry.owner.classes) {
    if (!opening && &c != &entry.owner.classes[entry.chan.traffic_class()]) continue;
    for (const channel_entry* e : c.channels) {
      if (e == &entry || e->chan.state() != channel_state::open) continue;
      if (now - e->chan.last_heard() < entry.chan.patience()) return true;
    }
  }
  return false;
}

void host::drop_channel(instant now, channel_entry& entry) {
  ++stats_.channels_failed;
  peer& p = entry.owner;
  entry.chan.kill(verdicts_);
  timers_.disarm(entry.wake);
  std::erase(p.classes[entry.chan.traffic_class()].channels, &entry);
  bury(entry);
  apply_verdicts(now, p);
  update_peer(p);
}

/// The peer's runtime ends. It waits for our answer, so that it knows that we know.
void host::on_close(instant now, channel_entry& entry) {
  ++stats_.peers_closed;
  if (frames_out& out = lane_of(entry); !entry.chan.close_sent() && !out.full())
    if (rte_mbuf* m = entry.chan.close_packet(now, config_.packet_pool))
      transmit(m, entry.route, out);
  sockets_.for_each([&](socket_entry& s) {
    if (&s.owner != &entry.owner) return;
    s.sock.on_peer_goodbye();
    settle(now, s, socket_outcome::ok);
  });
  give_up(now, entry.owner, errc::connection_reset, false);  // the others are told by it too
}

/// It acknowledges what it can not have: nothing it says about this channel is worth anything.
void host::on_lying_peer(instant now, peer& p) {
  ++stats_.peers_lying;
  ++stats_.peers_lost;
  events_.push(now, {.kind = event_kind::peer_lied, .ip = p.ip});
  lose_peer(now, p, errc::protocol_error, false);
}

// With `reconnect`, connections that were still being opened try again over new channels: they had
// nothing that the old ones could lose. What the old peer answered already must not be mixed with
// what another says.
void host::lose_peer(instant now, peer& p, errc error, bool reconnect) {
  if (p.epoch != 0)
    tell_lcores({.epoch = p.epoch,
                 .when = now,
                 .ip = p.ip,
                 .error = static_cast<std::uint16_t>(error),
                 .reconnect = reconnect});
  give_up(now, p, error, reconnect);
}

/// The same for this lcore alone.
void host::give_up(instant now, peer& p, errc error, bool reconnect) {
  for (peer::per_class& c : p.classes) {
    for (channel_entry* e : std::exchange(c.channels, {})) {
      e->chan.kill(verdicts_);
      timers_.disarm(e->wake);
      bury(*e);
    }
  }
  if (p.epoch != 0) p.lost_epoch = p.epoch;
  p.lost_at = p.gone_at = now;
  p.fell_silent = false;
  p.epoch = 0;
  apply_verdicts(now, p);
  return_forwarded(p);
  p.resets.clear();
  p.connections.clear();
  sockets_.for_each([&](socket_entry& s) {
    if (&s.owner != &p) return;
    if (reconnect && !s.sock.was_answered()) {
      s.sock.repeat_sync();
      return settle(now, s, socket_outcome::ok);
    }
    s.sock.fail(error);
    settle(now, s, socket_outcome::ok);
  });
}

// --- Strangers ----------------------------------------------------------------------------------

/// A packet of a channel that we do not have: from before we started, or after it was given up.
/// The answer is not larger than what provoked it, and its number is limited.
void host::answer_unknown(instant now, const received_packet& in) {
  ++stats_.drop_unknown_channel;
  const auto& provoked = wire::at<wire::channel_header>(static_cast<const void*>(in.bytes.data()));
  // Nobody's tag is 0: an ABORT that reflects it tells nobody anything (RFC 9260, section 8.5.1).
  if (provoked.tag == 0 || !aborts_.allow(now, in.source_ip)) return;
  wire::channel_header header{};
  header.version = wire::nd_version;
  header.kind = wire::packet_kind::abort;
  header.channel = provoked.channel;
  header.tag = provoked.tag;
  answer(in, header, {});
  ++stats_.aborts_sent;
}

/// Believed only with the id and tag that we put into packets to this peer (RFC 9260, 8.5.1).
void host::on_abort(instant now, const received_packet& in) {
  const auto& header = wire::at<wire::channel_header>(static_cast<const void*>(in.bytes.data()));
  const auto found = peers_.find(in.source_ip);
  if (found != peers_.end()) {
    for (const peer::per_class& c : found->second->classes) {
      for (channel_entry* e : c.channels) {
        if (e->chan.state() != channel_state::open || e->chan.peer_id() != header.channel ||
            e->chan.peer_tag() != header.tag)
          continue;
        ++stats_.aborts_received;
        // It has given up opening this one. Of others, which may be other lcores', that says
        // nothing.
        if (e->chan.never_heard()) return drop_channel(now, *e);
        ++stats_.peers_lost;
        lose_peer(now, *found->second, errc::peer_lost, true);
        // It gave us up before it said so: a channel that it opens now is a new one.
        found->second->lost_at = {};
        return;
      }
    }
  }
  ++stats_.drop_unknown_channel;
}

}  // namespace nd::core
