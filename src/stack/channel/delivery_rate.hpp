// How fast bytes arrive at the peer (draft-cheng-iccrg-delivery-rate-estimation).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/time.hpp"

namespace nd::core {

/// What a packet remembers of the moment it was sent; times end at 4 s.
struct delivery_mark {
  std::uint64_t delivered = 0;            ///< bytes that had been acknowledged
  std::uint32_t since_delivered_ns = 0;   ///< since the last of them was
  std::uint32_t since_first_sent_ns = 0;  ///< since that one had been sent
  bool application_limited = false;
};

struct delivery_sample {
  std::uint64_t bytes_per_second = 0;  ///< 0: there was nothing to measure
  bool application_limited = false;    ///< the sender could have been faster
};

/// Bytes acknowledged between a packet's sending and its acknowledgement, over the longer of the
/// times that they took to be sent and to be acknowledged.
class delivery_rate {
 public:
  delivery_mark on_sent(instant now, std::uint64_t in_flight) noexcept {
    if (in_flight == 0) delivered_at_ = first_sent_ = now;
    return {.delivered = delivered_,
            .since_delivered_ns = bounded(now - delivered_at_),
            .since_first_sent_ns = bounded(now - first_sent_),
            .application_limited = delivered_ < limited_until_};
  }

  /// Neither window nor pacing held the sender back: what is in flight by now measures the
  /// application.
  void on_nothing_to_send(std::uint64_t in_flight) noexcept {
    limited_until_ = delivered_ + in_flight + 1;
  }

  void on_delivered(std::uint64_t bytes) noexcept { delivered_ += bytes; }

  /// After on_delivered() for all that an acknowledgement brought, with the packet of it that was
  /// sent last.
  delivery_sample sample(instant now, instant sent, const delivery_mark& mark) noexcept {
    const duration sending(mark.since_first_sent_ns);
    const duration arriving = now - sent + duration(mark.since_delivered_ns);
    delivered_at_ = now;
    first_sent_ = sent;
    const std::int64_t ns = std::max(sending, arriving).ns();
    if (ns <= 0) return {};
    return {.bytes_per_second = static_cast<std::uint64_t>(
                static_cast<double>(delivered_ - mark.delivered) * 1e9 / static_cast<double>(ns)),
            .application_limited = mark.application_limited};
  }

 private:
  static std::uint32_t bounded(duration d) noexcept {
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(d.ns(), 0, std::numeric_limits<std::uint32_t>::max()));
  }

  std::uint64_t delivered_ = 0;
  std::uint64_t limited_until_ = 0;  ///< bytes delivered
  instant delivered_at_;
  instant first_sent_;
};

}  // namespace nd::core
