// Kernel TCP as a network of nd-echo's workloads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "nd-echo/network.hpp"

namespace nd::bench {

/// A file descriptor that closes itself.
class unique_fd {
 public:
  explicit unique_fd(int fd = -1) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~unique_fd();
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// A non-blocking TCP socket with TCP_NODELAY. With an epoll descriptor it keeps itself registered
/// there: always for reading, for writing while a write waits.
class tcp_stream {
 public:
  /// Starts to connect. `congestion` names a congestion control; empty for the system's.
  tcp_stream(int epoll, const apps::host_port& peer, const std::string& congestion);
  /// One that was accepted.
  tcp_stream(int epoll, unique_fd fd, const apps::host_port& peer);

  apps::io_status connect_status();
  apps::io_result read_some(std::span<std::byte> in);
  apps::io_result write_some(std::span<const std::byte> out);
  void shutdown_send();
  std::error_code error() const noexcept { return error_; }
  std::string peer() const { return apps::to_string(peer_); }

 private:
  void watch(bool for_writing);
  apps::io_result fail(int number) noexcept;

  unique_fd fd_;
  int epoll_;
  apps::host_port peer_;
  std::error_code error_;
  bool watched_ = false;
  bool watches_writing_ = false;
};

class tcp_listener {
 public:
  /// What it accepts inherits `congestion`.
  tcp_listener(int epoll, std::uint16_t port, const std::string& congestion);
  std::optional<tcp_stream> accept(bool idle);

 private:
  unique_fd fd_;
  int epoll_;
  unsigned turns_ = 0;
};

/// Spinning, it never waits, as a poll-mode stack; blocking, it sleeps in epoll_wait() when no
/// stream can go on.
class tcp_network {
 public:
  using stream = tcp_stream;
  using listener = tcp_listener;

  explicit tcp_network(bool spin, std::string congestion = {});

  void poll(bool idle);
  stream connect(const apps::host_port& peer, apps::echo::mode) {
    return {epoll_.get(), peer, congestion_};
  }
  listener listen(std::uint16_t port) { return {epoll_.get(), port, congestion_}; }
  static apps::connect_failure classify(std::error_code ec) noexcept;

 private:
  unique_fd epoll_;  // negative: spins
  // The loops look at the clock and at signals now and then. A time limit of each epoll_wait()
  // would set a timer each time: some 10 us of a round trip in a virtual machine.
  unique_fd tick_;
  std::string congestion_;
};

static_assert(apps::echo::network<tcp_network>);

}  // namespace nd::bench
