// Where nd-cat's bytes come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>

#include "common/byte_stream.hpp"

namespace nd::apps::cat {

/// A file descriptor to read, of any kind, without ever waiting for somebody to type or to write
/// (only for a disk). The descriptor's flags stay as they are: a terminal or a pipe is shared with
/// other programs.
class source {
 public:
  explicit source(int fd) noexcept;

  io_result read_some(std::span<std::byte> in) noexcept;
  std::error_code error() const noexcept { return error_; }

  bool is_terminal() const noexcept { return terminal_; }
  /// Bytes that are to come, where that is known.
  std::optional<std::uint64_t> size() const noexcept { return size_; }

 private:
  int fd_;
  bool always_ready_ = false;  // a file on disk
  bool terminal_ = false;
  std::optional<std::uint64_t> size_;
  unsigned turns_until_look_ = 0;
  std::error_code error_;
};

}  // namespace nd::apps::cat
