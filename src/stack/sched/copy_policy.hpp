// The NetScheduler's decisions about copies, as pure functions: who copies, and in what pieces.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nd::core {

/// Which dcopy lcore gets the next piece.
enum class copy_policy : std::uint8_t {
  round_robin,  ///< each in turn: the shortest time for one call
  compact,      ///< the first with room: as few lcores as the load needs, and warm caches
};

/// When the caller's own core copies, in bytes. The numbers are NetChannel's.
struct copy_limits {
  std::uint64_t smallest = 62'620;           ///< a call that moves less
  std::uint64_t in_flight = 12ULL * 62'620;  ///< a socket that has more under way
};

/// Bytes in front of a dcopy lcore beyond which it gets no more.
inline constexpr std::uint64_t dcopy_queue_limit = 640 * 1024;
/// Bytes of a piece: large enough for its request to cost little, small enough that what is copied
/// first can leave while the rest is copied.
inline constexpr std::uint32_t smallest_piece = 16 * 1024;
inline constexpr std::uint32_t largest_piece = 64 * 1024;
inline constexpr std::size_t most_dcopy_lcores = 32;
inline constexpr std::size_t no_lcore = ~std::size_t{0};

/// A call that moves `bytes`: whether it is worth dcopy's requests at all.
constexpr bool worth_dcopy(std::uint64_t bytes, const copy_limits& limits) noexcept {
  return bytes >= limits.smallest;
}

/// Bytes that the pieces of a call of `bytes` should have: two for each of the lcores.
constexpr std::uint32_t piece_size(std::uint64_t bytes, std::size_t lcores) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      bytes / (2 * std::max<std::size_t>(lcores, 1)), smallest_piece, largest_piece));
}

/// The next piece of `left` bytes that go into mbufs of `segment` bytes each (not 0): whole mbufs,
/// about `wanted` bytes, but for the end.
constexpr std::uint32_t piece_of(std::uint64_t left, std::uint32_t segment,
                                 std::uint32_t wanted) noexcept {
  const std::uint32_t whole = std::max((wanted + segment / 2) / segment, 1U) * segment;
  return left < whole ? static_cast<std::uint32_t>(left) : whole;
}

/// Picks who copies a socket's next piece. `queued[i]` are the bytes in front of dcopy lcore i,
/// `in_flight` those of the socket that are under way. Returns its index and moves the cursor, or
/// no_lcore: the caller copies.
inline std::size_t pick_dcopy(copy_policy policy, std::size_t& cursor,
                              std::span<const std::uint64_t> queued, std::uint64_t in_flight,
                              const copy_limits& limits) noexcept {
  if (in_flight >= limits.in_flight) return no_lcore;
  const std::size_t first = policy == copy_policy::compact ? 0 : cursor;
  for (std::size_t step = 0; step < queued.size(); ++step) {
    const std::size_t i = (first + step) % queued.size();
    if (queued[i] > dcopy_queue_limit) continue;
    cursor = i + 1;
    return i;
  }
  return no_lcore;
}

}  // namespace nd::core
