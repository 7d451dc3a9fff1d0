#include "nd-cat/source.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "nd-cat/pipe_size.hpp"

namespace nd::apps::cat {

source::source(int fd) noexcept : fd_(fd), terminal_(::isatty(fd) == 1) {
  struct stat s {};
  if (::fstat(fd, &s) != 0) return;
  if (S_ISFIFO(s.st_mode)) enlarge_pipe(fd);
  if (!S_ISREG(s.st_mode)) return;
  always_ready_ = true;
  const off_t position = ::lseek(fd, 0, SEEK_CUR);
  // The files of /proc say 0.
  if (position >= 0 && s.st_size > position) {
    size_ = static_cast<std::uint64_t>(s.st_size - position);
  }
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

io_result source::read_some(std::span<std::byte> in) noexcept {
  if (!always_ready_) {
    // Looking is a system call, and the loop turns many times in a microsecond's time.
    if (turns_until_look_ != 0) {
      --turns_until_look_;
      return {};
    }
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, 0) == 0) {
      turns_until_look_ = 16;
      return {};
    }
  }
  const ssize_t n = ::read(fd_, in.data(), in.size());
  if (n > 0) return {static_cast<std::size_t>(n), io_status::ok};
  if (n == 0) return {0, io_status::eof};
  if (errno == EAGAIN || errno == EINTR) return {};
  error_ = std::error_code(errno, std::generic_category());
  return {0, io_status::failed};
}

}  // namespace nd::apps::cat
