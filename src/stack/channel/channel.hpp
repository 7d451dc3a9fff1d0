// A channel: one of a fixed set of two-way transports between two hosts (NetChannel, SIGCOMM 2022,
// section 3.2; loss recovery after RFC 9002). Any socket's records may travel over any channel.
#pragma once

#include <rte_mempool.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/counters.hpp"
#include "base/index_queue.hpp"
#include "base/mbuf.hpp"
#include "channel/congestion.hpp"
#include "channel/handshake.hpp"
#include "channel/loss.hpp"
#include "channel/number_skips.hpp"
#include "channel/pacer.hpp"
#include "channel/path_mtu.hpp"
#include "channel/received_numbers.hpp"
#include "channel/rtt.hpp"
#include "channel/sent_packets.hpp"
#include "wire/packet_format.hpp"

namespace nd::core {

struct channel_config {
  std::uint32_t id = 0;     ///< ours; the peer puts it into its packets
  std::uint32_t tag = 0;    ///< ours
  std::uint64_t epoch = 0;  ///< this host's boot
  std::uint32_t first_number = 0;
  std::optional<std::uint64_t> skip_seed;  ///< of the numbers left out; none: all are sent
  std::uint16_t mtu = 1500;                ///< this host's device
  std::uint8_t traffic_class = 0;
  bool allow_no_checksum = false;
  std::uint16_t ip_overhead = 20;  ///< IPv4 header, and UDP's with encap udp
  wire::packet_format format;      ///< of packets to the peer, unless a checksum is agreed away
  std::uint64_t initial_window = 10;
  congestion_mode congestion = congestion_mode::dctcp;
  /// How long an acknowledgement waits for a packet that leaves anyway: the time in which an
  /// application that polls answers.
  duration ack_hold = duration::microseconds(2);
  duration max_ack_delay = duration::microseconds(100);
  duration keepalive = duration::milliseconds(100);
  duration peer_timeout = duration::milliseconds(300);
  /// The same while records wait for their acknowledgement, but for paths that are slower.
  duration busy_timeout = duration::milliseconds(75);
  duration connect_timeout = duration::seconds(3);
};

/// What a channel found out about records; the vectors are the caller's to reuse. Each record that
/// was queued comes back exactly once, as acked or as lost.
struct record_verdicts {
  std::vector<wire::record> acked;
  std::vector<wire::record> lost;
  void clear() noexcept {
    acked.clear();
    lost.clear();
  }
};

class channel {
  static constexpr std::uint32_t tag_step = 2;  // ours are odd: none is 0

 public:
  /// Requests that a channel's queue holds (NetChannel's bound).
  static constexpr std::size_t queue_limit = 32;

  channel(const channel_config& config, counters& stats);

  std::uint32_t id() const noexcept { return config_.id; }
  std::uint32_t tag() const noexcept { return config_.tag; }
  /// Whether a handshake of this channel that came to nothing has used `tag`. Who was given it may
  /// have believed in a channel, and what they sent must not be taken for the present one's.
  bool had_tag(std::uint32_t tag) const noexcept {
    return tag != config_.tag && config_.tag - tag <= tag_step * attempts_;
  }
  std::uint32_t peer_id() const noexcept { return peer_id_; }
  std::uint32_t peer_tag() const noexcept { return peer_tag_; }
  std::uint64_t peer_epoch() const noexcept { return peer_epoch_; }
  std::uint8_t traffic_class() const noexcept { return config_.traffic_class; }
  channel_state state() const noexcept { return state_; }
  /// When the handshake began, or ended.
  instant opened_at() const noexcept { return opened_at_; }
  /// Of packets to the peer.
  const wire::packet_format& format() const noexcept { return format_; }
  /// False when both ends agreed to leave checksums out.
  bool checksummed() const noexcept { return checksummed_; }

  // Life.

  void open(instant now);
  /// The responder's side, with a body whose cookie was checked; also for its repetition.
  void accept(instant now, const wire::handshake_body& peer);
  /// INIT_ACK or COOKIE_ACK with our tag. False when it fits no state.
  bool on_handshake(instant now, wire::packet_kind kind, const wire::handshake_body& body);
  /// Ends the channel: every record it holds is lost.
  void kill(record_verdicts& out);

  // Receiving, in this order for each packet.

  /// Takes the acknowledgement that `header` and `ranges` carry. False when it acknowledges what
  /// was never sent: nothing was changed then, and peer_lied() may have become true.
  bool on_acknowledgement(instant now, const wire::channel_header& header,
                          std::span<const wire::ack_range> ranges, record_verdicts& out);
  /// The peer acknowledged a number that was left out: it says so of packets that it has not got.
  bool peer_lied() const noexcept { return peer_lied_; }
  /// Whether a numbered packet is new. What its sender says that it has given up is forgotten
  /// first: the window of numbers that can be remembered starts behind it.
  received_numbers::verdict classify(const wire::channel_header& header) noexcept;
  /// The numbered packet's contents were kept: it will be acknowledged.
  void on_accepted(instant now, const wire::channel_header& header, std::size_t bytes,
                   bool congestion_experienced);
  /// A packet of the peer with our tag came, whatever it was.
  void heard(instant now) noexcept {
    last_heard_ = now;
    heard_ = true;
  }
  instant last_heard() const noexcept { return last_heard_; }
  /// Nothing has come since the handshake.
  bool never_heard() const noexcept { return !heard_; }

  // Sending.

  bool can_queue() const noexcept {
    return state_ == channel_state::open && queue_.size() < queue_limit;
  }
  /// Records that the queue still takes and the window lets go: what waits here can leave over no
  /// other channel.
  std::size_t queue_room() const noexcept {
    return can_queue() && sent_.bytes_in_flight() + queued_bytes_ < congestion_->window()
               ? queue_limit - queue_.size()
               : 0;
  }
  void queue(const wire::record& r) {
    queue_.push(r);
    queued_bytes_ += size_of(r);
  }
  std::size_t queued() const noexcept { return queue_.size(); }
  std::uint64_t queued_bytes() const noexcept { return queued_bytes_; }
  /// Records are queued that congestion window or pacing hold back: an acknowledgement or the timer
  /// will change that.
  bool held_back() const noexcept { return held_back_ && !queue_.empty(); }
  /// The next packet that window and pacing allow, from its channel header on; null when there is
  /// none, or no mbuf.
  rte_mbuf* next_packet(instant now, rte_mempool* pool);
  /// A packet that only acknowledges, when one is due: at once where there are gaps (RFC 9000,
  /// 13.2.1), otherwise when no data packet has carried it for `ack_hold`.
  rte_mbuf* next_ack(instant now, rte_mempool* pool);
  /// Acknowledges all that arrived, and says that this host ends. Null but in state open.
  rte_mbuf* close_packet(instant now, rte_mempool* pool);
  bool close_sent() const noexcept { return close_sent_; }
  bool ack_pending() const noexcept { return ack_pending_; }

  /// Nothing was acknowledged for two probe timeouts, the second one after a probe. Ends with the
  /// next acknowledgement of anything.
  bool stalled() const noexcept { return stalled_; }
  /// Of its last packets, some sixteen, the share that was lost, of 65536.
  std::uint32_t loss_share() const noexcept { return loss_share_; }
  /// Every record that it holds is lost, so that another channel sends it. What was in flight may
  /// have arrived all the same: receivers know bytes by their offset.
  void give_away(instant now, record_verdicts& out);

  /// Payload bytes of a record that fills a packet of the path's MTU.
  std::uint16_t max_payload() const noexcept;
  const path_mtu& mtu() const noexcept { return mtu_; }
  std::uint64_t bytes_in_flight() const noexcept { return sent_.bytes_in_flight(); }
  const rtt_estimator& rtt() const noexcept { return rtt_; }
  const congestion_control& congestion() const noexcept { return *congestion_; }
  void set_sharing(unsigned channels) noexcept { congestion_->set_sharing(channels); }
  /// Whether silence is worth a question: somebody uses this channel.
  void set_keepalive(bool on) noexcept { keepalive_on_ = on; }
  void set_busy_timeout(duration timeout) noexcept { config_.busy_timeout = timeout; }

  // Time.

  instant next_deadline() const noexcept;
  /// False when the peer was silent for patience() in spite of probes, or did not open the channel
  /// in time: the caller kills the channel, or knows better and lets it go on asking.
  bool on_timer(instant now, record_verdicts& out);
  duration patience() const noexcept;

 private:
  channel_action apply(channel_event event) noexcept;
  void adopt_peer(instant now, const wire::handshake_body& peer);

  wire::channel_header header_for(instant now, wire::packet_kind kind) const noexcept;
  std::size_t packet_limit() const noexcept;
  [[gnu::cold]] rte_mbuf* handshake_packet(instant now, rte_mempool* pool);
  [[gnu::cold]] rte_mbuf* probe_packet(instant now, rte_mempool* pool);
  rte_mbuf* acknowledging_packet(instant now, wire::packet_kind kind, rte_mempool* pool);
  [[gnu::cold]] rte_mbuf* ping_packet(instant now, rte_mempool* pool);
  rte_mbuf* data_packet(instant now, rte_mempool* pool);
  rte_mbuf* in_place_packet(instant now);
  rte_mbuf* lent_packet(instant now);
  std::uint32_t digest_of(rte_mbuf* m) const noexcept;
  rte_mbuf* gathered_packet(instant now, rte_mempool* pool);
  bool window_allows(instant now) noexcept;
  void note_sent(instant now, std::size_t bytes, std::uint16_t probe_mtu = 0);
  void move_to_sent(wire::record& r);
  bool append_ack_ranges(wire::packet_writer& writer, std::size_t room) const noexcept;

  [[gnu::cold]] bool acknowledges_skipped(const wire::channel_header& header,
                                          std::span<const wire::ack_range> ranges) const noexcept;
  bool acknowledge(std::uint64_t number, instant now, record_verdicts& out);
  void detect_losses(instant now, record_verdicts& out);
  void lose(std::uint64_t number, instant now, record_verdicts& out);
  [[gnu::cold]] void on_path_mtu_changed();
  void return_queue(record_verdicts& out);
  static std::uint64_t size_of(const wire::record& r) noexcept {
    return sizeof(wire::record_header) + r.length;
  }
  [[gnu::cold]] void start_over() noexcept;
  instant probe_timeout_deadline() const noexcept;
  instant stall_deadline() const noexcept;
  bool on_probe_timeout(instant now);

  channel_config config_;
  counters& stats_;
  channel_state state_ = channel_state::closed;

  // What the handshake agreed on.
  std::uint32_t peer_id_ = 0;
  std::uint32_t peer_tag_ = 0;
  std::uint64_t peer_epoch_ = 0;
  wire::packet_format format_;
  bool checksummed_ = true;
  wire::handshake_body echo_{};  ///< what COOKIE_ECHO repeats
  channel_action handshake_due_ = channel_action::ignore;
  instant opened_at_;
  instant handshake_retry_ = instant::never();
  int handshake_tries_ = 0;
  std::uint32_t attempts_ = 0;  ///< handshakes that were started over

  // Sending.
  index_queue<wire::record> queue_;
  std::uint64_t queued_bytes_ = 0;
  sent_packets sent_;
  delivery_rate delivery_;
  number_skips skips_;
  bool peer_lied_ = false;
  rtt_estimator rtt_;
  pacer pacer_;
  std::unique_ptr<congestion_control> congestion_;
  path_mtu mtu_;
  std::uint64_t largest_acked_ = 0;
  bool any_acked_ = false;
  std::uint64_t ce_bytes_acked_ = 0;
  int large_losses_ = 0;  ///< packets above the base MTU lost since one was acknowledged
  int probe_timeouts_ = 0;
  int pings_due_ = 0;
  std::uint32_t loss_share_ = 0;
  bool held_back_ = false;
  bool stalled_ = false;
  bool in_doubt_ = false;  ///< silence was judged late: what came meanwhile may not be read yet
  instant stall_ended_;
  instant asked_at_;  ///< the first of the probes that nobody has answered
  instant last_sent_;
  instant first_sample_at_ = instant::never();
  instant last_probe_;     ///< when a probe timeout fired
  instant last_progress_;  ///< when something was acknowledged
  instant loss_deadline_ = instant::never();
  instant pacing_deadline_ = instant::never();

  // Receiving.
  received_numbers received_;
  std::uint64_t ce_bytes_ = 0;
  instant largest_arrived_at_;
  instant ack_due_;  ///< ack_hold after the first arrival that is not acknowledged
  bool ack_pending_ = false;
  bool ack_at_once_ = false;
  instant last_heard_;
  bool heard_ = false;  ///< since the handshake
  bool keepalive_on_ = false;
  bool close_sent_ = false;
};

}  // namespace nd::core
