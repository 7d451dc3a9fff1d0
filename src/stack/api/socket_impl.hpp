// What a call on a socket does: checks, moves bytes through the stream, and waits.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <system_error>

#include "api/runtime_impl.hpp"
#include "lcore/app_stream.hpp"
#include "nd/socket.hpp"

namespace nd::api {

class socket_impl;

/// Where borrowed bytes are given back to: they may outlive their socket.
class lender {
 public:
  explicit lender(socket_impl* s) noexcept : socket(s) {}
  socket_impl* socket;  ///< null once it has gone, or has another connection
};

class socket_impl {
 public:
  explicit socket_impl(runtime_impl& rt);
  /// Takes a connection that the stack accepted.
  socket_impl(runtime_impl& rt, core::socket_link* link);
  ~socket_impl();
  socket_impl(const socket_impl&) = delete;
  socket_impl& operator=(const socket_impl&) = delete;

  std::error_code connect(const endpoint& peer);
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& ec);
  borrowed_bytes borrow(std::error_code& ec);
  void give_back(std::size_t bytes) noexcept;
  std::size_t write_some(std::span<const std::byte> buffer, std::error_code& ec);
  std::size_t write_lent(loan& from, std::span<const std::byte> buffer, std::error_code& ec);
  std::error_code shutdown(shutdown_type what);
  void close() noexcept;
  void abort() noexcept;

  bool is_open() const noexcept { return open_; }
  bool has_link() const noexcept { return link_ != nullptr; }
  bool connected() const noexcept;
  std::error_code failure() const noexcept;
  std::size_t available() const noexcept;
  std::size_t unacknowledged() const noexcept;
  endpoint local_endpoint() const;
  endpoint remote_endpoint() const;

  bool non_blocking = false;
  timeout limit;
  traffic_class priority = traffic_class::throughput;
  std::size_t send_buffer;
  std::size_t receive_buffer;

 private:
  void use_link(core::socket_link* link) noexcept;
  void drop_link(std::uint32_t requests = core::request_close) noexcept;
  std::error_code check_usable() const noexcept;
  std::error_code check_readable() const noexcept;
  template <class Take>
  std::size_t receive(std::error_code& ec, Take&& take);
  template <class Put>
  std::size_t send(std::span<const std::byte> buffer, std::error_code& ec, Put&& put);
  bool is_bulk() const noexcept { return link_->traffic_class != core::latency_class; }
  std::size_t take(std::span<std::byte> buffer);
  std::uint32_t status() const noexcept;

  runtime_impl& rt_;
  core::socket_link* link_ = nullptr;
  std::optional<core::app_stream> stream_;  ///< while there is a link
  std::shared_ptr<lender> lender_;          ///< since the link's first borrow()
  bool open_ = true;
  bool send_shut_down_ = false;
  bool receive_shut_down_ = false;
};

}  // namespace nd::api
