// A hierarchical timing wheel of intrusive timers.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.hpp"

namespace nd {

namespace detail {
struct timer_link {
  timer_link* next = nullptr;
  timer_link* prev = nullptr;
};
}  // namespace detail

/// A timer that lives in its owner. Must be disarmed before it is destroyed.
class timer : detail::timer_link {
 public:
  enum class owner_kind : std::uint8_t { channel, socket, neighbor, watch };

  timer(owner_kind kind, void* owner) noexcept : owner_(owner), kind_(kind) {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  bool armed() const noexcept { return next != nullptr; }
  owner_kind kind() const noexcept { return kind_; }
  void* owner() const noexcept { return owner_; }

 private:
  friend class timer_wheel;
  instant deadline_;
  void* owner_;
  owner_kind kind_;
};

/// Four levels of 64 slots (Varghese and Lauck, 1987): 16 us, 1 ms, 67 ms and 4.3 s a slot. Arming
/// and disarming are O(1). A timer fires at most one tick late, never early.
///
/// Owners derive their next deadline from their state, so a timer that fires is only a reminder to
/// look: arm_no_later() leaves an earlier reminder where it is, which makes the deadline that moves
/// with every packet free.
class timer_wheel {
 public:
  explicit timer_wheel(instant start) noexcept;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  /// Makes sure that `t` fires at `deadline` or before. Does nothing for instant::never().
  void arm_no_later(timer& t, instant deadline) noexcept;
  void disarm(timer& t) noexcept;

  /// A timer whose deadline is not after `now`, disarmed; null when there is none. Nearly free
  /// while nothing is due: a loop asks in every turn.
  timer* expire(instant now) noexcept {
    if (now.ns() <= 0) return nullptr;
    const std::uint64_t target = static_cast<std::uint64_t>(now.ns()) >> tick_shift;
    if (target >= next_due_) return expire_slots(target);
    tick_ = std::max(tick_, target);
    return nullptr;
  }

  /// A time at which to call expire() again: at most a tick after the first deadline, never() when
  /// nothing is armed.
  instant next_expiry() const noexcept;

 private:
  using link = detail::timer_link;
  static constexpr int tick_shift = 14;  // 16.4 us
  static constexpr int slot_bits = 6;
  static constexpr std::uint64_t slots = std::uint64_t{1} << slot_bits;
  static constexpr int levels = 4;

  struct level {
    std::array<link, slots> lists;  // circular, with the slot itself as sentinel
    std::uint64_t occupied = 0;     // one bit a slot; may be stale for an emptied one
  };
  struct due_slot {
    int level;
    std::uint64_t tick;
  };

  static std::uint64_t tick_at_or_after(instant t) noexcept;
  void place(timer& t) noexcept;
  static void unlink(timer& t) noexcept;
  timer* expire_slots(std::uint64_t target) noexcept;
  /// The first occupied slot. `level` is -1 when there is none.
  due_slot earliest() const noexcept;

  std::array<level, levels> levels_;
  std::uint64_t tick_;  // all ticks before this one have been expired
  /// No slot's time comes before this tick.
  std::uint64_t next_due_ = 0;
};

}  // namespace nd
