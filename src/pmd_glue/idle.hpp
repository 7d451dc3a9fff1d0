// What a thread does that finds nothing to do: it spins, then pauses, then sleeps.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/port.hpp"
#include "base/time.hpp"

namespace nd::pmd {

/// How far it goes (setting `idle`).
enum class idle_mode { spin, pause, sleep };

idle_mode idle_mode_of(std::string_view setting) noexcept;

/// Rests the CPU for some hundred nanoseconds.
void pause() noexcept;

/// Of silence.
inline constexpr duration before_sleep = duration::microseconds(500);

/// How a thread with nothing to do for `idle` passes a moment; `sleep()` is called where it may
/// sleep, which is after `before`.
template <class Sleep>
void pass_time(idle_mode mode, duration idle, duration before, Sleep&& sleep) noexcept {
  constexpr duration before_pause = duration::microseconds(50);
  if (mode == idle_mode::spin || idle < before_pause) return;
  if (mode == idle_mode::sleep && idle >= before) return sleep();
  pause();
}

/// The rest of a thread with a loop. Where nobody tells it of what comes it looks for that: a sleep
/// lasts a share of the time that it has been idle, so that what comes later than usual waits
/// little longer for it.
class polling_idle {
 public:
  static constexpr int sleep_share = 8;
  /// What comes after a long silence is answered within a millisecond.
  static constexpr duration sleep_longest = duration::microseconds(800);
  /// Where it is told: for what nobody tells, as an interrupt that a device has lost.
  static constexpr duration sleep_longest_told = duration::milliseconds(100);
  /// A peer's sign of life is no reason to stay awake: who has slept, and had fewer busy turns
  /// since, sleeps again sooner.
  static constexpr unsigned busy_turns = 16;
  static constexpr duration before_next_sleep = duration::microseconds(100);

  explicit polling_idle(idle_mode mode);
  ~polling_idle();
  polling_idle(const polling_idle&) = delete;
  polling_idle& operator=(const polling_idle&) = delete;

  void busy() noexcept {
    since_ = instant::never();
    busy_turns_ += busy_turns_ < busy_turns;
  }
  /// There was nothing to do at `now`: whether rest() would sleep.
  bool would_sleep(instant now) noexcept {
    return mode_ == idle_mode::sleep && idle_at(now) >= silence();
  }
  /// There was nothing to do at `now`. A sleep is cut short by a signal, wake() or `source`;
  /// `next()` is asked right before: until when at most, not after `now` when there is work by now.
  template <class Next>
  void rest(instant now, Next&& next, rx_wake source = {}) noexcept {
    const duration idle = idle_at(now);
    pass_time(mode_, idle, silence(), [&] {
      busy_turns_ = 0;
      // Pairs with the fence in wake(): either it sees the sleeper, or the sleeper sees the work.
      asleep_.store(true, std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      const duration longest =
          source.told ? sleep_longest_told : std::min(idle / sleep_share, sleep_longest);
      sleep(std::min(next() - now, longest), source.fd);
      asleep_.store(false, std::memory_order_relaxed);
    });
  }

  /// Any thread, after it has posted work.
  void wake() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed)) [[unlikely]]
      ring();
  }

 private:
  /// Before a sleep.
  duration silence() const noexcept {
    return busy_turns_ < busy_turns ? before_next_sleep : before_sleep;
  }
  duration idle_at(instant now) noexcept {
    if (since_.is_never()) since_ = now;
    return now - since_;
  }
  void sleep(duration most, int source) noexcept;
  void ring() noexcept;

  idle_mode mode_;
  instant since_ = instant::never();
  unsigned busy_turns_ = 0;  ///< since the last sleep, up to `busy_turns`
  int bell_ = -1;            ///< an eventfd, with idle_mode::sleep
  alignas(64) std::atomic<bool> asleep_{false};
};

/// Turns of the loop that had something to do, for threads that wait until one brings what they
/// wait for.
class turn_signal {
 public:
  /// Read it before looking for what is waited for.
  std::uint32_t value() const noexcept { return turns_.load(std::memory_order_acquire); }

  /// When the last one began.
  instant last() const noexcept { return instant(last_.load(std::memory_order_relaxed)); }

  /// A loop's thread, after such a turn.
  void announce(instant began) noexcept {
    last_.store(began.ns(), std::memory_order_relaxed);
    turns_.fetch_add(1, std::memory_order_release);
    // Pairs with the fence in wait(): either the sleeper sees the new value, or this the sleeper.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_relaxed) > 0) [[unlikely]]
      wake_all();
  }
  /// Any thread: sleeps until value() is not `seen` any more, a signal comes, or `most` has passed.
  void wait(std::uint32_t seen, duration most) noexcept;
  /// Async-signal-safe: ends all sleeps.
  void wake_all() noexcept;

 private:
  alignas(64) std::atomic<std::uint32_t> turns_{0};
  std::atomic<std::int64_t> last_{0};
  std::atomic<std::uint32_t> sleepers_{0};
};

}  // namespace nd::pmd
