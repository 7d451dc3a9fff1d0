// A file descriptor with an owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace nd::pmd {

class descriptor {
 public:
  /// Owns `fd`; negative: none.
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Leaves it open for the rest of the process.
  int keep() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace nd::pmd
