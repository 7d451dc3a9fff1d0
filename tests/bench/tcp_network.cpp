#include "tcp_network.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace nd::bench {
namespace {

using apps::connect_failure;
using apps::host_port;
using apps::io_result;
using apps::io_status;

[[noreturn]] void raise(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

sockaddr_in to_sockaddr(const host_port& at) noexcept {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(at.port);
  out.sin_addr.s_addr = htonl(at.address);
  return out;
}

unique_fd open_socket() {
  unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) raise("socket");
  return fd;
}

void no_delay(int fd) {
  const int on = 1;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) raise("TCP_NODELAY");
}

void use_congestion_control(int fd, const std::string& name) {
  if (name.empty()) return;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                   static_cast<socklen_t>(name.size())) != 0) {
    raise("TCP_CONGESTION " + name);
  }
}

}  // namespace

unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}

tcp_stream::tcp_stream(int epoll, const host_port& peer, const std::string& congestion)
    : fd_(open_socket()), epoll_(epoll), peer_(peer) {
  no_delay(fd_.get());
  use_congestion_control(fd_.get(), congestion);
  const sockaddr_in to = to_sockaddr(peer);
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS) {
    fail(errno);
    return;
  }
  watch(true);
}

tcp_stream::tcp_stream(int epoll, unique_fd fd, const host_port& peer)
    : fd_(std::move(fd)), epoll_(epoll), peer_(peer) {
  no_delay(fd_.get());
  watch(false);
}

io_status tcp_stream::connect_status() {
  if (error_) return io_status::failed;
  pollfd p{fd_.get(), POLLOUT, 0};
  if (::poll(&p, 1, 0) <= 0) return io_status::would_block;
  int number = 0;
  socklen_t size = sizeof number;
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &number, &size);
  if (number != 0) return fail(number).status;
  watch(false);
  return io_status::ok;
}

io_result tcp_stream::read_some(std::span<std::byte> in) {
  const ssize_t n = ::recv(fd_.get(), in.data(), in.size(), 0);
  if (n > 0) return {static_cast<std::size_t>(n), io_status::ok};
  if (n == 0) return {0, io_status::eof};
  return fail(errno);
}

io_result tcp_stream::write_some(std::span<const std::byte> out) {
  const ssize_t n = ::send(fd_.get(), out.data(), out.size(), MSG_NOSIGNAL);
  const bool full = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  if (full != watches_writing_) [[unlikely]]
    watch(full);
  if (full) return {0, io_status::would_block};
  if (n < 0) return fail(errno);
  return {static_cast<std::size_t>(n), io_status::ok};
}

void tcp_stream::shutdown_send() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void tcp_stream::watch(bool for_writing) {
  watches_writing_ = for_writing;
  if (epoll_ < 0) return;
  epoll_event event{};
  event.events = for_writing ? EPOLLIN | EPOLLOUT : EPOLLIN;
  const int operation = watched_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_, operation, fd_.get(), &event) != 0) raise("epoll_ctl");
  watched_ = true;
}

io_result tcp_stream::fail(int number) noexcept {
  if (number == EAGAIN || number == EWOULDBLOCK || number == EINTR) {
    return {0, io_status::would_block};
  }
  error_ = std::error_code(number, std::generic_category());
  return {0, io_status::failed};
}

tcp_listener::tcp_listener(int epoll, std::uint16_t port, const std::string& congestion)
    : fd_(open_socket()), epoll_(epoll) {
  use_congestion_control(fd_.get(), congestion);
  const int on = 1;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in at = to_sockaddr({INADDR_ANY, port});
  if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(fd_.get(), SOMAXCONN) != 0) {
    raise("port " + std::to_string(port));
  }
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ >= 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_.get(), &event) != 0) {
    raise("epoll_ctl");
  }
}

std::optional<tcp_stream> tcp_listener::accept(bool idle) {
  // A system call that mostly finds nothing would slow each turn of a loop that is being measured.
  if (!idle && ++turns_ % 16 != 0) return std::nullopt;
  sockaddr_in from{};
  socklen_t size = sizeof from;
  unique_fd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&from), &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.get() >= 0) {
    const host_port peer{ntohl(from.sin_addr.s_addr), ntohs(from.sin_port)};
    return tcp_stream(epoll_, std::move(fd), peer);
  }
  for (const int harmless : {EAGAIN, EWOULDBLOCK, EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS}) {
    if (errno == harmless) return std::nullopt;
  }
  raise("accept");
}

tcp_network::tcp_network(bool spin, std::string congestion)
    : epoll_(spin ? -1 : ::epoll_create1(EPOLL_CLOEXEC)), congestion_(std::move(congestion)) {
  if (spin) return;
  if (epoll_.get() < 0) raise("epoll_create1");
  tick_ = unique_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  constexpr itimerspec often{{0, 2'000'000}, {0, 2'000'000}};
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = tick_.get();
  if (tick_.get() < 0 || ::timerfd_settime(tick_.get(), 0, &often, nullptr) != 0 ||
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, tick_.get(), &event) != 0) {
    raise("timerfd");
  }
}

void tcp_network::poll(bool idle) {
  if (!idle || epoll_.get() < 0) return;
  // That something is ready is all the loops need to know: they look at every stream.
  std::array<epoll_event, 8> events;
  const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
  for (int i = 0; i < n; ++i) {
    if (events[static_cast<std::size_t>(i)].data.fd != tick_.get()) continue;
    std::uint64_t ticks = 0;
    static_cast<void>(!::read(tick_.get(), &ticks, sizeof ticks));
  }
}

connect_failure tcp_network::classify(std::error_code ec) noexcept {
  switch (ec.value()) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT: return connect_failure::no_server;
    case EADDRNOTAVAIL:
    case ENOBUFS:
    case EAGAIN: return connect_failure::no_room;
    default: return connect_failure::other;
  }
}

}  // namespace nd::bench
