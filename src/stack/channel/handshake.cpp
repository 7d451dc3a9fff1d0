#include "channel/handshake.hpp"

#include <sodium.h>

#include "wire/ip.hpp"

namespace nd::core {

channel_transition channel_transition_for(channel_state state, channel_event event) noexcept {
  using s = channel_state;
  using a = channel_action;
  // Rows: states. Columns: open, accept, init_ack, cookie_ack, retry, start_over, give_up.
  static constexpr channel_transition table[channel_states][channel_events] = {
      /* closed */
      {{s::init_sent, a::send_init},
       {s::open, a::send_cookie_ack},
       {s::closed, a::ignore},
       {s::closed, a::ignore},
       {s::closed, a::ignore},
       {s::closed, a::ignore},
       {s::dead, a::died}},
      /* init_sent */
      {{s::init_sent, a::ignore},
       {s::init_sent, a::ignore},
       {s::cookie_echoed, a::send_cookie_echo},
       {s::init_sent, a::ignore},
       {s::init_sent, a::send_init},
       {s::init_sent, a::send_init},
       {s::dead, a::died}},
      /* cookie_echoed; a second INIT_ACK answers a repeated INIT: its cookie is as good */
      {{s::cookie_echoed, a::ignore},
       {s::cookie_echoed, a::ignore},
       {s::cookie_echoed, a::ignore},
       {s::open, a::opened},
       {s::cookie_echoed, a::send_cookie_echo},
       {s::init_sent, a::send_init},
       {s::dead, a::died}},
      /* open */
      {{s::open, a::ignore},
       {s::open, a::send_cookie_ack},
       {s::open, a::ignore},
       {s::open, a::ignore},
       {s::open, a::ignore},
       {s::open, a::ignore},
       {s::dead, a::died}},
      /* dead */
      {{s::dead, a::ignore},
       {s::dead, a::ignore},
       {s::dead, a::ignore},
       {s::dead, a::ignore},
       {s::dead, a::ignore},
       {s::dead, a::ignore},
       {s::dead, a::ignore}},
  };
  return table[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

void cookie_jar::bake(instant now, std::uint32_t peer, const wire::handshake_body& init,
                      wire::handshake_body& init_ack) const noexcept {
  const auto time = static_cast<std::uint64_t>(now.ns());
  init_ack.cookie_time = time;
  init_ack.cookie_mac = mac_of(time, peer, init);
}

bool cookie_jar::accepts(instant now, std::uint32_t peer,
                         const wire::handshake_body& echo) const noexcept {
  const auto baked = static_cast<std::int64_t>(std::uint64_t{echo.cookie_time});
  if (baked < 0 || baked > now.ns() || now - instant(baked) > lifetime) return false;
  const mac expected = mac_of(echo.cookie_time, peer, echo);
  return sodium_memcmp(expected.data(), echo.cookie_mac.data(), expected.size()) == 0;
}

cookie_jar::mac cookie_jar::mac_of(std::uint64_t time, std::uint32_t peer,
                                   const wire::handshake_body& body) const noexcept {
  struct {
    wire::be32 peer;
    wire::handshake_body body;
  } hashed{peer, body};
  static_assert(sizeof hashed == sizeof(wire::be32) + sizeof(wire::handshake_body));
  hashed.body.cookie_time = time;
  hashed.body.cookie_mac = {};
  mac out;
  static_assert(sizeof out == crypto_shorthash_siphashx24_BYTES);
  static_assert(sizeof(key) == crypto_shorthash_siphashx24_KEYBYTES);
  crypto_shorthash_siphashx24(reinterpret_cast<unsigned char*>(out.data()),
                              reinterpret_cast<const unsigned char*>(&hashed), sizeof hashed,
                              secret_.data());
  return out;
}

}  // namespace nd::core
