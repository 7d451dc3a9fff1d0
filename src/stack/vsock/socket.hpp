// A virtual socket: state, send side, receive side and credit of one connection.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/counters.hpp"
#include "base/time.hpp"
#include "vsock/credit.hpp"
#include "vsock/link.hpp"
#include "vsock/receive_queue.hpp"
#include "vsock/send_queue.hpp"
#include "vsock/state.hpp"
#include "wire/record.hpp"

namespace nd::core {

/// What all sockets of an lcore share.
struct socket_environment {
  counters& stats;
  rte_mempool* rx_pool;
  rte_mempool* reserve;  ///< when what was written holds all mbufs; may be null
  credit_pool& credit;
  bool digests;                    ///< segments carry their CRC32C
  std::uint64_t first_offset = 0;  ///< of every stream; the application counts from 0
};

struct socket_key {
  std::uint32_t peer = 0;
  std::uint16_t local_port = 0;
  std::uint16_t peer_port = 0;
  bool operator==(const socket_key&) const noexcept = default;
};
static_assert(sizeof(socket_key) == 8, "hashed as bytes");

/// What the owner must do after a socket was told of something.
enum class socket_outcome : std::uint8_t {
  ok,
  ignored,         ///< nothing new in it
  no_memory,       ///< the packet must not be acknowledged
  protocol_error,  ///< reset it with this reason
  unwanted,        ///< bytes for an application that has closed: reset it
  timed_out,       ///< give it up
};

class socket {
 public:
  /// `out_of_order`: its peer's.
  socket(const socket_environment& environment, memory_budget& out_of_order, socket_link* link,
         const socket_key& key, wire::socket_handle handle, std::uint64_t connection);
  /// Lets go of the link.
  ~socket();
  socket(const socket&) = delete;
  socket& operator=(const socket&) = delete;

  const socket_key& key() const noexcept { return key_; }
  wire::socket_handle handle() const noexcept { return handle_; }
  std::uint64_t connection() const noexcept { return connection_; }
  socket_state state() const noexcept { return state_; }
  std::uint8_t traffic_class() const noexcept { return link_->traffic_class; }

  // From the application.

  void connect(instant now, duration timeout) noexcept;
  /// What a SYNC or SYNC_ACK may grant.
  static bool is_possible_grant(const socket_environment& environment,
                                std::uint64_t grant) noexcept {
    return grant <= environment.first_offset + largest_window;
  }
  /// A SYNC created this socket.
  void accept(std::uint64_t peer_grant) noexcept;
  /// Serves `requests` (bits of core::request) other than connect.
  socket_outcome on_requests(instant now, std::uint32_t requests) noexcept;

  // From the peer: one function a record type.

  socket_outcome on_grant(seq32 grant) noexcept;
  socket_outcome on_sync_ack(const wire::sync_ack_body& body) noexcept;
  socket_outcome on_data(mbuf_ptr& packet, const wire::record_view& record, bool alone);
  socket_outcome on_fin(std::uint64_t final_offset) noexcept;
  /// `until`: see receive_credit.
  void on_notification(std::uint64_t until) noexcept;
  /// Gives the application what has arrived, and the end of the stream behind it; once for all
  /// records of a burst.
  void hand_over() noexcept;

  // From the channel.

  void on_acked(const wire::record& r) noexcept;
  void on_lost(const wire::record& r) noexcept;

  // To the channel.

  bool wants_to_send() const noexcept;
  /// Bytes or a FIN have not reached the peer yet, or the peer's FIN has not come to a connection
  /// that was closed here.
  bool has_unfinished_business() const noexcept;
  /// The peer that SYNC reached has gone: another must get it.
  void repeat_sync() noexcept { due_ |= due_sync; }
  /// The peer has accepted, though its SYNC_ACK may not have come yet: records have overtaken it.
  bool was_answered() const noexcept {
    return state_ != socket_state::sync_sent || final_offset_ ||
           std::max(peer_grant_, receive_.end_offset()) > environment_.first_offset;
  }
  /// The peer has sent FIN.
  bool knows_end() const noexcept { return final_offset_.has_value(); }
  /// The peer may know of this connection.
  bool sync_was_sent() const noexcept { return sync_sent_; }
  /// The next record, in a packet that takes `max_payload` bytes of it.
  std::optional<wire::record> next_record(instant now, std::uint32_t max_payload) noexcept;
  /// The record that tells the peer that this socket is gone. Needs nobody to repeat it: it is its
  /// own owner.
  wire::record reset_record(wire::reset_reason reason) const noexcept;

  /// The peer's host has ended in order: it had what a connection that both ends closed still waits
  /// to see acknowledged.
  void on_peer_goodbye() noexcept;
  /// Ends the connection, with an error for the application unless it closed already.
  void fail(errc error) noexcept;
  /// The path takes less, or more, in one packet.
  void set_max_segment(std::uint32_t bytes) noexcept;

  instant next_deadline() const noexcept;
  socket_outcome on_timer(instant now) noexcept;
  /// Nothing is left to do, neither for the peer nor for the application: the owner destroys it.
  bool finished() const noexcept {
    if (state_ != socket_state::closed) return false;
    return application_gone_ || (!receive_.has_ready() && end_told_ == fin_reached_);
  }

 private:
  enum due : std::uint32_t {
    due_sync = 1,
    due_sync_ack = 2,
    due_fin = 4,
    due_credit = 8,
    due_notification = 16,
  };

  void apply(socket_event event) noexcept;
  void ingest() noexcept;
  void on_consumed() noexcept;
  std::uint64_t consumed() const noexcept;
  socket_outcome on_close(instant now) noexcept;
  void shut_down_send() noexcept;
  wire::record make_record(wire::record_type type) const noexcept;
  std::optional<wire::record> data_record(std::uint32_t max_payload) noexcept;
  void update_credit_probe(instant now) noexcept;

  const socket_environment& environment_;
  socket_link* link_;
  socket_key key_;
  wire::socket_handle handle_;
  std::uint64_t connection_;
  socket_state state_ = socket_state::closed;
  std::uint32_t due_ = 0;
  bool sync_sent_ = false;
  bool application_gone_ = false;
  bool receive_shut_down_ = false;
  bool fin_arrived_ = false;  ///< at the peer
  bool fin_reached_ = false;  ///< all bytes up to the peer's FIN arrived
  bool end_told_ = false;     ///< and the application knows

  send_queue send_;
  std::uint64_t peer_grant_;
  std::uint64_t highest_sent_;
  instant credit_probe_at_ = instant::never();
  duration credit_probe_wait_;

  receive_credit credit_;
  receive_queue receive_;
  std::optional<std::uint64_t> final_offset_;

  instant connect_deadline_ = instant::never();
  instant orphan_deadline_ = instant::never();
};

}  // namespace nd::core
