// The congestion window, and the pacing rate that goes with it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace nd::core {

/// Bytes, at least two full packets (RFC 9002, section 7.2). Until it is first set it is counted in
/// packets: it grows with the path MTU.
class congestion_window {
 public:
  congestion_window(std::uint64_t packet_size, std::uint64_t initial_packets) noexcept
      : packet_size_(packet_size),
        initial_packets_(initial_packets),
        bytes_(packet_size * initial_packets) {}

  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t minimum() const noexcept { return 2 * packet_size_; }
  std::uint64_t initial() const noexcept { return initial_packets_ * packet_size_; }
  std::uint64_t packet_size() const noexcept { return packet_size_; }

  void set(std::uint64_t bytes) noexcept {
    bytes_ = std::max(bytes, minimum());
    set_once_ = true;
  }
  void set_packet_size(std::uint64_t bytes) noexcept {
    packet_size_ = bytes;
    bytes_ = std::max(set_once_ ? bytes_ : initial(), minimum());
  }

  /// Bytes a second, somewhat more than a window a round trip (RFC 9002, section 7.7); twice that
  /// in slow start, or the window could not double. 0 while no round trip is measured.
  std::uint64_t pacing_rate(duration smoothed_rtt, bool slow_start) const noexcept {
    if (smoothed_rtt.ns() == 0) return 0;
    const double gain = slow_start ? 2.0 : 1.25;
    return static_cast<std::uint64_t>(gain * static_cast<double>(bytes_) * 1e9 /
                                      static_cast<double>(smoothed_rtt.ns()));
  }

 private:
  std::uint64_t packet_size_;
  std::uint64_t initial_packets_;
  std::uint64_t bytes_;
  bool set_once_ = false;
};

}  // namespace nd::core
