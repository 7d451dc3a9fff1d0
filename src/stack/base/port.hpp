// The device as the stack sees it: bursts of frames, and what the device can do.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/time.hpp"

namespace nd {

using mac_address = std::array<std::uint8_t, 6>;
inline constexpr mac_address mac_broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/// What was asked of the device, never assumed.
struct port_capabilities {
  mac_address mac{};
  std::uint16_t mtu = 1500;      ///< bytes of an IP packet
  bool tx_udp_checksum = false;  ///< the device fills in UDP checksums
  bool tx_chains = false;        ///< it takes frames in several mbufs, and reads any memory
};

/// How a thread that sleeps learns of frames.
struct rx_wake {
  bool told = false;  ///< false: not at all, it has to look now and then
  int fd = -1;        ///< readable when frames come; -1: another thread brings them, and wakes it
};

/// A device, by one thread at a time. A port may have a second lane, which frames of the latency
/// class take, so that they do not stand behind bulk data in the device's queues.
class port {
 public:
  virtual ~port() = default;

  virtual const port_capabilities& capabilities() const noexcept = 0;

  /// Up to `frames.size()` frames; the caller owns them.
  virtual std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) = 0;
  /// Takes the first n frames and their ownership, and returns n. The rest stays the caller's.
  virtual std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) = 0;
  /// The same on the second lane. Without one, nothing is received there, and what is sent takes
  /// its place among the others.
  virtual std::size_t rx_urgent(instant, std::span<rte_mbuf*>) { return 0; }
  virtual std::size_t tx_urgent(instant now, std::span<rte_mbuf*> frames) {
    return tx_burst(now, frames);
  }
  /// Once a poll iteration, also when nothing is sent: frames held back may leave now.
  virtual void tick(instant now) = 0;
  virtual bool link_up() const noexcept = 0;
  /// What is sent leaves by this port. False: not now, the other end has no queue for it; the first
  /// lcore's port always does.
  virtual bool sends() const noexcept { return true; }
  /// Frames taken that the driver then would not send.
  virtual std::uint64_t tx_refused() const noexcept { return 0; }
  /// Frames for another lcore, whose ring was full.
  virtual std::uint64_t rx_dropped() const noexcept { return 0; }
  /// Another lcore has put frames into it that wait for a call of this one.
  virtual bool has_work() const noexcept { return false; }
  /// Before a sleep. It tells of frames that come from now on: what came before is found by one
  /// more look, after this.
  virtual rx_wake arm_rx_wake() noexcept { return {}; }
  /// After it, or when that look has found something.
  virtual void disarm_rx_wake() noexcept {}
};

}  // namespace nd
