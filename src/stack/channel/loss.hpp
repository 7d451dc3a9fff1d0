// Loss detection as a pure function (RFC 9002, section 6.1).
#pragma once

#include <cstdint>

#include "base/time.hpp"

namespace nd::core {

/// A packet this much older than the largest acknowledged one is lost.
inline constexpr std::uint64_t packet_threshold = 3;

struct loss_verdict {
  bool lost;
  instant ask_again;  ///< when the answer may change with time alone; never if it can't
};

/// Judges one packet that is in flight, given the largest number acknowledged so far.
inline loss_verdict judge_loss(std::uint64_t number, instant sent, std::uint64_t largest_acked,
                               duration loss_delay, instant now) noexcept {
  if (number > largest_acked) return {false, instant::never()};
  if (largest_acked - number >= packet_threshold) return {true, instant::never()};
  const instant deadline = sent + loss_delay;
  if (deadline <= now) return {true, instant::never()};
  return {false, deadline};
}

/// RFC 9002, section 7.6.1: losing everything over this long means that the path has changed.
inline constexpr int persistent_congestion_threshold = 3;

}  // namespace nd::core
