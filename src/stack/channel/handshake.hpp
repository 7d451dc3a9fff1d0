// The channel handshake (after RFC 9260, section 5.1): cookie and state table.
//
//   initiator                        responder
//   closed --open-->  init_sent      (keeps nothing)
//          INIT            ------->
//                          <-------  INIT_ACK(cookie)
//   init_sent --init_ack--> cookie_echoed
//          COOKIE_ECHO     ------->  cookie valid: closed --accept--> open
//                          <-------  COOKIE_ACK
//   cookie_echoed --cookie_ack--> open
//
// A lost packet is repaired by the initiator alone: it repeats what it sent last, and starts over
// with INIT and another tag after some COOKIE_ECHOs. A repeated COOKIE_ECHO finds the channel open
// and is answered again.
#pragma once

#include <array>
#include <cstdint>

#include "base/time.hpp"
#include "wire/nd_header.hpp"

namespace nd::core {

enum class channel_state : std::uint8_t { closed, init_sent, cookie_echoed, open, dead };
inline constexpr std::size_t channel_states = 5;

enum class channel_event : std::uint8_t {
  open,        ///< the host wants this channel
  accept,      ///< a COOKIE_ECHO with a valid cookie, or its repetition
  init_ack,    ///< with our tag
  cookie_ack,  ///< with our tag
  retry,       ///< no answer yet
  start_over,  ///< no answer to many COOKIE_ECHOs: the cookie may be too old, or of an earlier boot
  give_up,     ///< no answer for too long, abort, close, restart of the peer
};
inline constexpr std::size_t channel_events = 7;

enum class channel_action : std::uint8_t {
  ignore,  ///< counted as a drop when a packet caused it
  send_init,
  send_cookie_echo,
  send_cookie_ack,
  opened,
  died,
};

struct channel_transition {
  channel_state next;
  channel_action action;
};

channel_transition channel_transition_for(channel_state state, channel_event event) noexcept;

/// Makes and checks cookies: a keyed hash over all that the responder would have to remember, and
/// the time. One per host; the key comes from the system and is never sent.
class cookie_jar {
 public:
  using key = std::array<std::uint8_t, 16>;  // of SipHash-2-4
  static constexpr duration lifetime = duration::seconds(5);

  explicit cookie_jar(const key& secret) noexcept : secret_(secret) {}

  /// Fills in the cookie of an INIT_ACK that answers `init` from `peer`.
  void bake(instant now, std::uint32_t peer, const wire::handshake_body& init,
            wire::handshake_body& init_ack) const noexcept;
  /// Whether `echo` carries a cookie we baked for these very contents, not too long ago.
  bool accepts(instant now, std::uint32_t peer, const wire::handshake_body& echo) const noexcept;

 private:
  using mac = std::array<std::byte, wire::cookie_mac_size>;
  mac mac_of(std::uint64_t time, std::uint32_t peer,
             const wire::handshake_body& body) const noexcept;
  key secret_;
};

}  // namespace nd::core
