// What applications ask for, what timers remind of, and what becomes of sockets.
#include <algorithm>
#include <utility>

#include "lcore/host.hpp"

namespace nd::core {

std::size_t host::serve_requests(instant now) {
  const stage_meter::scope in_socket(meter_, stage::socket);
  std::array<app_end*, burst> ends;
  const std::size_t n = mailbox_.pop(ends);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t requests = ends[i]->requests.exchange(0, std::memory_order_acq_rel);
    if (ends[i]->what == app_end::kind::socket)
      on_socket_request(now, static_cast<socket_link&>(*ends[i]), requests);
    else
      on_listener_request(now, static_cast<listener_link&>(*ends[i]), requests);
  }
  return n;
}

void host::on_socket_request(instant now, socket_link& link, std::uint32_t requests) {
  if ((requests & request_connect) != 0) connect(now, link);
  if (link.traffic_class == latency_class) latency_seen_ = now;
  if (socket_entry* s = sockets_.find(link.owner)) {
    settle(now, *s, s->sock.on_requests(now, requests));
  } else {
    link.drop_writes();  // of a connection that had failed meanwhile
  }
  if ((requests & request_close) != 0) link.release();  // the application's reference
}

void host::on_listener_request(instant now, listener_link& link, std::uint32_t requests) {
  const auto answer = [&](errc error) {
    link.error.store(static_cast<int>(error), std::memory_order_relaxed);
    link.status.fetch_or(socket_link::failed, std::memory_order_release);
  };
  if ((requests & request_listen) != 0) {
    if (link.port == 0) link.port = free_port(0, 0);
    if (device_gone_) {
      answer(errc::no_device);
    } else if (link.port == 0) {
      answer(errc::address_not_available);
    } else if (!listeners_.try_emplace(link.port, &link).second) {
      answer(errc::address_in_use);
    } else {
      link.listening = true;
      link.status.fetch_or(socket_link::connected, std::memory_order_release);
    }
  }
  if ((requests & request_close) == 0) return;
  if (link.listening) {
    listeners_.erase(link.port);
    no_port_for_.reset();
    // Nobody will accept these: a close with an application that never was.
    while (socket_link* waiting = link.accepted.pop()) {
      if (socket_entry* s = sockets_.find(waiting->owner))
        settle(now, *s, s->sock.on_requests(now, request_close | request_abort));
      waiting->release();
    }
  }
  delete &link;
}

socket_entry* host::create_socket(socket_link& link, const socket_key& key,
                                  std::uint64_t connection, peer& p) {
  if (credit_.held() >= credit_.limit()) return nullptr;
  socket_entry* s = sockets_.create(environment_, &link, key, connection, p);
  if (s == nullptr) return nullptr;
  link.owner = s->sock.handle();
  s->sock.set_max_segment(path_payload(p, link.traffic_class));
  if (p.sockets++ == 0) update_peer(p);
  return s;
}

/// Payload bytes that a record of this class should have: what every channel's path takes.
std::uint32_t host::path_payload(const peer& p, std::size_t traffic_class) const noexcept {
  std::uint32_t least = max_payload();
  for (const channel_entry* e : p.classes[traffic_class].channels)
    least = std::min<std::uint32_t>(least, e->chan.max_payload());
  return least;
}

/// A channel's path takes more, or less, than its sockets know.
void host::on_path_mtu(channel_entry& entry) {
  entry.payload = entry.chan.max_payload();
  const std::size_t traffic_class = entry.chan.traffic_class();
  const std::uint32_t payload = path_payload(entry.owner, traffic_class);
  sockets_.for_each([&](socket_entry& s) {
    if (&s.owner == &entry.owner && s.sock.traffic_class() == traffic_class)
      s.sock.set_max_segment(payload);
  });
}

void host::connect(instant now, socket_link& link) {
  const auto refuse = [&](errc error) {
    link.error.store(static_cast<int>(error), std::memory_order_relaxed);
    link.status.fetch_or(socket_link::failed, std::memory_order_release);
    link.release();  // the stack's reference: there is no socket
  };
  if (device_gone_) return refuse(errc::no_device);
  if (link.peer_address == config_.address.ip) return refuse(errc::address_not_available);
  const std::uint16_t port = free_port(link.peer_address, link.peer_port);
  if (port == 0) return refuse(errc::address_not_available);
  peer* const found = peer_of(now, link.peer_address);
  if (found == nullptr) return refuse(errc::no_buffer_space);
  peer& p = *found;
  const socket_key key{p.ip, port, link.peer_port};
  socket_entry* s = create_socket(link, key, next_connection_++, p);
  if (s == nullptr) return refuse(errc::no_buffer_space);
  s->sock.connect(now, config_.values.connect_timeout);
  s->sync_held = !p.syncs_held.empty();
  if (!s->sync_held) send_sync(*s);
  if (s->sync_held) p.syncs_held.push_back(s->sock.handle());
  settle(now, *s, socket_outcome::ok);
}

/// Lets the SYN of a new connection go, or holds it back.
void host::send_sync(socket_entry& s) {
  peer& p = s.owner;
  if (p.syncs_under_way == 0) p.first_sync = s.sock.connection();
  s.sync_held = s.sock.connection() - p.first_sync >= received_numbers::window / 2;
  if (s.sync_held) return;
  s.sync_under_way = true;
  ++p.syncs_under_way;
}

/// The SYN has arrived, or its connection has ended.
void host::on_sync_arrived(socket_entry& s) {
  if (!std::exchange(s.sync_under_way, false)) return;
  peer& p = s.owner;
  if (--p.syncs_under_way > 0) return;
  for (; !p.syncs_held.empty(); p.syncs_held.pop_front()) {
    socket_entry* next = sockets_.find(p.syncs_held.front());
    if (next == nullptr) continue;
    send_sync(*next);
    if (next->sync_held) return;
    make_ready(*next);
  }
}

/// A port from 16384 on that neither a listener nor a connection to the peer's port has, and with
/// which the connection belongs to this lcore; for a listener, any. 0 when there is none. They are
/// given in turn, so that one is not used again soon.
std::uint16_t host::free_port(std::uint32_t peer_ip, std::uint16_t peer_port) {
  constexpr std::uint16_t first = 16384;
  // Whoever goes on asking must not make the loop look at all of them each time.
  const socket_key asked{peer_ip, 0, peer_port};
  if (no_port_for_ == asked) return 0;
  for (unsigned tries = 0; tries < 65536U - first; ++tries) {
    const std::uint16_t port = next_port_;
    next_port_ = port == 65535 ? first : static_cast<std::uint16_t>(port + 1);
    const bool ours = peer_port == 0 ||
                      lcore_of_ports(port, peer_port, config_.place.count) == config_.place.index;
    if (ours && !listeners_.contains(port) && sockets_.find({peer_ip, port, peer_port}) == nullptr)
      return port;
  }
  no_port_for_ = asked;
  return 0;
}

/// Returns how many of channels and sockets that was.
std::size_t host::on_timer(instant now, timer& t) {
  const stage_meter::scope in_channel(meter_, stage::channel);
  switch (t.kind()) {
    case timer::owner_kind::channel:
      on_channel_timer(now, *static_cast<channel_entry*>(t.owner()));
      return 1;
    case timer::owner_kind::socket: {
      auto& entry = *static_cast<socket_entry*>(t.owner());
      settle(now, entry, entry.sock.on_timer(now));
      return 1;
    }
    case timer::owner_kind::neighbor: on_neighbor_timer(now); break;
    case timer::owner_kind::watch: watch(now); break;
  }
  return 0;
}

void host::on_channel_timer(instant now, channel_entry& entry) {
  const bool answered = entry.chan.on_timer(now, verdicts_);
  apply_verdicts(now, entry.owner);
  const bool opening = entry.chan.state() != channel_state::open;
  if (!answered && !others_answer(now, entry)) {
    ++stats_.peers_lost;
    // It, or the router, may have another MAC address by now: asked for when it is tried again.
    neighbors_.forget(next_hop(entry.owner.ip));
    lose_peer(now, entry.owner, opening ? errc::host_unreachable : errc::peer_lost, false);
    entry.owner.fell_silent = !opening;
    return;
  }
  if (!answered && opening) return drop_channel(now, entry);
  if (entry.chan.stalled()) relieve(now, entry);
  if (entry.chan.max_payload() != entry.payload) on_path_mtu(entry);
  activate(entry);
}

/// Does what a socket's outcome asks for, and looks after it: every call into a socket ends here.
void host::settle(instant now, socket_entry& s, socket_outcome outcome) {
  const socket_state state = s.sock.state();
  const auto reset = [&](wire::reset_reason reason, errc error) {
    if (state == socket_state::closed) return;
    // A SYNC that never left has nobody to be told.
    if (state != socket_state::sync_sent || s.sock.sync_was_sent())
      push_reset(s.owner, s.sock.reset_record(reason));
    ++stats_.connections_reset;
    s.sock.fail(error);
  };
  switch (outcome) {
    case socket_outcome::ok:
    case socket_outcome::ignored:
    case socket_outcome::no_memory: break;
    case socket_outcome::protocol_error:
      ++stats_.protocol_errors;
      reset(wire::reset_reason::protocol_error, errc::protocol_error);
      break;
    case socket_outcome::unwanted:
      reset(wire::reset_reason::aborted, errc::connection_aborted);
      break;
    case socket_outcome::timed_out: {
      // A channel that is being opened has the same limit: whichever timer fires first.
      const auto& channels = s.owner.classes[s.sock.traffic_class()].channels;
      const bool unanswered = state == socket_state::sync_sent && !channels.empty() &&
                              std::ranges::none_of(channels, [](const channel_entry* e) {
                                return e->chan.state() == channel_state::open;
                              });
      reset(wire::reset_reason::aborted, unanswered ? errc::host_unreachable : errc::timed_out);
      break;
    }
  }
  if (s.sock.finished()) return finish(s);
  if (s.sock.wants_to_send()) make_ready(s);
  const instant deadline = s.sock.next_deadline();
  if (!deadline.is_never()) timers_.arm_no_later(s.wake, std::max(deadline, now));
}

void host::finish(socket_entry& s) {
  peer& p = s.owner;
  timers_.disarm(s.wake);
  on_sync_arrived(s);
  p.classes[s.sock.traffic_class()].ready.remove(s);
  sockets_.destroy(&s);
  no_port_for_.reset();
  if (--p.sockets == 0) update_peer(p);
}

/// Tells sockets what became of their records. A record without an owner is a reset: it is sent
/// again until it arrives. Bytes whose socket is gone are freed here.
void host::apply_verdicts(instant now, peer& p) {
  for (const wire::record& r : verdicts_.acked) {
    if (r.home != wire::record::own)
      send_back(p, r, true);
    else
      on_verdict(now, r, true);
  }
  for (const wire::record& r : verdicts_.lost) {
    if (r.home != wire::record::own)
      send_back(p, r, false);
    else if (r.type == wire::record_type::reset)
      push_reset(p, r);
    else
      on_verdict(now, r, false);
  }
  verdicts_.clear();
}

/// A record of a socket here, which may be gone.
void host::on_verdict(instant now, const wire::record& r, bool arrived) {
  socket_entry* const s = sockets_.find(r.owner);
  if (s == nullptr) return rte_pktmbuf_free(r.segment);
  if (arrived) {
    s->sock.on_acked(r);
    if (r.type == wire::record_type::sync) on_sync_arrived(*s);
  } else {
    s->sock.on_lost(r);
  }
  settle(now, *s, socket_outcome::ok);
}

}  // namespace nd::core
