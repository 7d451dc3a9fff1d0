// How channels to one peer share a bottleneck like one flow.
#pragma once

#include <algorithm>
#include <cmath>

namespace nd::core {

/// What each of n channels divides its additive increase by, so that it gets an n-th of what a lone
/// one gets.
class coupling {
 public:
  void set(unsigned channels) noexcept {
    channels_ = std::max(channels, 1U);
    by_loss_ = static_cast<double>(channels_) * channels_;
    by_marks_ = channels_ * std::sqrt(static_cast<double>(channels_));
  }

  unsigned channels() const noexcept { return channels_; }
  /// Losses strike packets: the window goes with the increase's square root (RFC 6356, section 4,
  /// for equal windows).
  double by_loss() const noexcept { return by_loss_; }
  /// Marks come to all at once: a window that has one in each round trip goes with the increase,
  /// one that has few with its root. Between n and n^2; measured in docs/reliability.md.
  double by_marks() const noexcept { return by_marks_; }

 private:
  unsigned channels_ = 1;
  double by_loss_ = 1;
  double by_marks_ = 1;
};

}  // namespace nd::core
