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

  path_mtu() noexcept = default;
  /// `limit`: the smaller of both ends' device MTUs.
  explicit path_mtu(std::uint16_t limit) noexcept
      : current_(std::min(base, limit)), limit_(limit), too_large_(limit + 1) {}

  std::uint16_t current() const noexcept { return current_; }
  std::uint16_t limit() const noexcept { return limit_; }
  /// The search is over, and the path takes less than the devices at its ends: probes said so. Of a
  /// black hole alone congestion may be the reason.
  bool limited() const noexcept { return probe_failed_ && ended_below_limit(); }

  /// The size to probe now; 0: nothing to probe.
  std::uint16_t wanted_probe(instant now) noexcept {
    if (in_flight_) return 0;
    if (searched() && now >= raise_at_) {
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
    in_flight_ = false;
    losses_ = 0;
    current_ = std::max(current_, size);
    if (searched()) raise_at_ = now + raise_interval;
  }

  void on_probe_lost(std::uint16_t size, instant now) noexcept {
    in_flight_ = false;
    if (size >= too_large_) return;  // a black hole was quicker
    if (++losses_ < max_probes) return;
    losses_ = 0;
    too_large_ = size;
    probe_failed_ = true;
    if (searched()) raise_at_ = now + raise_interval;
  }

  /// Section 4.3: packets of the current size no longer arrive. True if that changed anything.
  bool on_black_hole(instant now) noexcept {
    if (current_ <= base) return false;
    too_large_ = current_;
    current_ = base;
    losses_ = 0;  // a probe that is in flight stays so: section 3, one a round trip
    if (searched()) raise_at_ = now + raise_interval;
    return true;
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
  int losses_ = 0;
  bool in_flight_ = false;
  bool probe_failed_ = false;  ///< since the last raise, a size was given up
};

}  // namespace nd::core
