// Two hosts with one address (RFC 5227): probes, announcements, defence.
#pragma once

#include "base/time.hpp"

namespace nd::core {

/// Pure bookkeeping: says which ARP frame is due; the host sends it. Unlike RFC 5227 the address is
/// used from the start: programs come and go, and each would wait for seconds.
class address_guard {
 public:
  enum class frame : std::uint8_t { none, probe, announcement };

  /// RFC 5227, section 1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL, DEFEND_INTERVAL.
  static constexpr int announcements = 2;
  static constexpr duration announce_interval = duration::seconds(2);
  static constexpr duration defend_interval = duration::seconds(10);

  /// With 0 probes nothing is sent but in defence.
  address_guard(int probes, duration interval, instant now) noexcept
      : probes_left_(probes),
        announcements_left_(probes > 0 ? announcements : 0),
        interval_(interval),
        next_(now),
        defend_from_(now) {}

  instant next_deadline() const noexcept {
    return probes_left_ + announcements_left_ > 0 ? next_ : instant::never();
  }

  frame on_timer(instant now) noexcept {
    if (now < next_deadline()) return frame::none;
    if (probes_left_ > 0) {
      --probes_left_;
      next_ = now + interval_;
      return frame::probe;
    }
    --announcements_left_;
    next_ = now + announce_interval;
    return frame::announcement;
  }

  /// Somebody else uses the address. True: announce it now (section 2.4, (c)).
  bool on_conflict(instant now) noexcept {
    if (now < defend_from_) return false;
    defend_from_ = now + defend_interval;
    return true;
  }

 private:
  int probes_left_;
  int announcements_left_;
  duration interval_;
  instant next_;
  instant defend_from_;
};

}  // namespace nd::core
