// Path MTU discovery by probing (RFC 8899): a search for the largest IP packet that arrives.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace nd::core {

/// Starts at `base`, tries the largest size first (in a data centre it nearly always passes), then
/// halves the interval. Sizes are bytes of an IP packet.
class path_mtu {
 public:
  /// RFC 8899, section 5.1.2: BASE_PLPMTU.
  static constexpr std::uint16_t base = 1200;
  /// Every host takes this much (RFC 791); the least that a setting or a peer may say.
  static constexpr std::uint16_t least = 576;
  /// MAX_PROBES: losses of one size before it is too large.
  static constexpr int max_probes = 3;
  /// PMTU_RAISE_TIMER, section 5.1.1.
  static constexpr duration raise_interval = duration::seconds(600);
  /// After a black hole, which may be a route that comes back, the first one; each is twice as
  /// long.
  static constexpr duration first_raise_after_black_hole = duration::seconds(10);

  path_mtu() noexcept = default;
  /// `limit`: the smaller of both ends' device MTUs.
  explicit path_mtu(std::uint16_t limit) noexcept
      : current_(std::min(base, limit)), limit_(limit), too_large_(limit + 1) {}

  std::uint16_t current() const noexcept { return current_; }
  std::uint16_t limit() const noexcept { return limit_; }
  /// The search is over, and the path takes less than the devices at its ends: probes said so.
  bool limited() const noexcept { return probe_failed_ && ended_below_limit(); }

  /// The size to probe now; 0: nothing to probe.
  std::uint16_t wanted_probe(instant now) noexcept {
    if (in_flight_) return 0;
    if (suspected_) return current_;
    if (searched() && now >= raise_at_) {
      raise_after_ = std::min(raise_after_ * 2, raise_interval);
      too_large_ = limit_ + 1;
      probe_failed_ = false;
    }
    if (searched()) return 0;
    return candidate();
  }
  /// When wanted_probe() may change with time alone.
  instant next_deadline() const noexcept {
    return ended_below_limit() ? raise_at_ : instant::never();
  }

  void on_probe_sent() noexcept { in_flight_ = true; }

  void on_probe_acked(std::uint16_t size, instant now) noexcept {
    in_flight_ = suspected_ = false;
    losses_ = 0;
    current_ = std::max(current_, size);
    if (searched()) raise_at_ = now + raise_after_;
  }

  /// True when that made a black hole of a suspicion: the size is the base's again.
  bool on_probe_lost(std::uint16_t size, instant now) noexcept {
    in_flight_ = false;
    if (++losses_ < max_probes) return false;
    losses_ = 0;
    too_large_ = std::min<std::uint32_t>(too_large_, size);
    probe_failed_ = true;
    const bool fell = suspected_ && size == current_;
    if (fell) {
      suspected_ = false;
      current_ = base;
      raise_after_ = first_raise_after_black_hole;
    }
    if (searched()) raise_at_ = now + raise_after_;
    return fell;
  }

  /// Section 4.3: packets of the current size do not arrive any more. Congestion may have lost them
  /// as well, so probes of that size have to say so first.
  void suspect_black_hole() noexcept {
    if (current_ <= base || suspected_) return;
    suspected_ = true;
    losses_ = 0;
  }

 private:
  static constexpr std::uint32_t step = 32;  // finer than this gains nothing

  bool searched() const noexcept { return current_ >= limit_ || current_ + step >= too_large_; }
  bool ended_below_limit() const noexcept { return searched() && current_ + step <= limit_; }
  std::uint16_t candidate() const noexcept {
    if (too_large_ > limit_) return limit_;
    return static_cast<std::uint16_t>((current_ + too_large_) / 2);
  }

  std::uint16_t current_ = base;
  std::uint16_t limit_ = base;
  std::uint32_t too_large_ = base + 1;  ///< smallest size known not to pass
  instant raise_at_;
  duration raise_after_ = raise_interval;
  int losses_ = 0;
  bool in_flight_ = false;
  bool suspected_ = false;     ///< the current size is probed again
  bool probe_failed_ = false;  ///< since the last raise, a size was given up
};

}  // namespace nd::core
