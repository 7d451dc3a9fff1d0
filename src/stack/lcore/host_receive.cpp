// Frames in: parse, channel, demultiplex by ND type, socket.
#include <rte_prefetch.h>

#include <algorithm>

#include "lcore/host.hpp"

namespace nd::core {

std::size_t host::receive(instant now) {
  if (device_gone_) return 0;
  const stage_meter::scope in_rx(meter_, stage::rx);
  std::array<rte_mbuf*, 2 * burst> frames;
  std::size_t n = port_.rx_urgent(now, std::span(frames).first(burst));
  // Who waits for these gets them now. The others' turn comes with the next call at the latest.
  const bool sliced = bulk_packets_ > 0 && (n > 0 || serves_latency(now));
  bulk_waited_ = sliced && n > 0 && !bulk_waited_;
  if (!bulk_waited_) {
    const std::size_t most = sliced ? std::min(bulk_packets_, burst) : burst;
    const std::size_t bulk = port_.rx_burst(now, std::span(frames).subspan(n, most));
    full_bursts_ = sliced && bulk == most ? full_bursts_ + 1 : 0;
    n += bulk;
  }
  for (rte_mbuf* m : std::span(frames).first(n)) rte_prefetch0(rte_pktmbuf_mtod(m, void*));
  for (rte_mbuf* m : std::span(frames).first(n)) {
    ++stats_.rx_packets;
    stats_.rx_bytes += m->pkt_len;
    on_frame(now, mbuf_ptr(m));
  }
  return n;
}

void host::on_frame(instant now, mbuf_ptr frame) {
  const stage_meter::scope in_parse(meter_, stage::parse);
  if (frame->nb_segs > 1 && rte_pktmbuf_linearize(frame.get()) != 0) {
    ++stats_.drop_malformed;
    return;
  }
  received_packet in;
  switch (parse_frame(frame.get(), config_.address, in)) {
    case frame_verdict::nd_packet: return on_packet(now, std::move(frame), in);
    case frame_verdict::arp: return on_arp(now, std::move(frame));
    case frame_verdict::icmp: return on_icmp(now, std::move(frame), in);
    case frame_verdict::not_ours: ++stats_.drop_not_ours; return;
    case frame_verdict::malformed: ++stats_.drop_malformed; return;
    case frame_verdict::cut: return on_cut(now, in);
    case frame_verdict::bad_checksum: ++stats_.drop_checksum; return;
  }
}

void host::on_packet(instant now, mbuf_ptr packet, const received_packet& in) {
  if (in.bytes.size() < sizeof(wire::channel_header)) {
    ++stats_.drop_malformed;
    return;
  }
  const auto& header = wire::at<wire::channel_header>(static_cast<const void*>(in.bytes.data()));
  if (header.version != wire::nd_version) {
    ++stats_.drop_malformed;
    return;
  }
  channel_entry* entry = find_channel(header.channel);
  if (entry != nullptr && entry->chan.tag() == header.tag && entry->owner.ip == in.source_ip)
    return on_channel_packet(now, std::move(packet), in, *entry);
  if (entry != nullptr && entry->chan.had_tag(header.tag) && entry->owner.ip == in.source_ip) {
    ++stats_.drop_bad_handshake;  // an ABORT would end more than what this one knows of
    return;
  }

  // No channel of ours: a handshake, an abort, or somebody we do not know (any more).
  if (!config_.address.is_another_host(in.source_ip)) {  // RFC 9260, 8.4
    ++stats_.drop_not_ours;
    return;
  }
  received_packet checked = in;
  if (!in.checksummed || !wire::verify_and_trim(checked.bytes, handshake_format(in.source_ip))) {
    // Of a channel whose ends have left checksums out, and that only the other one still has.
    const bool unchecked = config_.values.checksum == "none" && !wire::is_handshake(header.kind) &&
                           header.kind != wire::packet_kind::abort;
    if (unchecked && in.bytes.size() >= sizeof header + handshake_format(0).trailer_size())
      return answer_unknown(now, in);
    ++stats_.drop_checksum;
    return;
  }
  switch (header.kind) {
    case wire::packet_kind::init: return on_init(now, checked);
    case wire::packet_kind::cookie_echo: return on_cookie_echo(now, checked);
    case wire::packet_kind::abort: return on_abort(now, checked);
    default: return answer_unknown(now, checked);
  }
}

void host::on_channel_packet(instant now, mbuf_ptr packet, const received_packet& in,
                             channel_entry& entry) {
  const auto header = wire::at<wire::channel_header>(static_cast<const void*>(in.bytes.data()));
  channel& c = entry.chan;
  const bool handshake = wire::is_handshake(header.kind);
  std::span<std::byte> bytes = in.bytes;
  const auto format = handshake ? handshake_format(in.source_ip) : c.format().reversed();
  const bool checksum_there = in.checksummed || (!handshake && !c.checksummed());
  if (!checksum_there || !wire::verify_and_trim(bytes, format)) {
    ++stats_.drop_checksum;
    return;
  }
  const stage_meter::scope in_channel(meter_, stage::channel);
  const std::span<std::byte> records = bytes.subspan(sizeof header);
  activate(entry);
  if (handshake) {
    const bool answer =
        header.kind == wire::packet_kind::init_ack || header.kind == wire::packet_kind::cookie_ack;
    if (!answer) {
      ++stats_.drop_bad_handshake;
      return;
    }
    if (records.size() < sizeof(wire::handshake_body)) {
      ++stats_.drop_malformed;
      return;
    }
    return on_handshake_answer(
        now, entry, header.kind,
        wire::at<wire::handshake_body>(static_cast<const void*>(records.data())));
  }
  if (c.state() != channel_state::open) {
    ++stats_.drop_bad_handshake;
    return;
  }
  c.heard(now);
  const bool numbered =
      header.kind == wire::packet_kind::data || header.kind == wire::packet_kind::probe;
  if (!numbered && header.kind != wire::packet_kind::ack &&
      header.kind != wire::packet_kind::close) {
    ++stats_.drop_bad_handshake;
    return;
  }

  // The acknowledgement first, whatever becomes of the rest.
  ranges_.clear();
  if (wire::has_records(header.kind)) {
    wire::record_reader reader(records);
    for (wire::record_view r; reader.next(r);) {
      if (r.type() != wire::record_type::ack_ranges) continue;
      for (std::size_t at = 0; at + sizeof(wire::ack_range) <= r.payload.size() &&
                               ranges_.size() < wire::max_ack_ranges;
           at += sizeof(wire::ack_range))
        ranges_.push_back(wire::at<wire::ack_range>(static_cast<const void*>(&r.payload[at])));
    }
    if (!reader.ok()) {
      ++stats_.drop_malformed;
      return;
    }
  }
  if (!c.on_acknowledgement(now, header, ranges_, verdicts_)) {
    ++stats_.drop_bad_ack;
    if (c.peer_lied()) on_lying_peer(now, entry.owner);
    return;
  }
  apply_verdicts(now, entry.owner);
  if (c.max_payload() != entry.payload) on_path_mtu(entry);
  if (header.kind == wire::packet_kind::close) return on_close(now, entry);
  if (!numbered) {
    ++stats_.acks_received;
    return;
  }

  if (!is_fresh(c, header)) return;
  const bool crowded = full_bursts_ >= crowded_after && c.traffic_class() != latency_class;
  const handed_packet what{.header = header,
                           .arrived = now,
                           .bytes = in.bytes.size(),
                           .congestion_experienced = in.congestion_experienced || crowded};
  if (header.kind == wire::packet_kind::data) {
    if (c.traffic_class() == latency_class) latency_seen_ = now;
    const std::uint32_t lcores = lcores_of(records);
    if ((lcores & ~(std::uint32_t{1} << config_.place.index)) != 0)
      return hand_out(now, std::move(packet), entry, what, records, lcores);
    if (!deliver(now, packet, entry.owner, records)) {
      ++stats_.drop_no_memory;
      return;
    }
  }
  accept(now, entry, what);
}

bool host::is_fresh(channel& c, const wire::channel_header& header) {
  switch (c.classify(header)) {
    case received_numbers::verdict::duplicate: ++stats_.drop_duplicate; return false;
    case received_numbers::verdict::beyond_window: ++stats_.drop_beyond_window; return false;
    case received_numbers::verdict::fresh: return true;
  }
  return false;
}

// The table by type. Types without a row are skipped: they may be a later version's.
host::record_handler host::handler_of(wire::record_type type) noexcept {
  switch (type) {
    case wire::record_type::data: return &host::on_data;
    case wire::record_type::ack: return &host::on_grant;
    case wire::record_type::notification: return &host::on_notification;
    case wire::record_type::sync_ack: return &host::on_sync_ack;
    case wire::record_type::fin: return &host::on_fin;
    case wire::record_type::reset: return &host::on_reset;
    default: return nullptr;
  }
}

/// Gives each record to its socket, but for those of other lcores' sockets. False when one could
/// not be kept: the packet must not be acknowledged, and those that were kept are recognised when
/// they come again. The others are kept all the same: the bytes that would make room may lie behind
/// those there is no room for.
bool host::deliver(instant now, mbuf_ptr& packet, peer& p, std::span<std::byte> records) {
  const stage_meter::scope in_socket(meter_, stage::socket);
  wire::record_reader reader(records);
  bool first = true, all_kept = true;
  for (wire::record_view r; reader.next(r); first = false) {
    if (r.type() == wire::record_type::ack_ranges || !is_ours(r)) continue;
    ++stats_.records_received;
    if (r.type() == wire::record_type::sync) {
      all_kept = on_sync(now, p, r) && all_kept;
      continue;
    }
    const record_handler handler = handler_of(r.type());
    if (handler == nullptr) {
      ++stats_.records_unknown_type;
      continue;
    }
    socket_entry* s = sockets_.find({p.ip, r.header->dest, r.header->source});
    if (s == nullptr) {
      ++stats_.records_unknown_socket;
      all_kept = refuse_unknown(p, r) && all_kept;
      continue;
    }
    if (const socket_outcome granted = s->sock.on_grant(seq32(r.header->grant_seq));
        granted != socket_outcome::ok) {
      settle(now, *s, granted);
      continue;
    }
    const bool alone = first && reader.at_end();
    const socket_outcome outcome = (this->*handler)(now, packet, *s, r, alone);
    if (outcome == socket_outcome::no_memory)
      all_kept = false;
    else if (outcome != socket_outcome::ok || !s->touched)
      settle(now, *s, outcome);  // hand_over() settles what was touched
  }
  return all_kept;
}

socket_outcome host::on_data(instant, mbuf_ptr& packet, socket_entry& s,
                             const wire::record_view& record, bool alone) {
  const socket_outcome outcome = s.sock.on_data(packet, record, alone);
  if (outcome == socket_outcome::ignored) ++stats_.records_duplicate;
  touch(s);
  return outcome;
}

socket_outcome host::on_grant(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool) {
  return socket_outcome::ok;  // each record's header carries it
}

socket_outcome host::on_notification(instant, mbuf_ptr&, socket_entry& s,
                                     const wire::record_view& record, bool) {
  const auto* body = record.body<wire::notification_body>();
  s.sock.on_notification(body != nullptr ? std::uint64_t{body->until} : ~std::uint64_t{0});
  return socket_outcome::ok;
}

socket_outcome host::on_sync_ack(instant, mbuf_ptr&, socket_entry& s,
                                 const wire::record_view& record, bool) {
  const auto* body = record.body<wire::sync_ack_body>();
  if (body == nullptr) return socket_outcome::protocol_error;
  touch(s);
  return s.sock.on_sync_ack(*body);
}

socket_outcome host::on_fin(instant, mbuf_ptr&, socket_entry& s, const wire::record_view& record,
                            bool) {
  const auto* body = record.body<wire::fin_body>();
  if (body == nullptr) return socket_outcome::protocol_error;
  touch(s);
  return s.sock.on_fin(body->final_offset);
}

socket_outcome host::on_reset(instant, mbuf_ptr&, socket_entry& s, const wire::record_view& record,
                              bool) {
  const auto* body = record.body<wire::reset_body>();
  if (body == nullptr) return socket_outcome::protocol_error;
  if (body->connection != s.sock.connection()) return socket_outcome::ignored;
  // A SYNC_ACK that was sent twice may find the connection over: then its end is known here.
  if (body->reason == wire::reset_reason::unknown && s.sock.knows_end()) {
    return socket_outcome::ignored;
  }
  errc error = errc::connection_reset;
  if (body->reason == wire::reset_reason::protocol_error) error = errc::protocol_error;
  if (s.sock.state() == socket_state::sync_sent)
    error = errc::connection_refused;
  else
    ++stats_.connections_reset;
  s.sock.fail(error);
  return socket_outcome::ok;
}

bool host::is_new_connection(peer& p, std::uint64_t id) {
  constexpr std::uint64_t half = received_numbers::window / 2;
  const auto [of_lcore, first] = p.connections.try_emplace(lcore_of_connection(id));
  received_numbers& seen = of_lcore->second;
  if (first) seen.start_at(id - std::min(id, half));
  if (seen.classify(id) == received_numbers::verdict::beyond_window) seen.forget_below(id - half);
  if (seen.classify(id) != received_numbers::verdict::fresh) return false;
  seen.insert(id);
  return true;
}

/// A reset that overtook its SYNC, or a forged one, leaves the peer with a connection that nobody
/// has here. What asks for an answer, and says of which connection it is, gets one. False when
/// there is no room for it.
bool host::refuse_unknown(peer& p, const wire::record_view& record) {
  const bool asks = record.type() == wire::record_type::sync_ack ||
                    record.type() == wire::record_type::notification;
  const auto* connection = record.body<wire::be64>();  // both begin with it
  if (!asks || connection == nullptr) return true;
  if (p.resets.size() >= most_resets) return false;
  wire::record r;
  r.source = record.header->dest;
  r.dest = record.header->source;
  r.type = wire::record_type::reset;
  r.set_body(wire::reset_body{*connection, wire::reset_reason::unknown});
  push_reset(p, r);
  return true;
}

/// False when there is no room for an answer: the SYNC comes again.
bool host::on_sync(instant now, peer& p, const wire::record_view& record) {
  const auto* body = record.body<wire::sync_body>();
  if (body == nullptr || body->traffic_class >= traffic_classes ||
      !socket::is_possible_grant(environment_, body->grant)) {
    ++stats_.protocol_errors;
    return true;
  }
  if (p.resets.size() >= most_resets) return false;
  const socket_key key{p.ip, record.header->dest, record.header->source};
  if (!is_new_connection(p, body->connection)) return true;  // it repeats itself
  if (socket_entry* forgotten = sockets_.find(key)) {
    // The peer no longer knows the connection that had these ports. What came before is still the
    // application's to read.
    forgotten->sock.fail(errc::connection_reset);
    sockets_.release_key(*forgotten);
    settle(now, *forgotten, socket_outcome::ok);
  }
  const auto refuse = [&] {
    ++stats_.connections_refused;
    wire::record r;
    r.source = key.local_port;
    r.dest = key.peer_port;
    r.type = wire::record_type::reset;
    r.set_body(wire::reset_body{body->connection, wire::reset_reason::refused});
    push_reset(p, r);
    return true;
  };
  const auto listening = listeners_.find(key.local_port);
  if (listening == listeners_.end()) return refuse();
  listener_link& listener = *listening->second;
  if (listener.accepted.size() >= listener.backlog) return refuse();

  auto link = std::make_unique<socket_link>();
  link->peer_address = p.ip;
  link->peer_port = key.peer_port;
  link->traffic_class = body->traffic_class;
  link->lcore = static_cast<std::uint8_t>(config_.place.index);
  link->send_buffer = static_cast<std::uint64_t>(config_.values.send_buffer);
  link->receive_buffer = static_cast<std::uint64_t>(config_.values.receive_buffer);
  socket_entry* s = create_socket(*link, key, body->connection, p);
  if (s == nullptr) return refuse();
  s->sock.accept(body->grant);
  ++stats_.connections_accepted;
  socket_link* const waiting = link.release();
  if (listener.accepted.push(waiting)) {
    settle(now, *s, socket_outcome::ok);
    return true;
  }
  settle(now, *s, s->sock.on_requests(now, request_close | request_abort));
  waiting->release();
  return true;
}

void host::touch(socket_entry& s) {
  if (s.touched) return;
  s.touched = true;
  touched_.push_back(s.sock.handle());
}

void host::hand_over(instant now) {
  const stage_meter::scope in_socket(meter_, stage::socket);
  for (const wire::socket_handle handle : touched_) {
    socket_entry* s = sockets_.find(handle);
    if (s == nullptr) continue;
    s->touched = false;
    s->sock.hand_over();
    settle(now, *s, socket_outcome::ok);
  }
  touched_.clear();
}

}  // namespace nd::core
