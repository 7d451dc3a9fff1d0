// Errors of the public API, as std::error_code.
#pragma once

#include <system_error>

namespace nd {

/// Everything an operation of this library can fail with. Compare an `error_code` with these
/// directly (`ec == nd::errc::eof`); those that have a POSIX equal also compare equal to it
/// (`ec == std::errc::connection_refused`).
enum class errc : int {
  eof = 1,            ///< The peer sent FIN and all its bytes have been read.
  would_block,        ///< Non-blocking, and nothing can be done now. Nothing was lost.
  in_progress,        ///< A connect is under way.
  interrupted,        ///< runtime::interrupt() was called.
  timed_out,          ///< The operation's time limit passed (option `timeout`), or a connect's did.
  invalid_argument,   ///< A value out of range; the message says which.
  not_connected,      ///< The socket has no connection (yet, or no longer).
  already_connected,  ///< connect() on a socket that is connected or connecting.
  bad_descriptor,     ///< The socket or acceptor is closed or was moved from.
  shut_down,          ///< Writing after shutdown(send), or reading after shutdown(receive).
  address_in_use,     ///< Another acceptor of this runtime has that port.
  address_not_available,  ///< Listening: not this host's. Connecting: this host itself, or no port
                          ///< left.
  host_unreachable,       ///< No answer to ARP, or to the channel handshake.
  connection_refused,  ///< The host answered; nobody listens on that port, or its backlog is full.
  connection_reset,    ///< The peer reset the connection, closed it with our data unread, or ended.
  connection_aborted,  ///< This host gave the connection up (bytes came after shutdown(receive)).
  peer_lost,           ///< The peer has been silent for `peer_timeout`, or it restarted.
  protocol_error,      ///< The peer broke a rule of the protocol (docs/wire.md).
  no_buffer_space,     ///< No memory for the mbuf pools, or the table of sockets is full.
  bad_option,          ///< Unknown setting or bad value; the message names the nearest right one.
  eal_failed,          ///< rte_eal_init() refused its arguments, or a second EAL was asked for.
  no_device,           ///< No such ethdev, or it can't be configured as the settings ask.
};

/// The category of `errc`, named "nd". Thread-safe.
const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), error_category()};
}

}  // namespace nd

template <>
struct std::is_error_code_enum<nd::errc> : std::true_type {};
