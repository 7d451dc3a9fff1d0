// Round-trip time estimation (RFC 9002, section 5).
#pragma once

#include <algorithm>

#include "base/time.hpp"

namespace nd::core {

class rtt_estimator {
 public:
  /// RFC 9002, 6.1.2: kGranularity. Ours is a poll loop's, not an operating system's.
  static constexpr duration granularity = duration::microseconds(50);

  bool has_sample() const noexcept { return has_sample_; }
  duration latest() const noexcept { return latest_; }
  duration minimum() const noexcept { return minimum_; }
  duration smoothed() const noexcept { return smoothed_; }

  void sample(duration measured, duration ack_delay) noexcept {
    latest_ = std::max(measured, duration(1));
    if (!has_sample_) {
      has_sample_ = true;
      minimum_ = smoothed_ = latest_;
      variation_ = latest_ / 2;
      return;
    }
    minimum_ = std::min(minimum_, latest_);
    duration adjusted = latest_;
    if (latest_ >= minimum_ + ack_delay) adjusted = latest_ - ack_delay;
    const duration error = adjusted > smoothed_ ? adjusted - smoothed_ : smoothed_ - adjusted;
    variation_ = (variation_ * 3 + error) / 4;
    smoothed_ = (smoothed_ * 7 + adjusted) / 8;
  }

  /// RFC 9002, 5.2: after persistent congestion the path may be another, and longer.
  void forget_minimum() noexcept { minimum_ = latest_; }

  /// RFC 9002, 6.2.1, without the backoff.
  duration probe_timeout(duration max_ack_delay) const noexcept {
    return smoothed_ + std::max(variation_ * 4, granularity) + max_ack_delay;
  }

  /// RFC 9002, 6.1.2: how long after its sending a packet is lost once a later one is acknowledged.
  duration loss_delay() const noexcept {
    return std::max(std::max(latest_, smoothed_) * 9 / 8, granularity);
  }

 private:
  // Before the first sample: long enough for a network, short enough to retry a handshake by.
  duration latest_ = duration::milliseconds(20);
  duration minimum_ = duration::milliseconds(20);
  duration smoothed_ = duration::milliseconds(20);
  duration variation_ = duration::milliseconds(10);
  bool has_sample_ = false;
};

}  // namespace nd::core
