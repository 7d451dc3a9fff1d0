// The NetScheduler's decisions as pure functions: which channel carries a socket's next record.
#pragma once

#include <cstddef>
#include <span>

namespace nd::core {

/// A socket's place in the round over the channels of its class.
struct channel_cursor {
  std::size_t channel = 0;
  unsigned used = 0;  ///< records in a row on it
};

/// Records that stay on one channel before the next one is taken (NetChannel's stickiness).
inline constexpr unsigned channel_stickiness = 6;
inline constexpr std::size_t no_channel = ~std::size_t{0};

/// Round robin with stickiness. `room[i]` is how many records channel i still takes; one without
/// room is skipped. Returns the channel and moves the cursor, or no_channel when all are full.
inline std::size_t pick_channel(channel_cursor& cursor,
                                std::span<const std::size_t> room) noexcept {
  if (room.empty()) return no_channel;
  if (cursor.used >= channel_stickiness) cursor = {cursor.channel + 1, 0};
  for (std::size_t step = 0; step < room.size(); ++step) {
    const std::size_t i = (cursor.channel + step) % room.size();
    if (room[i] == 0) continue;
    if (step > 0 || i != cursor.channel) cursor = {i, 0};
    ++cursor.used;
    return i;
  }
  return no_channel;
}

}  // namespace nd::core
