// Credit: what a receiver lets its peer send ahead.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace nd::core {

/// The largest window that a host can be set to (settings.def, receive_buffer): no honest grant is
/// further ahead of what was sent.
inline constexpr std::uint64_t largest_window = std::uint64_t{1} << 30;

/// The memory that all grants of a process together may claim. A grant that is not consumed yet
/// holds its bytes. Three quarters may be granted before anybody asks; a quarter is left for peers
/// that say which bytes they want to send, so that idle connections never hold all there is.
class credit_pool {
 public:
  /// Less is not worth a packet.
  static constexpr std::uint64_t least = 256;

  explicit credit_pool(std::uint64_t limit_bytes) noexcept
      : limit_(limit_bytes), ahead_free_(limit_bytes - limit_bytes / 4) {}

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

  /// The right to hold up to `wanted` bytes all the time, at most 1/`divisor` of what is left of
  /// that. Holds nothing by itself.
  std::uint64_t reserve_ahead(std::uint64_t wanted, std::uint64_t divisor) noexcept {
    const std::uint64_t share = std::min(std::max(ahead_free_ / divisor, least), ahead_free_);
    const std::uint64_t given = std::min(wanted, share);
    ahead_free_ -= given;
    return given;
  }
  void return_ahead(std::uint64_t bytes) noexcept { ahead_free_ += bytes; }

 private:
  std::uint64_t limit_;
  std::uint64_t held_ = 0;
  std::uint64_t ahead_free_;
};

/// One socket's grants: an absolute offset, monotone. `ahead_` bytes are granted before the peer
/// asks, and grow to the window with what it sends (as TCP's receive buffers are tuned); beyond
/// that it gets what it asks for.
class receive_credit {
 public:
  /// What a peer may send before it has shown that it will, at most: thousands may be idle.
  static constexpr std::uint64_t initial_grant = 64 << 10;

  /// The stream starts at `first_offset`.
  receive_credit(credit_pool& pool, std::uint64_t window, std::uint64_t first_offset = 0) noexcept
      : pool_(pool),
        window_(window),
        ahead_(pool_.reserve_ahead(std::min(window, initial_grant), 1024)),
        granted_(first_offset),
        held_until_(first_offset),
        consumed_(first_offset) {
    extend_to(first_offset + ahead_, 1);
  }
  ~receive_credit() {
    pool_.give_back(held_until_ - consumed_);
    pool_.return_ahead(ahead_);
  }
  receive_credit(const receive_credit&) = delete;
  receive_credit& operator=(const receive_credit&) = delete;

  /// Offset up to which the peer may send.
  std::uint64_t granted() const noexcept { return granted_; }

  /// The peer's stream ends at `offset`: what was granted beyond is not needed.
  void on_final_offset(std::uint64_t offset) noexcept {
    pool_.give_back(held_until_ - offset);
    held_until_ = offset;
    ended_ = true;
    pool_.return_ahead(std::exchange(ahead_, 0));
  }

  /// The application has read up to `offset`. True when the window has opened by 1/16 since the
  /// last grant (nd_window_size): worth telling the peer.
  bool on_consumed(std::uint64_t offset) noexcept {
    const std::uint64_t read = offset - consumed_;
    pool_.give_back(read);
    consumed_ = offset;
    if (ended_) return false;
    // What was read goes back first, so that those who use the pool share it anew all the time.
    const std::uint64_t back = std::min(read, ahead_);
    pool_.return_ahead(back);
    ahead_ -= back;
    ahead_ += pool_.reserve_ahead(std::min(window_ - ahead_, back + growth * read), 16);
    const std::uint64_t target = consumed_ + ahead_;
    const std::uint64_t step = std::max(ahead_ / 16, std::min(ahead_ / 2, least_step));
    return target >= granted_ + step && extend_to(target, 1);
  }
  /// The peer is out of credit, and has bytes up to `until`: whatever there is, it gets.
  bool on_notification(std::uint64_t until) noexcept {
    if (ended_) return false;
    return extend_to(std::max(std::min(until, consumed_ + window_), consumed_ + ahead_), 16);
  }

 private:
  /// A peer that doubles what it sends with each round trip must not be held back.
  static constexpr std::uint64_t growth = 4;
  static constexpr std::uint64_t least_step =
      1000;  ///< of small windows, where half of one is more

  bool extend_to(std::uint64_t target, std::uint64_t divisor) noexcept {
    if (target <= granted_) return false;
    const std::uint64_t got = pool_.take(target - granted_, divisor);
    held_until_ = granted_ += got;
    return got > 0;
  }

  credit_pool& pool_;
  std::uint64_t window_;
  std::uint64_t ahead_;  ///< of the pool's
  std::uint64_t granted_;
  std::uint64_t held_until_;  ///< of the grant, what memory is held for
  std::uint64_t consumed_;
  bool ended_ = false;
};

}  // namespace nd::core
