// Keeps stdout for the app.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace nd::apps {

/// The EAL logs to stdout, where only results may appear. While this lives, whatever is written to
/// stdout goes to stderr, and fd() is the real one.
class stdout_guard {
 public:
  stdout_guard() noexcept : fd_(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)) {
    if (fd_ >= 0) ::dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  ~stdout_guard() {
    if (fd_ < 0) return;
    ::dup2(fd_, STDOUT_FILENO);
    ::close(fd_);
  }
  stdout_guard(const stdout_guard&) = delete;
  stdout_guard& operator=(const stdout_guard&) = delete;

  /// Negative if stdout was closed when the program started.
  int fd() const noexcept { return fd_; }
  /// The same, for the caller to close. Stdout then stays where it is.
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace nd::apps
