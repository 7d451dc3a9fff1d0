// Where nd-cat's bytes go.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>

#include "common/byte_stream.hpp"

namespace nd::apps::cat {

/// A file descriptor to write, of any kind, without waiting for a reader (only for a disk).
class sink {
 public:
  /// Takes `fd` over.
  explicit sink(int fd) noexcept;
  ~sink();
  sink(const sink&) = delete;
  sink& operator=(const sink&) = delete;

  io_result write_some(std::span<const std::byte> out) noexcept;
  /// Closes: a full or distant disk may say only now that it did not take all. False with error().
  bool finish() noexcept;
  std::error_code error() const noexcept { return error_; }

 private:
  int fd_;
  bool must_ask_ = false;  // the descriptor would block: poll(2) before each write
  std::error_code error_;
};

}  // namespace nd::apps::cat
