// HyStart++ (RFC 9406): slow start ends when the round-trip time rises, before a queue overflows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace nd::core {

/// Rounds are counted by packet numbers; the growth itself is its owner's.
class hystart {
 public:
  // Section 4.3, but for the threshold: its 4 ms would never be seen in a data centre. Twice as
  // much as a poll loop and an acknowledgement's wait make of noise, and a millisecond's eighth.
  static constexpr duration least_threshold = duration::microseconds(25);
  static constexpr duration most_threshold = duration::milliseconds(16);
  static constexpr int threshold_divisor = 8;
  static constexpr int samples_a_round = 8;
  static constexpr std::uint64_t conservative_divisor = 4;
  static constexpr int conservative_rounds = 5;

  /// `rtt` 0: no sample.
  void on_ack(std::uint64_t largest, std::uint64_t next_number, duration rtt) noexcept {
    if (done_) return;
    if (largest >= round_end_) end_round(next_number);
    if (rtt.ns() > 0) {
      round_minimum_ = std::min(round_minimum_, rtt);
      ++samples_;
    }
    if (samples_ < samples_a_round || last_minimum_ == none) return;
    if (conservative_) {
      // The rise was noise.
      if (round_minimum_ < baseline_) conservative_ = false;
    } else if (round_minimum_ >= last_minimum_ + threshold()) {
      conservative_ = true;
      baseline_ = round_minimum_;
      rounds_ = 0;
    }
  }

  /// Slow start is over: its owner's threshold becomes the window.
  bool done() const noexcept { return done_; }
  bool conservative() const noexcept { return conservative_; }
  /// Of `acked` bytes, those by which the window grows.
  std::uint64_t growth(std::uint64_t acked) const noexcept {
    return conservative_ ? acked / conservative_divisor : acked;
  }

 private:
  static constexpr duration none = duration(INT64_MAX / 2);

  duration threshold() const noexcept {
    return std::clamp(last_minimum_ / threshold_divisor, least_threshold, most_threshold);
  }
  void end_round(std::uint64_t next_number) noexcept {
    round_end_ = next_number;
    if (conservative_ && ++rounds_ >= conservative_rounds) done_ = true;
    last_minimum_ = round_minimum_;
    round_minimum_ = none;
    samples_ = 0;
  }

  std::uint64_t round_end_ = 0;
  duration last_minimum_ = none;
  duration round_minimum_ = none;
  duration baseline_ = none;
  int samples_ = 0;
  int rounds_ = 0;
  bool conservative_ = false;
  bool done_ = false;
};

}  // namespace nd::core
