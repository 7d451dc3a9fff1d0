// A sender that keeps the window of a congestion control full, a round trip at a time.
#pragma once

#include <memory>
#include <utility>

#include "channel/congestion.hpp"

namespace nd::test {

class congestion_sender {
 public:
  static constexpr std::uint64_t packet = 1000;

  explicit congestion_sender(std::unique_ptr<core::congestion_control> control)
      : control_(std::move(control)) {}

  core::congestion_control& control() { return *control_; }
  instant now() const { return now_; }
  std::uint64_t window() const { return control_->window(); }
  std::uint64_t packets() const { return window() / packet; }

  duration rtt = duration::microseconds(100);
  duration minimum_rtt = duration::microseconds(50);  ///< shorter: half of it is a queue

  /// A window leaves and is acknowledged a round trip later, packet by packet, the first
  /// `marked` of them with CE.
  void round(std::uint64_t marked = 0, bool window_limited = true) {
    const std::uint64_t sent_packets = packets();
    const instant sent = now_ + duration(1);  // after a loss that was noticed now
    const std::uint64_t first = number_;
    number_ += sent_packets;
    now_ = now_ + rtt;
    for (std::uint64_t i = 0; i < sent_packets; ++i) {
      now_ = now_ + duration(10);
      control_->on_ack({.now = now_,
                        .bytes = packet,
                        .ce_bytes = i < marked ? packet : 0,
                        .largest = first + i,
                        .next_number = number_,
                        .largest_sent = sent + duration(static_cast<std::int64_t>(i)),
                        .smoothed_rtt = rtt,
                        .minimum_rtt = minimum_rtt,
                        .rtt = rtt,
                        .in_flight = (sent_packets - i) * packet,
                        .delivery = {},
                        .window_limited = window_limited});
    }
  }
  void rounds(int n) {
    for (; n > 0; --n) round();
  }
  /// Of a packet sent at `sent`.
  bool lose(instant sent, bool persistent = false) {
    return control_->on_loss(
        {.now = now_, .largest_sent = sent, .bytes = packet, .persistent = persistent});
  }
  bool lose() { return lose(now_); }
  /// Nothing is sent.
  void wait(duration d) { now_ = now_ + d; }

 private:
  std::unique_ptr<core::congestion_control> control_;
  instant now_{1'000'000'000};
  std::uint64_t number_ = 100;
};

}  // namespace nd::test
