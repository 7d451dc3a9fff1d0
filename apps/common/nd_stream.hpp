// Libndstack's sockets as the apps' loops use them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nd/nd.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/byte_stream.hpp"
#include "common/text.hpp"

namespace nd::apps {

class nd_stream {
 public:
  /// Starts to connect.
  nd_stream(runtime& rt, const host_port& peer, traffic_class kind)
      : rt_(&rt), socket_(rt), peer_(nd::address(peer.address), peer.port) {
    socket_.non_blocking(true);
    socket_.set_option(kind);
    std::error_code ec;
    socket_.connect(peer_, ec);
    if (ec && ec != errc::in_progress) error_ = ec;
  }
  /// One that was accepted.
  explicit nd_stream(nd::socket s)
      : socket_(std::move(s)), peer_(socket_.remote_endpoint()), stood_(true) {
    socket_.non_blocking(true);
  }

  /// Also tells later whether the connection still stands.
  io_status connect_status() {
    if (error_) return io_status::failed;
    if (socket_.connected()) {
      stood_ = true;
      return io_status::ok;
    }
    // A connection that failed says why in the next call. One that is under way would block; where
    // the wire reorders, it may have the peer's first byte, or its FIN, before the peer's answer.
    std::error_code ec;
    if (!early_ && socket_.read_some(std::span(&early_byte_, 1), ec) != 0) early_ = true;
    if (socket_.connected()) return io_status::ok;
    if (ec) result(0, ec);
    if (stood_ && !error_) error_ = errc::connection_aborted;  // the peer's FIN hides the reason
    return error_ ? io_status::failed : io_status::would_block;
  }
  io_result read_some(std::span<std::byte> in) {
    if (early_) [[unlikely]] {
      early_ = false;
      in.front() = early_byte_;
      return {1, io_status::ok};
    }
    std::error_code ec;
    const std::size_t n = socket_.read_some(in, ec);
    return result(n, ec);
  }
  io_result write_some(std::span<const std::byte> out) {
    std::error_code ec;
    const std::size_t n = socket_.write_some(out, ec);
    return result(n, ec);
  }
  /// `count` buffers of `size` bytes.
  void lend(std::size_t count, std::size_t size) {
    lent_ = std::make_unique<lent_buffers>(*rt_, count, size);
  }
  std::span<std::byte> buffer() {
    lent_buffers& l = *lent_;
    const std::size_t next = (l.last + 1) % l.loans.size();
    if (!l.loans[next].returned()) return {};
    l.last = next;
    return l.memory.bytes().subspan(next * l.size, l.size);
  }
  io_result write_lent(std::span<const std::byte> out) {
    std::error_code ec;
    const std::size_t n = socket_.write_lent(lent_->loans[lent_->last], out, ec);
    return result(n, ec);
  }
  void shutdown_send() {
    std::error_code ec;  // a connection that is gone shows in the next read
    socket_.shutdown(shutdown_type::send, ec);
  }

  /// Bytes written that the peer's stack does not have yet.
  std::size_t unacknowledged() const noexcept { return socket_.unacknowledged(); }

  std::error_code error() const noexcept { return error_; }
  std::string peer() const { return peer_.to_string(); }

 private:
  io_result result(std::size_t n, std::error_code ec) noexcept {
    if (n != 0 || !ec) [[likely]]
      return {n, io_status::ok};
    if (ec == errc::would_block || ec == errc::in_progress) return {0, io_status::would_block};
    if (ec == errc::eof) return {0, io_status::eof};
    error_ = ec;
    return {0, io_status::failed};
  }

  struct lent_buffers {
    lent_buffers(runtime& rt, std::size_t count, std::size_t bytes)
        : memory(rt, count * bytes), size(bytes) {
      for (std::size_t i = 0; i < count; ++i) loans.emplace_back(memory);
    }
    registered_memory memory;
    std::size_t size;
    std::size_t last = 0;
    std::vector<loan> loans;
  };

  runtime* rt_ = nullptr;  // of one that connects
  std::unique_ptr<lent_buffers> lent_;
  nd::socket socket_;
  endpoint peer_;
  std::error_code error_;
  std::byte early_byte_{};  // read before the connection stood
  bool early_ = false;
  bool stood_ = false;
};

class nd_listener {
 public:
  nd_listener(runtime& rt, std::uint16_t port) : acceptor_(rt, endpoint(any_address, port)) {
    // Bounds the wait for a client, so that --interval and --once are looked at.
    acceptor_.set_option(timeout{std::chrono::milliseconds(100)});
  }

  /// With `idle` the library waits, and so decides how much of a core that takes.
  std::optional<nd_stream> accept(bool idle) {
    acceptor_.non_blocking(!idle);
    std::error_code ec;
    nd::socket s = acceptor_.accept(ec);
    if (!ec) return nd_stream(std::move(s));
    for (const errc harmless : {errc::would_block, errc::timed_out, errc::interrupted,
                                errc::no_buffer_space, errc::connection_aborted}) {
      if (ec == harmless) return std::nullopt;
    }
    throw std::system_error(ec, "accept");
  }

 private:
  acceptor acceptor_;
};

inline connect_failure classify_connect(std::error_code ec) noexcept {
  if (ec == errc::connection_refused || ec == errc::host_unreachable || ec == errc::timed_out) {
    return connect_failure::no_server;
  }
  if (ec == errc::no_buffer_space || ec == errc::address_not_available) {
    return connect_failure::no_room;
  }
  return connect_failure::other;
}

static_assert(lending_stream<nd_stream>);

}  // namespace nd::apps
