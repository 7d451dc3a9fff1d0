// Sending without a copy: memory that sockets read where it lies, and loans of it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>

#include "nd/runtime.hpp"

namespace nd {

namespace api {
class loan_state;
class memory_region;
class socket_impl;
}  // namespace api

/// Memory that is known to the runtime's device. Its bytes may be given to socket::write_lent().
/// Inline mode: the runtime's thread; lcore mode: any, one at a time. Registering takes some
/// milliseconds: do it once, not for each write.
class registered_memory {
 public:
  /// Pages of its own, at least `bytes` of them, zero. Throws std::system_error:
  /// errc::invalid_argument (0 bytes), errc::no_buffer_space.
  registered_memory(runtime& rt, std::size_t bytes);
  /// The caller's memory: whole pages that begin at a page, usually 4096 bytes, of which none is
  /// registered already. Throws as the other one, with errc::invalid_argument for such.
  /// It must stay mapped while this object or a loan of it is there, and until those are returned.
  registered_memory(runtime& rt, std::span<std::byte> pages);
  registered_memory(registered_memory&&) noexcept;
  registered_memory& operator=(registered_memory&&) noexcept;
  /// Pages of its own stay until the last loan is returned and gone, so this may go before sockets
  /// have sent all, and before or after the runtime.
  ~registered_memory();

  /// Aligned to a page. Empty when it was moved from.
  std::span<std::byte> bytes() const noexcept;

 private:
  friend class loan;
  std::shared_ptr<api::memory_region> region_;
};

/// Says when bytes that were lent may be changed again. It can be used for any number of writes, to
/// any sockets, one after the other or at once, and again when it was returned: one for each buffer
/// of an application that fills one while another is sent. It allocates when it is made, not when
/// it is used. One thread at a time.
class loan {
 public:
  explicit loan(const registered_memory& memory);
  loan(loan&&) noexcept;
  loan& operator=(loan&&) noexcept;
  /// Does not wait: bytes that are not returned must stay unchanged all the same, and nobody will
  /// say until when.
  ~loan();

  /// Nothing that was lent is used any more: the peer has acknowledged it, or its connection has
  /// ended, and no queue or device has it. Also when nothing was lent. Never blocks, does not poll.
  bool returned() const noexcept;
  /// Waits for that. Without a limit: as long as a peer lives and does not read, it may take for
  /// ever. Fails with errc::interrupted; inline it polls, whatever the socket's non_blocking()
  /// says.
  void wait();
  void wait(std::error_code& ec);

 private:
  friend class api::socket_impl;
  api::loan_state* state_ = nullptr;
};

}  // namespace nd
