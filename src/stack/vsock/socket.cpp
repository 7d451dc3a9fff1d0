#include "vsock/socket.hpp"

#include <algorithm>
#include <utility>

namespace nd::core {
namespace {

// A sender that stays out of credit says so, and repeats it though channels lose nothing: a grant
// that was forgotten must not stop a connection for good. Not at once: whoever sends faster than
// the peer reads is out of credit all the time, and the next grant is on its way.
constexpr duration credit_probe_first = duration::milliseconds(1);
constexpr duration credit_probe_longest = duration::milliseconds(100);

// How long a connection whose application has closed waits for the peer's FIN.
constexpr duration orphan_timeout = duration::seconds(10);

// Out-of-order bytes of one socket, as a multiple of its window: mbufs are larger than what they
// hold.
constexpr std::uint64_t out_of_order_factor = 4;

}  // namespace

socket::socket(const socket_environment& environment, memory_budget& out_of_order,
               socket_link* link, const socket_key& key, wire::socket_handle handle,
               std::uint64_t connection)
    : environment_(environment),
      link_(link),
      key_(key),
      handle_(handle),
      connection_(connection),
      send_(environment.first_offset),
      peer_grant_(environment.first_offset),
      highest_sent_(environment.first_offset),
      credit_(environment.credit, link->receive_buffer, environment.first_offset),
      receive_(environment.rx_pool, out_of_order, link->receive_buffer * out_of_order_factor,
               environment.first_offset) {
  link_->local_port = key.local_port;
}

socket::~socket() {
  link_->status.fetch_or(socket_link::closed, std::memory_order_release);
  link_->release();
}

void socket::apply(socket_event event) noexcept {
  state_ = next_state(state_, event);
}

// --- From the application -----------------------------------------------------------------------

void socket::connect(instant now, duration timeout) noexcept {
  apply(socket_event::connect);
  due_ |= due_sync;
  connect_deadline_ = now + timeout;
}

void socket::accept(std::uint64_t peer_grant) noexcept {
  apply(socket_event::sync);
  peer_grant_ = peer_grant;
  due_ |= due_sync_ack;
  link_->status.fetch_or(socket_link::connected, std::memory_order_release);
}

socket_outcome socket::on_requests(instant now, std::uint32_t requests) noexcept {
  if ((requests & (request_send | request_shutdown_send | request_close)) != 0) ingest();
  if ((requests & request_shutdown_send) != 0) shut_down_send();
  if ((requests & request_shutdown_receive) != 0) receive_shut_down_ = true;
  if ((requests & request_close) != 0) {
    const socket_outcome outcome = on_close(now);
    return (requests & request_abort) != 0 ? socket_outcome::unwanted : outcome;
  }
  if ((requests & request_consumed) != 0) on_consumed();
  return socket_outcome::ok;
}

void socket::ingest() noexcept {
  const std::uint32_t max_payload = link_->max_segment.load(std::memory_order_relaxed);
  const auto insert = [&](rte_mbuf* m) {
    segment_of(m).offset += environment_.first_offset;
    if (may_write(state_))
      send_.insert(m, max_payload, environment_.digests);
    else
      rte_pktmbuf_free(m);
  };
  while (rte_mbuf* m = link_->to_stack().pop()) insert(m);
  link_->for_each_response(insert);
}

void socket::shut_down_send() noexcept {
  if (!may_write(state_) || (due_ & due_fin) != 0) return;
  due_ |= due_fin;
  apply(socket_event::shutdown);  // in sync_sent only once SYNC_ACK has come
}

/// Offset up to which the application has read.
std::uint64_t socket::consumed() const noexcept {
  return environment_.first_offset + link_->consumed.load(std::memory_order_acquire);
}

void socket::on_consumed() noexcept {
  if (credit_.on_consumed(consumed()) && may_receive(state_)) due_ |= due_credit;
  hand_over();
}

// RFC 2525, section 2.17: a close with bytes unread must tell the peer that they were lost.
socket_outcome socket::on_close(instant now) noexcept {
  application_gone_ = true;
  orphan_deadline_ = now + orphan_timeout;
  on_consumed();
  if (state_ == socket_state::sync_sent || consumed() < receive_.next_offset())
    return socket_outcome::unwanted;
  shut_down_send();
  return socket_outcome::ok;
}

// --- From the peer ------------------------------------------------------------------------------

socket_outcome socket::on_grant(seq32 grant) noexcept {
  const std::uint64_t offset = grant.widen(peer_grant_);
  if (offset <= peer_grant_) return socket_outcome::ok;
  if (offset > highest_sent_ + largest_window) return socket_outcome::protocol_error;
  peer_grant_ = offset;
  credit_probe_at_ = instant::never();
  due_ &= ~std::uint32_t{due_notification};
  return socket_outcome::ok;
}

socket_outcome socket::on_sync_ack(const wire::sync_ack_body& body) noexcept {
  if (state_ != socket_state::sync_sent || body.connection != connection_)
    return socket_outcome::ok;
  if (!is_possible_grant(environment_, body.grant)) return socket_outcome::protocol_error;
  apply(socket_event::sync_ack);
  ++environment_.stats.connections_opened;
  peer_grant_ = std::max<std::uint64_t>(peer_grant_, body.grant);
  connect_deadline_ = instant::never();
  link_->status.fetch_or(socket_link::connected, std::memory_order_release);
  if ((due_ & due_fin) != 0) apply(socket_event::shutdown);
  if (final_offset_ && *final_offset_ == receive_.next_offset()) apply(socket_event::fin);
  return socket_outcome::ok;
}

socket_outcome socket::on_data(mbuf_ptr& packet, const wire::record_view& record, bool alone) {
  const std::uint64_t offset = seq32(record.header->seq).widen(receive_.next_offset());
  const std::uint64_t end = offset + record.payload.size();
  if (state_ == socket_state::closed) return socket_outcome::ignored;
  if (record.payload.empty() || end <= receive_.next_offset()) return socket_outcome::ignored;
  if (end > credit_.granted() || (final_offset_ && end > *final_offset_))
    return socket_outcome::protocol_error;
  if (application_gone_ || receive_shut_down_) return socket_outcome::unwanted;

  const std::uint64_t before = receive_.next_offset();
  switch (receive_.insert(packet, record.payload, offset, alone)) {
    case receive_queue::result::no_memory: return socket_outcome::no_memory;
    case receive_queue::result::duplicate: return socket_outcome::ignored;
    case receive_queue::result::out_of_order:
      ++environment_.stats.records_out_of_order;
      return socket_outcome::ok;
    case receive_queue::result::in_order: break;
  }
  environment_.stats.payload_bytes_received += receive_.next_offset() - before;
  if (final_offset_ == receive_.next_offset()) fin_reached_ = true;
  if (fin_reached_) apply(socket_event::fin);
  return socket_outcome::ok;
}

socket_outcome socket::on_fin(std::uint64_t final_offset) noexcept {
  if (final_offset_) {
    return *final_offset_ == final_offset ? socket_outcome::ignored
                                          : socket_outcome::protocol_error;
  }
  if (final_offset < receive_.end_offset() || final_offset > credit_.granted())
    return socket_outcome::protocol_error;
  final_offset_ = final_offset;
  credit_.on_final_offset(final_offset);
  if (final_offset == receive_.next_offset()) {
    fin_reached_ = true;
    apply(socket_event::fin);
  }
  return socket_outcome::ok;
}

void socket::on_notification(std::uint64_t until) noexcept {
  ++environment_.stats.notifications_received;
  credit_.on_notification(until);
  due_ |= due_credit;  // also when nothing changed: the grant may be what was missed
}

void socket::hand_over() noexcept {
  if (application_gone_) return;
  const bool all = receive_.hand_over(link_->to_app());
  link_->delivered.store(receive_.handed_over(), std::memory_order_release);
  if (!all || !fin_reached_) return;
  end_told_ = true;
  link_->status.fetch_or(socket_link::end_of_stream, std::memory_order_release);
}

// --- From the channel ---------------------------------------------------------------------------

void socket::on_acked(const wire::record& r) noexcept {
  if (r.type == wire::record_type::data) {
    send_.on_acked(r.segment);
    link_->acked.store(send_.acked_bytes(), std::memory_order_release);
  } else if (r.type == wire::record_type::fin) {
    fin_arrived_ = true;
  }
  // FIN may overtake bytes that were lost: it counts as acknowledged when they are too.
  if (fin_arrived_ && send_.empty()) apply(socket_event::fin_acked);
}

void socket::on_lost(const wire::record& r) noexcept {
  switch (r.type) {
    case wire::record_type::data: send_.on_lost(r.segment); break;
    case wire::record_type::sync: due_ |= due_sync; break;
    case wire::record_type::sync_ack: due_ |= due_sync_ack; break;
    case wire::record_type::fin: due_ |= due_fin; break;
    case wire::record_type::ack: due_ |= due_credit; break;
    case wire::record_type::notification:
      if (send_.blocked(peer_grant_)) due_ |= due_notification;
      break;
    default: break;
  }
}

// --- To the channel -----------------------------------------------------------------------------

bool socket::wants_to_send() const noexcept {
  if (state_ == socket_state::closed) return false;
  if (state_ == socket_state::sync_sent) return (due_ & due_sync) != 0;
  if ((due_ & ~std::uint32_t{due_fin | due_sync}) != 0 || send_.has_next(peer_grant_)) return true;
  if (send_.blocked(peer_grant_)) return credit_probe_at_.is_never();
  return (due_ & due_fin) != 0;
}

bool socket::has_unfinished_business() const noexcept {
  switch (state_) {
    case socket_state::closed:
    case socket_state::sync_sent: return false;
    case socket_state::fin_wait_1:
    case socket_state::closing:
    case socket_state::last_ack: return true;
    // The peer still has to say that it ends too; if we went first, it would see a reset.
    case socket_state::fin_wait_2: return application_gone_;
    default: return !send_.empty();
  }
}

wire::record socket::make_record(wire::record_type type) const noexcept {
  wire::record r;
  r.owner = handle_;
  r.source = key_.local_port;
  r.dest = key_.peer_port;
  r.seq = send_.unsent_offset();
  r.grant = credit_.granted();
  r.type = type;
  return r;
}

std::optional<wire::record> socket::next_record(instant now, std::uint32_t max_payload) noexcept {
  using wire::record_type;
  if (state_ == socket_state::closed) return std::nullopt;
  const auto take = [this](std::uint32_t bit) {
    return (std::exchange(due_, due_ & ~bit) & bit) != 0;
  };
  if (state_ == socket_state::sync_sent) {
    if (!take(due_sync)) return std::nullopt;
    sync_sent_ = true;
    wire::record r = make_record(record_type::sync);
    r.set_body(wire::sync_body{connection_, credit_.granted(), traffic_class()});
    return r;
  }
  if (take(due_sync_ack)) {
    wire::record r = make_record(record_type::sync_ack);
    r.set_body(wire::sync_ack_body{connection_, credit_.granted()});
    return r;
  }
  if (auto r = data_record(max_payload)) {
    due_ &= ~std::uint32_t{due_credit};  // its header carries the grant
    return r;
  }
  if (send_.all_sent() && take(due_fin)) {
    wire::record r = make_record(record_type::fin);
    r.set_body(wire::fin_body{send_.end()});
    return r;
  }
  update_credit_probe(now);
  if (take(due_notification)) {
    ++environment_.stats.credit_probes_sent;
    wire::record r = make_record(record_type::notification);
    r.set_body(wire::notification_body{connection_, send_.end()});
    return r;
  }
  if (take(due_credit)) return make_record(record_type::ack);
  return std::nullopt;
}

std::optional<wire::record> socket::data_record(std::uint32_t max_payload) noexcept {
  const bool again = send_.has_lost();
  rte_mbuf* m = send_.next(peer_grant_, max_payload, environment_.digests, environment_.reserve);
  if (m == nullptr) return std::nullopt;
  const segment& s = segment_of(m);
  wire::record r = make_record(wire::record_type::data);
  r.segment = m;
  r.seq = s.offset;
  r.length = static_cast<std::uint16_t>(s.length);
  r.retransmission = again;
  if (s.offset + s.length > highest_sent_) {
    environment_.stats.payload_bytes_sent += s.offset + s.length - highest_sent_;
    highest_sent_ = s.offset + s.length;
    link_->sent.store(static_cast<std::uint32_t>(highest_sent_ - environment_.first_offset),
                      std::memory_order_relaxed);
  }
  return r;
}

void socket::update_credit_probe(instant now) noexcept {
  if (!send_.blocked(peer_grant_)) {
    credit_probe_at_ = instant::never();
  } else if (credit_probe_at_.is_never()) {
    credit_probe_wait_ = credit_probe_first;
    credit_probe_at_ = now + credit_probe_wait_;
    // It gave nothing yet: it has many connections, and waits to be asked.
    if (peer_grant_ == environment_.first_offset) due_ |= due_notification;
  }
}

wire::record socket::reset_record(wire::reset_reason reason) const noexcept {
  wire::record r = make_record(wire::record_type::reset);
  r.owner = {};
  r.set_body(wire::reset_body{connection_, reason});
  return r;
}

void socket::fail(errc error) noexcept {
  if (state_ == socket_state::closed) return;
  hand_over();
  apply(socket_event::reset);
  send_.abandon();
  connect_deadline_ = credit_probe_at_ = orphan_deadline_ = instant::never();
  link_->error.store(static_cast<int>(error), std::memory_order_relaxed);
  link_->status.fetch_or(socket_link::failed, std::memory_order_release);
}

void socket::on_peer_goodbye() noexcept {
  if (state_ != socket_state::last_ack && state_ != socket_state::closing) return;
  link_->acked.store(send_.end() - environment_.first_offset, std::memory_order_release);
  apply(socket_event::fin_acked);
}

void socket::set_max_segment(std::uint32_t bytes) noexcept {
  link_->max_segment.store(bytes, std::memory_order_relaxed);
}

// --- Time ---------------------------------------------------------------------------------------

instant socket::next_deadline() const noexcept {
  return earlier(earlier(connect_deadline_, credit_probe_at_), orphan_deadline_);
}

socket_outcome socket::on_timer(instant now) noexcept {
  if (now >= connect_deadline_) return socket_outcome::timed_out;
  if (now >= orphan_deadline_) {
    if (state_ == socket_state::fin_wait_2) return socket_outcome::timed_out;
    orphan_deadline_ = now + orphan_timeout;
  }
  if (now >= credit_probe_at_) {
    credit_probe_wait_ = std::min(credit_probe_wait_ * 2, credit_probe_longest);
    credit_probe_at_ = now + credit_probe_wait_;
    if (send_.blocked(peer_grant_))
      due_ |= due_notification;
    else
      credit_probe_at_ = instant::never();
  }
  return socket_outcome::ok;
}

}  // namespace nd::core
