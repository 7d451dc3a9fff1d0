// Life of a channel, what it receives, and its timers. channel_send.cpp has what it sends.
#include "channel/channel.hpp"

#include <algorithm>

namespace nd::core {
namespace {

// Handshake packets are repeated after this, doubled once: a host that boots is reached within 50
// ms by those who wait for it.
constexpr duration handshake_first_retry = duration::milliseconds(20);
constexpr duration handshake_longest_retry = duration::milliseconds(40);
constexpr int handshake_tries_before_start = 4;

// Silence is a peer's death only when this many probes in a row went unanswered: a process that
// was itself stopped for long asks before it judges.
constexpr int probes_before_death = 3;

// The backoff ends at this share of the patience: where three of ten packets are lost each way, a
// dozen questions get an answer all but once in ten thousand times.
constexpr int probes_in_patience = 16;

// Of a channel that is stalled while others carry its records.
constexpr int probes_remembered = 64;

// Losses of packets above the base MTU, without one that arrived, that make the path suspect of a
// black hole (RFC 8899, section 4.3).
constexpr int large_losses_for_black_hole = 10;

}  // namespace

channel::channel(const channel_config& config, counters& stats)
    : config_(config),
      stats_(stats),
      format_(config.format),
      queue_(queue_limit),
      skips_(config.first_number, config.skip_seed),
      congestion_(make_congestion_control(
          config.congestion, static_cast<std::uint64_t>(path_mtu::base - config.ip_overhead),
          config.initial_window)) {
  sent_.start_at(config.first_number);
}

// --- Life ---------------------------------------------------------------------------------------

channel_action channel::apply(channel_event event) noexcept {
  const channel_transition t = channel_transition_for(state_, event);
  state_ = t.next;
  return t.action;
}

void channel::open(instant now) {
  if (apply(channel_event::open) != channel_action::send_init) return;
  handshake_due_ = channel_action::send_init;
  opened_at_ = last_heard_ = now;
  handshake_retry_ = now + handshake_first_retry;
}

void channel::accept(instant now, const wire::handshake_body& peer) {
  const bool first = state_ == channel_state::closed;
  if (apply(channel_event::accept) != channel_action::send_cookie_ack) return;
  handshake_due_ = channel_action::send_cookie_ack;
  if (first) adopt_peer(now, peer);
}

bool channel::on_handshake(instant now, wire::packet_kind kind, const wire::handshake_body& body) {
  const bool init_ack = kind == wire::packet_kind::init_ack;
  if (!init_ack && (body.mtu < path_mtu::least || body.channel == 0 || body.tag == 0)) return false;
  const channel_action action =
      apply(init_ack ? channel_event::init_ack : channel_event::cookie_ack);
  if (action == channel_action::ignore) return false;
  heard(now);
  handshake_tries_ = 0;
  handshake_retry_ = now + handshake_first_retry;
  if (action == channel_action::send_cookie_echo) {
    echo_.cookie_time = body.cookie_time;
    echo_.cookie_mac = body.cookie_mac;
    handshake_due_ = action;
  } else {
    handshake_due_ = channel_action::ignore;
    handshake_retry_ = instant::never();
    adopt_peer(now, body);
  }
  return true;
}

// The peer may have opened its end of a channel and given it up again: the next one that it opens
// numbers its packets anew.
void channel::start_over() noexcept {
  config_.tag += tag_step;
  ++attempts_;
}

void channel::adopt_peer(instant now, const wire::handshake_body& peer) {
  peer_id_ = peer.channel;
  peer_tag_ = peer.tag;
  peer_epoch_ = peer.epoch;
  received_.start_at(peer.first_number);
  checksummed_ = !config_.allow_no_checksum || (peer.flags & wire::handshake_no_checksum) == 0;
  if (!checksummed_) format_.crc = false;
  mtu_ = path_mtu(std::min<std::uint16_t>(config_.mtu, peer.mtu));
  on_path_mtu_changed();
  opened_at_ = last_heard_ = now;
  heard_ = false;
}

void channel::kill(record_verdicts& out) {
  apply(channel_event::give_up);
  for (std::uint64_t n = sent_.floor(); n != sent_.next_number(); ++n) {
    if (sent_[n].state != sent_packet::fate::in_flight) continue;
    sent_.resolve(n, sent_packet::fate::lost,
                  [&](const wire::record& r) { out.lost.push_back(r); });
  }
  sent_.trim();
  return_queue(out);
  ack_pending_ = false;
  handshake_due_ = channel_action::ignore;
}

void channel::return_queue(record_verdicts& out) {
  for (; !queue_.empty(); queue_.pop()) out.lost.push_back(queue_.front());
  queued_bytes_ = 0;
}

void channel::give_away(instant now, record_verdicts& out) {
  const std::size_t before = out.lost.size();
  sent_.give_away([&](const wire::record& r) { out.lost.push_back(r); });
  return_queue(out);
  stats_.records_moved += out.lost.size() - before;
  // The peer can remember only so many numbers: old probes must not use them up.
  if (probe_timeouts_ % probes_remembered != 0) return;
  for (std::uint64_t n = sent_.floor(); n != sent_.next_number(); ++n) {
    if (sent_[n].state != sent_packet::fate::in_flight) continue;
    lose(n, now, out);
  }
  sent_.trim();
}

// --- Receiving ----------------------------------------------------------------------------------

received_numbers::verdict channel::classify(const wire::channel_header& header) noexcept {
  const std::uint64_t number = seq32(header.number).widen(received_.end());
  received_.forget_below(std::min(seq32(header.floor).widen(number), number));
  return received_.classify(number);
}

void channel::on_accepted(instant now, const wire::channel_header& header, std::size_t bytes,
                          bool congestion_experienced) {
  const std::uint64_t number = seq32(header.number).widen(received_.end());
  if (number >= received_.end()) largest_arrived_at_ = now;
  received_.insert(number);
  if (congestion_experienced) {
    ce_bytes_ += bytes;
    ++stats_.ce_packets_received;
  }
  if (!ack_pending_) ack_due_ = now + config_.ack_hold;
  ack_pending_ = true;
  if (received_.has_gaps() || congestion_experienced) ack_at_once_ = true;
  ++stats_.data_packets_received;
}

bool channel::on_acknowledgement(instant now, const wire::channel_header& header,
                                 std::span<const wire::ack_range> ranges, record_verdicts& out) {
  const std::uint64_t next = sent_.next_number();
  const std::uint64_t below = seq32(header.ack).widen(sent_.floor());
  if (below > next) return false;
  for (const wire::ack_range& r : ranges) {
    const std::uint64_t first = seq32(r.first).widen(next), last = seq32(r.last).widen(next);
    if (last >= next || first > last) return false;
  }
  if (skips_.pending(sent_.floor()) && acknowledges_skipped(header, ranges)) {
    // Without checksums it may have been a bit that turned on its way.
    peer_lied_ = checksummed_;
    return false;
  }

  const std::uint64_t in_flight_before = sent_.bytes_in_flight();
  bool any = false;
  std::uint64_t largest = 0;
  const auto acknowledge_range = [&](std::uint64_t first, std::uint64_t end) {
    for (std::uint64_t n = std::max(first, sent_.floor()); n < end; ++n) {
      if (!acknowledge(n, now, out)) continue;
      any = true;
      largest = std::max(largest, n);
    }
  };
  acknowledge_range(sent_.floor(), below);
  for (const wire::ack_range& r : ranges)
    acknowledge_range(seq32(r.first).widen(next), seq32(r.last).widen(next) + 1);
  if (!any) return true;

  const instant largest_sent = sent_[largest].sent;
  duration rtt;
  if (!any_acked_ || largest > largest_acked_) {
    rtt = std::max(now - largest_sent, duration(1));
    if (!rtt_.has_sample()) first_sample_at_ = now;
    largest_acked_ = largest;
    any_acked_ = true;
    rtt_.sample(now - largest_sent, duration(std::int64_t{header.ack_delay} * 256));
  }
  probe_timeouts_ = 0;
  if (stalled_) {
    loss_share_ = 0;
    stall_ended_ = now;
  }
  stalled_ = in_doubt_ = false;
  last_progress_ = now;

  const auto ce_delta =
      static_cast<std::uint32_t>(header.ce_bytes) - static_cast<std::uint32_t>(ce_bytes_acked_);
  // A counter that goes backwards belongs to a reordered, older acknowledgement.
  const std::uint64_t ce_new = ce_delta < (1U << 31) ? ce_delta : 0;
  ce_bytes_acked_ += ce_new;

  const std::uint64_t reductions = congestion_->ecn_reductions();
  congestion_->on_ack({.now = now,
                       .bytes = in_flight_before - sent_.bytes_in_flight(),
                       .ce_bytes = ce_new,
                       .largest = largest,
                       .next_number = next,
                       .largest_sent = largest_sent,
                       .smoothed_rtt = rtt_.smoothed(),
                       .minimum_rtt = rtt_.minimum(),
                       .rtt = rtt,
                       .in_flight = in_flight_before,
                       .delivery = delivery_.sample(now, largest_sent, sent_[largest].delivery),
                       .window_limited = in_flight_before * 2 >= congestion_->window()});
  stats_.ecn_reductions += congestion_->ecn_reductions() - reductions;
  pacer_.set_rate(congestion_->pacing_rate(), static_cast<std::int64_t>(packet_limit()));
  detect_losses(now, out);
  sent_.trim();
  return true;
}

bool channel::acknowledges_skipped(const wire::channel_header& header,
                                   std::span<const wire::ack_range> ranges) const noexcept {
  const std::uint64_t floor = sent_.floor(), next = sent_.next_number();
  if (skips_.within(floor, seq32(header.ack).widen(floor))) return true;
  return std::ranges::any_of(ranges, [&](const wire::ack_range& r) {
    return skips_.within(seq32(r.first).widen(next), seq32(r.last).widen(next) + 1);
  });
}

/// False when the packet is not in flight (any more).
bool channel::acknowledge(std::uint64_t number, instant now, record_verdicts& out) {
  const sent_packet& p = sent_[number];
  if (p.state != sent_packet::fate::in_flight) return false;
  if (p.probe_mtu != 0) {
    mtu_.on_probe_acked(p.probe_mtu, now);
    on_path_mtu_changed();
  } else if (p.bytes + config_.ip_overhead > path_mtu::base) {
    large_losses_ = 0;
  }
  loss_share_ -= loss_share_ / 16;
  delivery_.on_delivered(p.bytes);
  sent_.resolve(number, sent_packet::fate::acked,
                [&](const wire::record& r) { out.acked.push_back(r); });
  return true;
}

// --- Loss ---------------------------------------------------------------------------------------

// From the oldest packet on; the first that is not lost ends the search, because those behind it
// were sent later.
void channel::detect_losses(instant now, record_verdicts& out) {
  loss_deadline_ = instant::never();
  if (!any_acked_) return;
  congestion_loss event{.now = now, .largest_sent = instant(-1), .bytes = 0, .persistent = false};
  instant run_start = instant::never();
  const duration persistent =
      rtt_.probe_timeout(config_.max_ack_delay) * persistent_congestion_threshold;
  for (std::uint64_t n = sent_.floor(); n != sent_.next_number() && n < largest_acked_; ++n) {
    const sent_packet& p = sent_[n];
    if (p.state == sent_packet::fate::acked) run_start = instant::never();
    if (p.state != sent_packet::fate::in_flight) continue;
    // Reordering is counted in packets: a number that was left out is none.
    const std::uint64_t newest = largest_acked_ - (skips_.within(n, largest_acked_) ? 1 : 0);
    const loss_verdict v = judge_loss(n, p.sent, newest, rtt_.loss_delay(), now);
    if (!v.lost) {
      loss_deadline_ = v.ask_again;
      break;
    }
    lose(n, now, out);
    if (p.probe_mtu != 0) continue;  // RFC 8899, section 3: that says nothing about congestion
    event.largest_sent = p.sent;
    event.bytes += p.bytes;
    if (p.bytes + config_.ip_overhead > path_mtu::base) ++large_losses_;
    // Section 7.6.2: only packets sent once a round trip was known tell of a changed path.
    if (p.sent < first_sample_at_) continue;
    if (run_start.is_never())
      run_start = p.sent;
    else if (p.sent - run_start > persistent)
      event.persistent = true;
  }
  if (event.largest_sent.ns() < 0) return;

  if (event.persistent) rtt_.forget_minimum();
  if (congestion_->on_loss(event)) {
    ++stats_.congestion_events;
    if (event.persistent) ++stats_.persistent_congestion;
    pacer_.set_rate(congestion_->pacing_rate(), static_cast<std::int64_t>(packet_limit()));
  }
  if (large_losses_ >= large_losses_for_black_hole) {
    large_losses_ = 0;
    mtu_.suspect_black_hole();
  }
}

void channel::lose(std::uint64_t number, instant now, record_verdicts& out) {
  ++stats_.packets_lost;
  sent_.resolve(number, sent_packet::fate::lost,
                [&](const wire::record& r) { out.lost.push_back(r); });
  const std::uint16_t probed = sent_[number].probe_mtu;
  // What a stall has lost says nothing about what follows.
  if (probed == 0 && sent_[number].sent >= stall_ended_) loss_share_ += (65536 - loss_share_) / 16;
  if (probed == 0 || !mtu_.on_probe_lost(probed, now)) return;
  ++stats_.mtu_black_holes;
  on_path_mtu_changed();
  return_queue(out);  // cut again by their sockets
}

void channel::on_path_mtu_changed() {
  congestion_->set_packet_size(packet_limit());
}

// --- Time ---------------------------------------------------------------------------------------

// RFC 9002, section 6.2.1. Once a peer is silent, enough probes must fit into peer_timeout, however
// long the round trip seemed.
instant channel::probe_timeout_deadline() const noexcept {
  if (sent_.bytes_in_flight() == 0) return instant::never();
  duration wait = rtt_.probe_timeout(config_.max_ack_delay);
  if (probe_timeouts_ > 0)
    wait = std::min(wait * (std::int64_t{1} << std::min(probe_timeouts_, 20)),
                    patience() / probes_in_patience);
  // Not from the last packet sent: who writes a little all the time would never ask.
  const instant since = std::max(std::max(last_progress_, sent_.oldest().sent), last_probe_);
  return since + wait;
}

instant channel::stall_deadline() const noexcept {
  if (stalled_ || probe_timeouts_ == 0 || sent_.bytes_in_flight() == 0) return instant::never();
  return asked_at_ + rtt_.probe_timeout(config_.max_ack_delay);
}

// Bytes that wait are a reason to judge sooner. Four probe timeouts of the path are the least: a
// silence that a long round trip alone makes is none.
duration channel::patience() const noexcept {
  if (sent_.records_in_flight() == 0) return config_.peer_timeout;
  return std::min(config_.peer_timeout,
                  std::max(config_.busy_timeout, rtt_.probe_timeout(config_.max_ack_delay) * 4));
}

instant channel::next_deadline() const noexcept {
  if (state_ == channel_state::dead || state_ == channel_state::closed) return instant::never();
  if (state_ != channel_state::open)
    return earlier(handshake_retry_, opened_at_ + config_.connect_timeout);
  instant next = earlier(probe_timeout_deadline(), loss_deadline_);
  next = earlier(next, stall_deadline());
  next = earlier(next, pacing_deadline_);
  next = earlier(next, mtu_.next_deadline());
  if (ack_pending_) next = earlier(next, ack_due_);
  if (keepalive_on_ && sent_.bytes_in_flight() == 0)
    next = earlier(next, std::max(last_heard_, last_sent_) + config_.keepalive);
  return next;
}

bool channel::on_timer(instant now, record_verdicts& out) {
  if (state_ == channel_state::init_sent || state_ == channel_state::cookie_echoed) {
    if (now >= opened_at_ + config_.connect_timeout) return false;
    if (now >= handshake_retry_) {
      const bool hopeless = ++handshake_tries_ % handshake_tries_before_start == 0;
      if (hopeless && state_ == channel_state::cookie_echoed) start_over();
      handshake_due_ = apply(hopeless ? channel_event::start_over : channel_event::retry);
      const duration wait =
          handshake_first_retry * (std::int64_t{1} << std::min(handshake_tries_, 8));
      handshake_retry_ = now + std::min(wait, handshake_longest_retry);
    }
    return true;
  }
  if (state_ != channel_state::open) return true;
  if (now >= pacing_deadline_) pacing_deadline_ = instant::never();
  if (now >= loss_deadline_) {
    detect_losses(now, out);
    sent_.trim();
  }
  if (now >= stall_deadline()) {
    stalled_ = true;
    ++stats_.channels_stalled;
  }
  if (now >= probe_timeout_deadline()) return on_probe_timeout(now);
  if (keepalive_on_ && sent_.bytes_in_flight() == 0 &&
      now - std::max(last_heard_, last_sent_) >= config_.keepalive) {
    pings_due_ = 1;
  }
  return true;
}

/// Asks, and judges what the last questions have brought. False: nothing.
bool channel::on_probe_timeout(instant now) {
  const instant silent_since = std::max(last_heard_, sent_.oldest().sent);
  bool silent = probe_timeouts_ >= probes_before_death && now - silent_since >= patience();
  // A timer that is so late was held up, and so were the frames that wait to be read.
  if (silent && !in_doubt_ && now - probe_timeout_deadline() > patience() / probes_in_patience) {
    in_doubt_ = true;
    silent = false;
  }
  if (probe_timeouts_++ == 0) asked_at_ = now;
  ++stats_.probe_timeouts;
  last_probe_ = now;
  pings_due_ = 1;
  return !silent;
}

}  // namespace nd::core
