// Credit: what a receiver lets its peer send ahead.
#pragma once

#include <algorithm>
#include <cstdint>

namespace nd::core {

/// The largest window that a host can be set to (settings.def, receive_buffer): no honest grant is
/// further ahead of what was sent.
inline constexpr std::uint64_t largest_window = std::uint64_t{1} << 30;

/// The memory that all grants of a process together may claim. A grant that is not consumed yet
/// holds its bytes.
class credit_pool {
 public:
  explicit credit_pool(std::uint64_t limit_bytes) noexcept : limit_(limit_bytes) {}

  std::uint64_t held() const noexcept { return held_; }
  std::uint64_t limit() const noexcept { return limit_; }

  /// Takes up to `wanted` bytes, at most 1/`divisor` of what is free but 1 KiB where there is as
  /// much: the last ones to ask still get something.
  std::uint64_t take(std::uint64_t wanted, std::uint64_t divisor) noexcept {
    const std::uint64_t free = limit_ - held_;
    const std::uint64_t share = std::max<std::uint64_t>(free / divisor, std::uint64_t{1} << 10);
    const std::uint64_t given = std::min({wanted, share, free});
    held_ += given;
    return given;
  }
  void give_back(std::uint64_t bytes) noexcept { held_ -= bytes; }

 private:
  std::uint64_t limit_;
  std::uint64_t held_ = 0;
};

/// One socket's grants: an absolute offset, monotone.
class receive_credit {
 public:
  /// What a peer may send before it has shown that it will, at most: thousands may be idle.
  static constexpr std::uint64_t initial_grant = 64 << 10;

  /// The stream starts at `first_offset`.
  receive_credit(credit_pool& pool, std::uint64_t window, std::uint64_t first_offset = 0) noexcept
      : pool_(pool), window_(window), consumed_(first_offset) {
    held_until_ = granted_ = first_offset + pool_.take(std::min(window_, initial_grant), 1024);
  }
  ~receive_credit() { pool_.give_back(held_until_ - consumed_); }
  receive_credit(const receive_credit&) = delete;
  receive_credit& operator=(const receive_credit&) = delete;

  /// Offset up to which the peer may send.
  std::uint64_t granted() const noexcept { return granted_; }

  /// The peer's stream ends at `offset`: what was granted beyond is not needed.
  void on_final_offset(std::uint64_t offset) noexcept {
    pool_.give_back(held_until_ - offset);
    held_until_ = offset;
    ended_ = true;
  }

  /// The application has read up to `offset`. True when the window has opened by 1/16 since the
  /// last grant (nd_window_size): worth telling the peer.
  bool on_consumed(std::uint64_t offset) noexcept {
    pool_.give_back(offset - consumed_);
    consumed_ = offset;
    return extend(window_ / 16);
  }
  /// The peer says that it is out of credit: whatever there is, it gets.
  bool on_notification() noexcept { return extend(1); }

 private:
  bool extend(std::uint64_t least) noexcept {
    const std::uint64_t target = consumed_ + window_;
    if (ended_ || target < granted_ + least) return false;
    const std::uint64_t got = pool_.take(target - granted_, 16);
    held_until_ = granted_ += got;
    return got > 0;
  }

  credit_pool& pool_;
  std::uint64_t window_;
  std::uint64_t granted_ = 0;
  std::uint64_t held_until_ = 0;  ///< of the grant, what memory is held for
  std::uint64_t consumed_;
  bool ended_ = false;
};

}  // namespace nd::core
