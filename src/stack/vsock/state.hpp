// The states of a virtual socket (TCP's names, RFC 9293 section 3.3.2; no TIME_WAIT, because
// channels do not deliver twice).
//
//            connect                        SYNC to a listener
//   closed ----------> sync_sent              closed ----------> established
//                          | SYNC_ACK
//                          v
//                      established --- peer's FIN ---> close_wait
//                          | shutdown                      | shutdown
//                          v                               v
//   fin_wait_1 --- peer's FIN ---> closing             last_ack
//      | FIN acked                    | FIN acked          | FIN acked
//      v                              v                    v
//   fin_wait_2 --- peer's FIN ----> closed               closed
//
// "Peer's FIN" means that all bytes up to it have arrived, "shutdown" that our FIN is queued behind
// what was written. A reset leads to closed from everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nd::core {

enum class socket_state : std::uint8_t {
  closed,
  sync_sent,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
};
inline constexpr std::size_t socket_states = 8;

enum class socket_event : std::uint8_t { connect, sync, sync_ack, shutdown, fin, fin_acked, reset };
inline constexpr std::size_t socket_events = 7;

/// The state after `event`. An event that means nothing in a state leaves it as it is.
socket_state next_state(socket_state state, socket_event event) noexcept;

/// The application may still write (or has written, and it waits for SYNC_ACK).
constexpr bool may_write(socket_state s) noexcept {
  return s == socket_state::sync_sent || s == socket_state::established ||
         s == socket_state::close_wait;
}
/// The peer may still send.
constexpr bool may_receive(socket_state s) noexcept {
  return s == socket_state::sync_sent || s == socket_state::established ||
         s == socket_state::fin_wait_1 || s == socket_state::fin_wait_2;
}

}  // namespace nd::core
