// The time in a loop that must not ask for it too often.
#pragma once

#include <chrono>

namespace nd::apps::echo {

/// Reading the clock costs as much as a short poll. So who needs the exact time refreshes it, and
/// everybody else uses the last value, which turn() keeps at most 16 turns old.
class turn_clock {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  time_point now() const noexcept { return now_; }
  time_point refresh() noexcept {
    turns_ = 0;
    return now_ = std::chrono::steady_clock::now();
  }
  void turn() noexcept {
    if (++turns_ >= 16) refresh();
  }

 private:
  time_point now_ = std::chrono::steady_clock::now();
  unsigned turns_ = 0;
};

}  // namespace nd::apps::echo
