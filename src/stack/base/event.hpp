// What happened that a person should hear of. Layers below gather events; who polls them tells.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/port.hpp"
#include "base/time.hpp"

namespace nd {

enum class event_kind : std::uint8_t {
  link_up,
  link_down,
  device_gone,        ///< the interface was removed
  address_conflict,   ///< `mac` uses this host's address
  neighbor_moved,     ///< `ip` was at `before`, and is at `mac` now
  off_link_neighbor,  ///< `ip` at `mac` takes this host for its neighbour, but is none of ours
  no_route,           ///< `ip` is not on the link, and there is no gateway
  gateway_silent,     ///< `ip`, the gateway, does not answer ARP
  mtu_differs,        ///< the device of `ip` takes `bytes`, this host's `limit`
  path_mtu_limited,   ///< of packets to `ip` none above `bytes` arrives; both ends take `limit`
  frame_cut,          ///< `ip` sent `bytes`, of which the device has kept `limit`
  peer_lied,          ///< `ip` acknowledged a packet that was never sent
};
inline constexpr std::size_t event_kinds = 12;

struct event {
  event_kind kind{};
  std::uint32_t ip = 0;
  mac_address mac{};
  mac_address before{};
  std::uint32_t bytes = 0;  ///< of an IP packet, as is
  std::uint32_t limit = 0;
};

/// What the network can provoke is bounded: of each kind one every `quiet`, the rest shows in
/// counters only. Changes of the link are all kept, up to `most`.
class event_queue {
 public:
  static constexpr duration quiet = duration::seconds(10);
  static constexpr std::size_t most = 64;

  void push(instant now, const event& e) {
    instant& next = next_[static_cast<std::size_t>(e.kind)];
    if (now < next || events_.size() == most) return;
    const bool own = e.kind == event_kind::link_up || e.kind == event_kind::link_down;
    if (!own) next = now + quiet;
    events_.push_back(e);
  }
  bool empty() const noexcept { return events_.empty(); }
  std::vector<event> take() { return std::exchange(events_, {}); }

 private:
  std::vector<event> events_;
  std::array<instant, event_kinds> next_{};  ///< of a kind: not before this
};

}  // namespace nd
