// Packet numbers that are never sent: who acknowledges one has not waited for what it acknowledges
// (RFC 9000, section 21.4).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/rng.hpp"

namespace nd::core {

/// Says which number comes next that is left out. At most one is among those that are not settled
/// yet, so one pair of numbers is all there is to remember.
class number_skips {
 public:
  /// Fewest numbers from one to the next.
  static constexpr std::uint64_t least = 128;

  /// Without a seed none is left out.
  number_skips(std::uint64_t first_number, std::optional<std::uint64_t> seed) noexcept
      : random_(seed.value_or(0)) {
    if (seed) draw(first_number, 1);
  }

  bool is_due(std::uint64_t next_number) const noexcept { return next_number == next_; }

  /// `number` is due; all below `floor` are settled. True when it is left out: not while the last
  /// one is among the `span` numbers that are not settled.
  bool take(std::uint64_t number, std::uint64_t floor, std::size_t span) noexcept {
    const bool free = !pending(floor);
    if (free) end_ = number + 1;
    draw(number + 1, span);
    return free;
  }

  /// The number that was left out last may be acknowledged by a liar only: no header has had a
  /// `floor` above it.
  bool pending(std::uint64_t floor) const noexcept { return end_ > floor; }
  /// Of what is pending: whether it lies in [first, end).
  bool within(std::uint64_t first, std::uint64_t end) const noexcept {
    return first < end_ && end_ <= end;
  }

 private:
  // The peer sees a gap for a round trip, and acknowledges at once meanwhile: 128 times what is in
  // flight makes that less than 1 % of the time, with up to 128 packets there.
  void draw(std::uint64_t from, std::size_t span) noexcept {
    constexpr std::uint64_t most = std::uint64_t{1} << 15;
    next_ = from + least + random_.below(std::min(most, 256 * std::max<std::uint64_t>(span, 1)));
  }

  rng random_;
  std::uint64_t next_ = ~std::uint64_t{0};
  std::uint64_t end_ = 0;  ///< one more than the number left out last
};

}  // namespace nd::core
