// Pacing (RFC 9002, section 7.7): a token bucket of bytes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace nd::core {

/// Spreads a window over a round trip. A burst of `burst_packets` may always leave at once, and a
/// packet may overdraw the bucket once.
class pacer {
 public:
  static constexpr std::int64_t burst_packets = 10;

  /// `bytes_per_second` 0: no pacing (no round trip measured yet).
  void set_rate(std::uint64_t bytes_per_second, std::int64_t packet_size) noexcept {
    bytes_per_ns_ = static_cast<double>(bytes_per_second) * 1e-9;
    capacity_ = static_cast<double>(burst_packets * packet_size);
  }

  /// When the next packet may leave: now or earlier, or a time to come.
  instant next_send(instant now) noexcept {
    if (bytes_per_ns_ <= 0) return now;
    refill(now);
    if (tokens_ > 0) return now;
    return now + duration(1 + static_cast<std::int64_t>(-tokens_ / bytes_per_ns_));
  }

  void on_sent(std::int64_t bytes) noexcept {
    if (bytes_per_ns_ > 0) tokens_ -= static_cast<double>(bytes);
  }

 private:
  void refill(instant now) noexcept {
    if (now <= refilled_) return;
    tokens_ =
        std::min(capacity_, tokens_ + bytes_per_ns_ * static_cast<double>((now - refilled_).ns()));
    refilled_ = now;
  }

  double bytes_per_ns_ = 0;
  double capacity_ = 0;
  double tokens_ = 0;
  instant refilled_;
};

}  // namespace nd::core
