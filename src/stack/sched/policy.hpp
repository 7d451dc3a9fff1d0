// The NetScheduler's decisions as pure functions: which channel carries a socket's next record.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nd::core {

/// A socket's place in the round over the channels of its class.
struct channel_cursor {
  std::size_t channel = 0;
  unsigned used = 0;  ///< records in a row on it
};

/// What the scheduler knows of a channel.
struct channel_load {
  std::size_t room = 0;    ///< records that it takes now
  bool live = false;       ///< open, and not stalled
  std::uint32_t loss = 0;  ///< share of its last packets that were lost, of 65536
};

/// A channel that loses this much more than the best one carries only what that has no room for.
inline constexpr std::uint32_t loss_margin = 65536 / 32;

/// Records that stay on one channel before the next one is taken (NetChannel's stickiness).
inline constexpr unsigned channel_stickiness = 6;
inline constexpr std::size_t no_channel = ~std::size_t{0};

/// Whether records may go to a channel of these at all: to a stalled one only where all are.
inline bool may_carry(const channel_load& load, bool any_live) noexcept {
  return load.room > 0 && (load.live || !any_live);
}
inline bool any_live(std::span<const channel_load> loads) noexcept {
  return std::ranges::any_of(loads, &channel_load::live);
}

/// Round robin with stickiness, over those that may carry a record and lose least. Returns the
/// channel and moves the cursor, or no_channel when there is none.
inline std::size_t pick_channel(channel_cursor& cursor,
                                std::span<const channel_load> loads) noexcept {
  if (loads.empty()) return no_channel;
  const bool live = any_live(loads);
  std::uint32_t most_loss = ~std::uint32_t{0};
  for (const channel_load& load : loads)
    if (may_carry(load, live)) most_loss = std::min(most_loss, load.loss + loss_margin);
  if (cursor.used >= channel_stickiness) cursor = {cursor.channel + 1, 0};
  for (std::size_t step = 0; step < loads.size(); ++step) {
    const std::size_t i = (cursor.channel + step) % loads.size();
    if (!may_carry(loads[i], live) || loads[i].loss > most_loss) continue;
    if (step > 0 || i != cursor.channel) cursor = {i, 0};
    ++cursor.used;
    return i;
  }
  return no_channel;
}

}  // namespace nd::core
