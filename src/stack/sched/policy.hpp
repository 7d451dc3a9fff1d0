// The NetScheduler's decisions as pure functions: which channel carries a socket's next record.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace nd::core {

/// Setting channel_policy (NetChannel, section 3.3, has the first two).
enum class channel_policy : std::uint8_t { round_robin, source_port, least_queued };

inline channel_policy channel_policy_of(std::string_view name) noexcept {
  if (name == "source_port") return channel_policy::source_port;
  return name == "least_queued" ? channel_policy::least_queued : channel_policy::round_robin;
}

/// A socket's place in the round over the channels of its class.
struct channel_cursor {
  std::size_t channel = 0;
  unsigned used = 0;  ///< records in a row on it
};

/// What the scheduler knows of a channel.
struct channel_load {
  std::size_t room = 0;      ///< records that it takes now
  bool live = false;         ///< open, and not stalled
  std::uint32_t loss = 0;    ///< share of its last packets that were lost, of 65536
  std::uint64_t queued = 0;  ///< bytes of records that wait in it
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

/// How much a channel may lose to be chosen beside the best of those that may carry a record.
inline std::uint32_t most_loss_of(std::span<const channel_load> loads, bool any_live) noexcept {
  std::uint32_t most = ~std::uint32_t{0};
  for (const channel_load& load : loads)
    if (may_carry(load, any_live)) most = std::min(most, load.loss + loss_margin);
  return most;
}

/// Round robin with stickiness, over those that may carry a record and lose least. Returns the
/// channel and moves the cursor, or no_channel when there is none.
inline std::size_t pick_channel(channel_cursor& cursor,
                                std::span<const channel_load> loads) noexcept {
  if (loads.empty()) return no_channel;
  const bool live = any_live(loads);
  const std::uint32_t most_loss = most_loss_of(loads, live);
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

/// The channel of a socket's local port; while that does not work, the next one that does. Records
/// wait for it where it is full.
inline std::size_t pick_by_port(std::uint16_t port, std::span<const channel_load> loads) noexcept {
  const bool live = any_live(loads);
  for (std::size_t step = 0; step < loads.size(); ++step) {
    const channel_load& load = loads[(port + step) % loads.size()];
    if (load.live || !live) return load.room > 0 ? (port + step) % loads.size() : no_channel;
  }
  return no_channel;
}

/// The one with the fewest bytes queued, of those that round robin would choose from.
inline std::size_t pick_least_queued(std::span<const channel_load> loads) noexcept {
  const bool live = any_live(loads);
  const std::uint32_t most_loss = most_loss_of(loads, live);
  std::size_t best = no_channel;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    if (!may_carry(loads[i], live) || loads[i].loss > most_loss) continue;
    if (best == no_channel || loads[i].queued < loads[best].queued) best = i;
  }
  return best;
}

/// By the policy; `port` is the socket's own. no_channel: none takes a record now.
inline std::size_t pick_channel(channel_policy policy, channel_cursor& cursor, std::uint16_t port,
                                std::span<const channel_load> loads) noexcept {
  switch (policy) {
    case channel_policy::round_robin: return pick_channel(cursor, loads);
    case channel_policy::source_port: return pick_by_port(port, loads);
    case channel_policy::least_queued: return pick_least_queued(loads);
  }
  return no_channel;
}

}  // namespace nd::core
