// What a channel sends: handshake packets, numbered packets, acknowledgements.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/lent.hpp"
#include "channel/channel.hpp"

namespace nd::core {
namespace {

// Where a packet that is not built around a segment starts in its mbuf: behind room for Ethernet,
// IPv4 and UDP headers, aligned for copies.
constexpr std::uint16_t packet_offset = 64;

// The peer remembers no more; the rest is for pings, which must pass when all others are lost.
constexpr std::size_t numbers_in_flight = received_numbers::window - 64;

void set_extent(rte_mbuf* m, std::size_t offset, std::size_t length) noexcept {
  m->data_off = static_cast<std::uint16_t>(offset);
  m->data_len = static_cast<std::uint16_t>(length);
  m->pkt_len = static_cast<std::uint32_t>(length);
}

std::byte* at_offset(rte_mbuf* m, std::size_t offset) noexcept {
  return static_cast<std::byte*>(m->buf_addr) + offset;
}

}  // namespace

wire::channel_header channel::header_for(instant now, wire::packet_kind kind) const noexcept {
  wire::channel_header h;
  h.version = wire::nd_version;
  h.kind = kind;
  const std::int64_t delay = (now - largest_arrived_at_).ns() / 256;
  h.ack_delay = static_cast<std::uint16_t>(std::clamp<std::int64_t>(delay, 0, 0xffff));
  h.channel = peer_id_;
  h.tag = peer_tag_;
  h.number = seq32::low_bits_of(sent_.next_number()).raw();
  h.floor = seq32::low_bits_of(sent_.floor()).raw();
  h.ack = seq32::low_bits_of(received_.next_expected()).raw();
  h.ce_bytes = seq32::low_bits_of(ce_bytes_).raw();
  return h;
}

std::size_t channel::packet_limit() const noexcept {
  return std::size_t{mtu_.current()} - config_.ip_overhead;
}

std::uint16_t channel::max_payload() const noexcept {
  return static_cast<std::uint16_t>(packet_limit() - sizeof(wire::channel_header) -
                                    sizeof(wire::record_header) - format_.trailer_size());
}

rte_mbuf* channel::next_packet(instant now, rte_mempool* pool) {
  if (handshake_due_ != channel_action::ignore) return handshake_packet(now, pool);
  if (state_ != channel_state::open) return nullptr;
  if (pings_due_ > 0) return ping_packet(now, pool);
  if (sent_.span() >= numbers_in_flight) return nullptr;
  if (mtu_.wanted_probe(now) != 0) return probe_packet(now, pool);
  if (queue_.empty()) {
    if (sent_.bytes_in_flight() < congestion_->window())
      delivery_.on_nothing_to_send(sent_.bytes_in_flight());
    return nullptr;
  }
  return window_allows(now) ? data_packet(now, pool) : nullptr;
}

bool channel::window_allows(instant now) noexcept {
  held_back_ = true;
  if (sent_.bytes_in_flight() >= congestion_->window()) return false;
  const instant when = pacer_.next_send(now);
  pacing_deadline_ = when > now ? when : instant::never();
  held_back_ = when > now;
  return !held_back_;
}

rte_mbuf* channel::handshake_packet(instant now, rte_mempool* pool) {
  rte_mbuf* m = allocate_segment(pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return nullptr;
  }
  wire::packet_kind kind = wire::packet_kind::init;
  if (handshake_due_ == channel_action::send_cookie_echo) kind = wire::packet_kind::cookie_echo;
  if (handshake_due_ == channel_action::send_cookie_ack) kind = wire::packet_kind::cookie_ack;
  handshake_due_ = channel_action::ignore;

  wire::handshake_body body = echo_;
  if (kind == wire::packet_kind::init) body.cookie_time = std::uint64_t{0};
  body.epoch = config_.epoch;
  body.channel = config_.id;
  body.tag = config_.tag;
  body.mtu = config_.mtu;
  body.traffic_class = config_.traffic_class;
  body.flags = config_.allow_no_checksum ? wire::handshake_no_checksum : std::uint8_t{0};
  body.first_number = config_.first_number;

  wire::channel_header header = header_for(now, kind);
  if (kind != wire::packet_kind::cookie_ack) header.channel = header.tag = std::uint32_t{0};
  wire::packet_writer writer(at_offset(m, packet_offset), header, config_.format);
  writer.append_body(wire::bytes_of(body));
  set_extent(m, packet_offset, writer.finish());
  return m;
}

void channel::note_sent(instant now, std::size_t bytes, std::uint16_t probe_mtu) {
  sent_.add(now, static_cast<std::uint32_t>(bytes), probe_mtu,
            delivery_.on_sent(now, sent_.bytes_in_flight()));
  // Behind a packet that is in flight, and before anything says which number comes next.
  if (const std::uint64_t next = sent_.next_number();
      skips_.is_due(next) && skips_.take(next, sent_.floor(), sent_.span()))
    sent_.skip();
  pacer_.on_sent(static_cast<std::int64_t>(bytes));
  last_sent_ = now;
  ++stats_.data_packets_sent;
  // The header acknowledges everything where there are no gaps.
  if (!received_.has_gaps()) ack_pending_ = ack_at_once_ = false;
}

rte_mbuf* channel::ping_packet(instant now, rte_mempool* pool) {
  rte_mbuf* m = allocate_segment(pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return nullptr;
  }
  --pings_due_;
  wire::packet_writer writer(at_offset(m, packet_offset), header_for(now, wire::packet_kind::data),
                             format_);
  // A host that does not know the channel must be able to say so, in no more bytes.
  wire::record padding;
  padding.type = wire::record_type::ack_ranges;
  if (!checksummed_) writer.append(padding, {}, wire::crc32c_start);
  set_extent(m, packet_offset, writer.finish());
  note_sent(now, m->data_len);
  return m;
}

rte_mbuf* channel::probe_packet(instant now, rte_mempool* pool) {
  rte_mbuf* m = allocate_segment(pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return nullptr;
  }
  const std::uint16_t size = mtu_.wanted_probe(now);
  const std::size_t padding =
      size - config_.ip_overhead - sizeof(wire::channel_header) - format_.trailer_size();
  std::byte* const start = at_offset(m, packet_offset);
  wire::packet_writer writer(start, header_for(now, wire::packet_kind::probe), format_);
  std::byte* const body = start + writer.size();
  std::memset(body, 0, padding);
  writer.append_body({body, padding});
  set_extent(m, packet_offset, writer.finish());
  mtu_.on_probe_sent();
  ++stats_.mtu_probes_sent;
  note_sent(now, m->data_len, size);
  return m;
}

// A large segment, or a lone one, is sent where it lies: headers are written in front of it. Small
// ones of whatever sockets are gathered into one packet; copying them costs less than packets do.
rte_mbuf* channel::data_packet(instant now, rte_mempool* pool) {
  const wire::record& head = queue_.front();
  const bool worth_its_own = queue_.size() == 1 || head.length > packet_limit() / 2;
  // A device may still hold the last transmission: its headers must not be overwritten.
  if (head.segment != nullptr && worth_its_own && rte_mbuf_refcnt_read(head.segment) == 1) {
    if (!segment_of(head.segment).lent) return in_place_packet(now);
    if (rte_mbuf* m = lent_packet(now)) return m;
  }
  return gathered_packet(now, pool);
}

void channel::move_to_sent(wire::record& r) {
  ++stats_.records_sent;
  if (r.retransmission) ++stats_.records_retransmitted;
  queued_bytes_ -= size_of(r);
  sent_.add_record(r);
}

rte_mbuf* channel::in_place_packet(instant now) {
  wire::record& r = queue_.front();
  rte_mbuf* m = r.segment;

  // Gaps are reported by a packet of their own: in front of a full payload there is no room.
  const std::size_t start =
      tx_headroom - sizeof(wire::channel_header) - sizeof(wire::record_header);
  wire::packet_writer writer(at_offset(m, start), header_for(now, wire::packet_kind::data),
                             format_);
  writer.append_in_place(r, segment_of(m).digest);
  set_extent(m, start, writer.finish());
  rte_mbuf_refcnt_update(m, 1);  // one for the device, one for the socket
  move_to_sent(r);
  queue_.pop();
  note_sent(now, m->data_len);
  return m;
}

/// Headers in the first mbuf of a chain, the application's bytes in the second, the CRC32C in the
/// third. Null where that can't be.
rte_mbuf* channel::lent_packet(instant now) {
  wire::record& r = queue_.front();
  rte_mbuf* const m = r.segment;
  rte_mbuf* const payload = m->next;
  if (!is_ours_alone(m) || (format_.crc && payload->next == nullptr)) return nullptr;
  if (!format_.crc && payload->next != nullptr) {
    rte_pktmbuf_free_seg(payload->next);
    payload->next = nullptr;
    m->nb_segs = 2;
  }
  const std::size_t start =
      tx_headroom - sizeof(wire::channel_header) - sizeof(wire::record_header);
  wire::packet_writer writer(at_offset(m, start), header_for(now, wire::packet_kind::data),
                             format_);
  rte_mbuf* const last = payload->next;
  std::byte* const trailer = last != nullptr ? at_offset(last, 0) : nullptr;
  const std::size_t whole = writer.finish_elsewhere(r, digest_of(m), trailer);
  set_extent(m, start, writer.size());
  set_extent(payload, 0, r.length);
  if (last != nullptr) set_extent(last, 0, format_.trailer_size());
  m->pkt_len = static_cast<std::uint32_t>(whole);
  rte_pktmbuf_refcnt_update(m, 1);  // as in_place_packet(), of all three
  stats_.lent_bytes_sent += r.length;
  move_to_sent(r);
  queue_.pop();
  note_sent(now, whole);
  return m;
}

/// The CRC32C state of a segment's bytes, which nobody may have needed before.
std::uint32_t channel::digest_of(rte_mbuf* m) const noexcept {
  segment& s = segment_of(m);
  if (s.digest_open && format_.crc) {
    s.digest = wire::crc32c(wire::crc32c_start, segment_bytes(m));
    s.digest_open = false;
  }
  return s.digest;
}

rte_mbuf* channel::gathered_packet(instant now, rte_mempool* pool) {
  rte_mbuf* m = allocate_segment(pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return nullptr;
  }
  const std::size_t limit = packet_limit() - format_.trailer_size();
  wire::packet_writer writer(at_offset(m, packet_offset), header_for(now, wire::packet_kind::data),
                             format_);
  const bool reported = ack_pending_ && append_ack_ranges(writer, limit - writer.size());
  while (!queue_.empty()) {
    wire::record& r = queue_.front();
    if (writer.size() + sizeof(wire::record_header) + r.length > limit) break;
    if (r.segment != nullptr) {
      if (segment_of(r.segment).lent) stats_.lent_bytes_copied += r.length;
      writer.append(r, segment_bytes(r.segment), digest_of(r.segment));
    } else {
      const auto body = std::span<const std::byte>(r.body).first(r.length);
      writer.append(r, body, wire::crc32c(wire::crc32c_start, body));
    }
    move_to_sent(r);
    queue_.pop();
  }
  set_extent(m, packet_offset, writer.finish());
  note_sent(now, m->data_len);
  if (reported) ack_pending_ = ack_at_once_ = false;
  return m;
}

/// Appends what arrived beyond the gaps. True when the packet now acknowledges all there is to
/// acknowledge.
bool channel::append_ack_ranges(wire::packet_writer& writer, std::size_t room) const noexcept {
  if (!received_.has_gaps()) return true;
  if (room < sizeof(wire::record_header) + sizeof(wire::ack_range)) return false;
  std::array<number_range, wire::max_ack_ranges> found;
  const std::size_t fitting = std::min(
      wire::max_ack_ranges, (room - sizeof(wire::record_header)) / sizeof(wire::ack_range));
  const std::size_t n = received_.ranges(std::span(found).first(fitting));
  std::array<wire::ack_range, wire::max_ack_ranges> ranges;
  for (std::size_t i = 0; i < n; ++i)
    ranges[i] = {seq32::low_bits_of(found[i].first).raw(), seq32::low_bits_of(found[i].last).raw()};

  wire::record r;
  r.type = wire::record_type::ack_ranges;
  const auto payload = std::as_bytes(std::span(ranges).first(n));
  r.length = static_cast<std::uint16_t>(payload.size());
  writer.append(r, payload, wire::crc32c(wire::crc32c_start, payload));
  return true;
}

rte_mbuf* channel::next_ack(instant now, rte_mempool* pool) {
  if (!ack_pending_ || (now < ack_due_ && !ack_at_once_)) return nullptr;
  rte_mbuf* m = acknowledging_packet(now, wire::packet_kind::ack, pool);
  if (m == nullptr) return nullptr;
  ack_pending_ = ack_at_once_ = false;
  ++stats_.acks_sent;
  return m;
}

rte_mbuf* channel::close_packet(instant now, rte_mempool* pool) {
  if (state_ != channel_state::open) return nullptr;
  close_sent_ = true;
  return acknowledging_packet(now, wire::packet_kind::close, pool);
}

rte_mbuf* channel::acknowledging_packet(instant now, wire::packet_kind kind, rte_mempool* pool) {
  rte_mbuf* m = allocate_segment(pool);
  if (m == nullptr) {
    ++stats_.tx_no_mbuf;
    return nullptr;
  }
  wire::packet_writer writer(at_offset(m, packet_offset), header_for(now, kind), format_);
  append_ack_ranges(writer, packet_limit() - writer.size() - format_.trailer_size());
  set_extent(m, packet_offset, writer.finish());
  return m;
}

}  // namespace nd::core
