// A virtual socket: a reliable, ordered, two-way stream of bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>

#include "nd/borrowed_bytes.hpp"
#include "nd/endpoint.hpp"
#include "nd/error.hpp"
#include "nd/registered_memory.hpp"
#include "nd/runtime.hpp"

namespace nd {

/// Which channels carry a socket's data. The two classes never share a channel (NetChannel,
/// SIGCOMM 2022, section 3.2). Set before connect(); an accepted socket has its peer's class.
enum class traffic_class : std::uint8_t { throughput, latency };

/// How long a blocking call may take; zero (the default) means for ever. A call that runs out
/// fails with errc::timed_out; bytes it has moved are reported as usual. What dcopy lcores are
/// copying for a call is waited for in any case, some microseconds.
struct timeout {
  std::chrono::nanoseconds value{0};
};

/// Bytes that may be written and not yet acknowledged. Set before connect(). Default: setting
/// `send_buffer`; 4 KiB to 1 GiB.
struct send_buffer_size {
  std::size_t value = 0;
};

/// Bytes that the peer may send ahead of our reading. Set before connect(). Default: setting
/// `receive_buffer`; 4 KiB to 1 GiB.
struct receive_buffer_size {
  std::size_t value = 0;
};

enum class shutdown_type : std::uint8_t { receive, send, both };

/// A stream socket. Movable; a moved-from socket is closed. Every operation has a form that throws
/// std::system_error and one that sets an `error_code`. Thread rules: see `runtime`.
///
/// Blocking by default: a call waits (in inline mode: polls) until it can do something. With
/// non_blocking(true) it fails with errc::would_block instead.
class socket {
 public:
  explicit socket(runtime& rt);
  socket(socket&&) noexcept;
  socket& operator=(socket&&) noexcept;
  /// As close().
  ~socket();

  /// Connects to a listening peer. Opens channels to its host first if there are none. Fails with
  /// host_unreachable, connection_refused, timed_out (setting `connect_timeout`), peer_lost;
  /// non-blocking with in_progress: then connected() or an error of a later call tells the end.
  void connect(const endpoint& peer);
  void connect(const endpoint& peer, std::error_code& ec);
  /// True from the peer's SYNC_ACK until an error or close(). Never blocks.
  bool connected() const noexcept;
  /// Why the connection failed; no error while it has not. Says so even after the peer's FIN,
  /// behind which reads only see errc::eof. Does not poll.
  std::error_code error() const noexcept;

  /// Reads at least one byte, at most `buffer.size()`. Returns how many. At the peer's FIN: 0 and
  /// errc::eof (an empty buffer: 0 and no error). Bytes that came before an error of the
  /// connection are returned before it.
  std::size_t read_some(std::span<std::byte> buffer);
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& ec);

  /// As read_some(), with its errors, but the bytes stay where the stack has received them: the
  /// next run of them, at most a packet's; empty with an error only. Small records, and bytes that
  /// came out of order, may come in shorter runs. Bytes that are lent when the socket is closed
  /// count as read.
  borrowed_bytes borrow();
  borrowed_bytes borrow(std::error_code& ec);

  /// Takes at least one byte of `buffer` into the stack and returns how many. The caller's buffer
  /// is free when the call returns. That bytes were taken does not mean that they arrived.
  /// Inline mode: they leave at once when nothing of this socket is on its way, else with the next
  /// call into the library, together with what else was written by then.
  std::size_t write_some(std::span<const std::byte> buffer);
  std::size_t write_some(std::span<const std::byte> buffer, std::error_code& ec);

  /// As write_some(), but the bytes, which are some of the memory that `from` is a loan of, stay
  /// where they are, and must not change, until `from` says that they are returned. Else
  /// errc::invalid_argument. What was taken counts as unacknowledged() as if it were written. Where
  /// the device can't send them so (setting zero_copy), they are copied, and are returned at once.
  /// Worth it from some 16 KiB on (docs/tuning.md).
  std::size_t write_lent(loan& from, std::span<const std::byte> bytes);
  std::size_t write_lent(loan& from, std::span<const std::byte> bytes, std::error_code& ec);

  /// Bytes that a read_some() would get without waiting. Never blocks, does not poll.
  std::size_t available() const noexcept;
  /// Bytes that were written and that the peer's stack has not acknowledged. Does not poll.
  std::size_t unacknowledged() const noexcept;

  /// Half close: `send` sends FIN after all that was written; `receive` makes later reads fail and
  /// resets the connection if more comes.
  void shutdown(shutdown_type what);
  void shutdown(shutdown_type what, std::error_code& ec);

  /// Gives the connection to the stack, which sends what was written and FIN. Bytes of the peer
  /// that were not read make it a reset. Never blocks; in inline mode it needs polls to finish,
  /// which runtime's destructor also does.
  void close();
  void close(std::error_code& ec);
  /// Closes at once and tells the peer that bytes may be missing: its calls fail with
  /// connection_reset. What was written and has not left is dropped.
  void abort() noexcept;
  bool is_open() const noexcept;

  void non_blocking(bool on) noexcept;
  bool non_blocking() const noexcept;

  void set_option(traffic_class value);
  void set_option(timeout value);
  void set_option(send_buffer_size value);
  void set_option(receive_buffer_size value);
  void get_option(traffic_class& value) const;
  void get_option(timeout& value) const;
  void get_option(send_buffer_size& value) const;
  void get_option(receive_buffer_size& value) const;

  /// Throw std::system_error(errc::not_connected) before connect().
  endpoint local_endpoint() const;
  endpoint remote_endpoint() const;

 private:
  friend class acceptor;
  explicit socket(std::unique_ptr<api::socket_impl> impl) noexcept;
  std::unique_ptr<api::socket_impl> impl_;
};

/// Writes all of `buffer`; returns what was taken, less than all only with an error. A non-blocking
/// socket may stop early with errc::would_block.
std::size_t write(socket& s, std::span<const std::byte> buffer);
std::size_t write(socket& s, std::span<const std::byte> buffer, std::error_code& ec);

/// Fills all of `buffer`; less only with an error (errc::eof among them).
std::size_t read(socket& s, std::span<std::byte> buffer);
std::size_t read(socket& s, std::span<std::byte> buffer, std::error_code& ec);

}  // namespace nd
