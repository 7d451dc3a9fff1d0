#include "nd-cat/sink.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>

#include "nd-cat/pipe_size.hpp"

namespace nd::apps::cat {
namespace {

// Opens what `fd` is open on once more, non-blocking. O_NONBLOCK on `fd` itself would hold for
// everybody who shares the terminal or pipe.
int reopen(int fd) noexcept {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  return ::open(path.data(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

}  // namespace

sink::sink(int fd) noexcept : fd_(fd) {
  struct stat s {};
  if (::fstat(fd, &s) != 0 || S_ISREG(s.st_mode)) return;
  if (S_ISFIFO(s.st_mode)) enlarge_pipe(fd);
  const bool pipe_or_terminal = S_ISFIFO(s.st_mode) || ::isatty(fd) == 1;
  if (S_ISCHR(s.st_mode) && !pipe_or_terminal) return;  // /dev/null
  const int own = pipe_or_terminal ? reopen(fd) : -1;
  if (own < 0) {
    must_ask_ = true;  // a socket, or a pipe of another user's
    return;
  }
  ::close(fd_);
  fd_ = own;
}

sink::~sink() {
  if (fd_ >= 0) ::close(fd_);
}

io_result sink::write_some(std::span<const std::byte> out) noexcept {
  std::size_t size = out.size();
  if (must_ask_) {
    pollfd p{fd_, POLLOUT, 0};
    if (::poll(&p, 1, 0) == 0) return {};
    size = std::min<std::size_t>(size, PIPE_BUF);  // what a pipe that is ready takes for sure
  }
  const ssize_t n = ::write(fd_, out.data(), size);
  if (n >= 0) return {static_cast<std::size_t>(n), io_status::ok};
  if (errno == EAGAIN || errno == EINTR) return {};
  error_ = std::error_code(errno, std::generic_category());
  return {0, io_status::failed};
}

bool sink::finish() noexcept {
  const int fd = fd_;
  fd_ = -1;
  if (fd < 0 || ::close(fd) == 0) return true;
  error_ = std::error_code(errno, std::generic_category());
  return false;
}

}  // namespace nd::apps::cat
