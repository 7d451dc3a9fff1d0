// All frames that a host received are accounted for by its counters, each once.
#pragma once

#include "base/counters.hpp"

namespace nd::test {

inline std::uint64_t packets_used(const counters& c) noexcept {
  return c.arp_received.value() + c.icmp_echo_received.value() +
         c.icmp_unreachable_received.value() + c.handshake_packets_received.value() +
         c.aborts_received.value() + c.data_packets_received.value() + c.acks_received.value() +
         c.peers_closed.value();
}

inline std::uint64_t packets_dropped(const counters& c) noexcept {
  return c.drop_not_ours.value() + c.drop_malformed.value() + c.drop_cut.value() +
         c.drop_checksum.value() + c.drop_unknown_channel.value() + c.drop_bad_cookie.value() +
         c.drop_too_many_peers.value() + c.drop_bad_handshake.value() + c.drop_stale_epoch.value() +
         c.drop_duplicate.value() + c.drop_beyond_window.value() + c.drop_no_memory.value() +
         c.drop_bad_ack.value() + c.drop_lcore_busy.value();
}

/// `under_way`: at other lcores.
inline bool packets_add_up(const counters& c, std::size_t under_way = 0) noexcept {
  return packets_used(c) + packets_dropped(c) + under_way == c.rx_packets.value();
}

}  // namespace nd::test
