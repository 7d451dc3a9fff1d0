// A listening port.
#pragma once

#include "nd/socket.hpp"

namespace nd {

namespace api {
class acceptor_impl;
}

/// Listens on a virtual port from construction on. Connections that nobody has accepted yet wait,
/// at most setting `backlog` of them; the next ones are refused. Thread rules: see `runtime`; one
/// thread at a time may accept.
class acceptor {
 public:
  /// `local`'s address is any_address or the runtime's; port 0 chooses a free one. Throws
  /// errc::address_in_use, errc::address_not_available.
  acceptor(runtime& rt, const endpoint& local);
  acceptor(acceptor&&) noexcept;
  acceptor& operator=(acceptor&&) noexcept;
  /// As close().
  ~acceptor();

  /// Waits for a connection. Fails with would_block (non-blocking), interrupted, timed_out,
  /// bad_descriptor; the socket returned with an error is closed.
  socket accept();
  socket accept(std::error_code& ec);

  /// Stops listening; connections that wait to be accepted are reset.
  void close() noexcept;
  bool is_open() const noexcept;

  void non_blocking(bool on) noexcept;
  bool non_blocking() const noexcept;
  /// For accept().
  void set_option(timeout value);

  endpoint local_endpoint() const;

 private:
  std::unique_ptr<api::acceptor_impl> impl_;
};

}  // namespace nd
