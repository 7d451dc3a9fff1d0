// The handshake's state table, pair by pair, and its cookies.
#include "channel/handshake.hpp"

#include <catch2/catch.hpp>

#include "base/rng.hpp"

using nd::duration;
using nd::instant;
using nd::core::channel_action;
using nd::core::channel_event;
using nd::core::channel_state;
using nd::core::channel_transition_for;
using nd::core::cookie_jar;
namespace wire = nd::wire;

TEST_CASE("every event in every state of a channel does what the diagram says", "[handshake]") {
  using s = channel_state;
  using e = channel_event;
  using a = channel_action;
  // Pairs that are not listed leave the state alone and do nothing.
  struct row {
    s state;
    e event;
    s next;
    a action;
  };
  static constexpr row rows[] = {
      {s::closed, e::open, s::init_sent, a::send_init},
      {s::closed, e::accept, s::open, a::send_cookie_ack},
      {s::closed, e::give_up, s::dead, a::died},
      {s::init_sent, e::init_ack, s::cookie_echoed, a::send_cookie_echo},
      {s::init_sent, e::retry, s::init_sent, a::send_init},
      {s::init_sent, e::start_over, s::init_sent, a::send_init},
      {s::init_sent, e::give_up, s::dead, a::died},
      {s::cookie_echoed, e::cookie_ack, s::open, a::opened},
      {s::cookie_echoed, e::retry, s::cookie_echoed, a::send_cookie_echo},
      {s::cookie_echoed, e::start_over, s::init_sent, a::send_init},
      {s::cookie_echoed, e::give_up, s::dead, a::died},
      {s::open, e::accept, s::open, a::send_cookie_ack},
      {s::open, e::give_up, s::dead, a::died},
  };
  std::size_t pairs = 0;
  for (std::size_t i = 0; i < nd::core::channel_states; ++i) {
    for (std::size_t j = 0; j < nd::core::channel_events; ++j, ++pairs) {
      const auto state = static_cast<s>(i);
      const auto event = static_cast<e>(j);
      row expected{state, event, state, a::ignore};
      for (const row& r : rows)
        if (r.state == state && r.event == event) expected = r;
      CAPTURE(i, j);
      const auto t = channel_transition_for(state, event);
      CHECK(t.next == expected.next);
      CHECK(t.action == expected.action);
    }
  }
  CHECK(pairs == 35);
}

namespace {

constexpr cookie_jar::key secret{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
constexpr instant baked(7'000'000'000);
constexpr std::uint32_t peer = 0x0a000002;

/// An INIT, and the COOKIE_ECHO that repeats it with the cookie that it was given.
wire::handshake_body echo_of(const cookie_jar& jar) {
  wire::handshake_body init{};
  init.epoch = 0x1122334455667788U;
  init.channel = 3U;
  init.tag = 0xdeadbeefU;
  init.mtu = std::uint16_t{9000};
  init.traffic_class = 1;
  init.flags = wire::handshake_no_checksum;
  init.first_number = 0xfffffff0U;
  wire::handshake_body init_ack{};
  jar.bake(baked, peer, init, init_ack);
  init.cookie_time = init_ack.cookie_time;
  init.cookie_mac = init_ack.cookie_mac;
  return init;
}

}  // namespace

TEST_CASE("a jar accepts its own cookie for its lifetime", "[cookie]") {
  const cookie_jar jar(secret);
  const auto echo = echo_of(jar);
  CHECK(jar.accepts(baked, peer, echo));
  CHECK(jar.accepts(baked + duration::milliseconds(300), peer, echo));
  CHECK(jar.accepts(baked + cookie_jar::lifetime, peer, echo));
  CHECK_FALSE(jar.accepts(baked + cookie_jar::lifetime + duration(1), peer, echo));
  CHECK_FALSE(jar.accepts(baked - duration(1), peer, echo));
}

TEST_CASE("a cookie is good for one peer and one key", "[cookie]") {
  const cookie_jar jar(secret);
  const auto echo = echo_of(jar);
  for (int bit = 0; bit < 32; ++bit) CHECK_FALSE(jar.accepts(baked, peer ^ (1U << bit), echo));
  for (std::size_t i = 0; i < secret.size() * 8; ++i) {
    cookie_jar::key other = secret;
    other[i / 8] = static_cast<std::uint8_t>(other[i / 8] ^ (1U << i % 8));
    CHECK_FALSE(cookie_jar(other).accepts(baked, peer, echo));
  }
  CHECK(cookie_jar(secret).accepts(baked, peer, echo));
}

TEST_CASE("a cookie is good for one set of contents: each turned bit is refused", "[cookie]") {
  const cookie_jar jar(secret);
  const auto echo = echo_of(jar);
  // Late enough that a smaller time of baking would still be within the lifetime.
  const instant now = baked + duration::seconds(1);
  REQUIRE(jar.accepts(now, peer, echo));
  for (std::size_t bit = 0; bit < sizeof echo * 8; ++bit) {
    auto changed = echo;
    reinterpret_cast<unsigned char*>(&changed)[bit / 8] ^=
        static_cast<unsigned char>(1U << bit % 8);
    CAPTURE(bit);
    CHECK_FALSE(jar.accepts(now, peer, changed));
  }
}

// From the network: no arithmetic may overflow.
TEST_CASE("times that no clock shows are refused", "[cookie]") {
  const cookie_jar jar(secret);
  auto echo = echo_of(jar);
  for (const std::uint64_t time : {std::uint64_t{1} << 63, (std::uint64_t{1} << 63) + 1,
                                   ~std::uint64_t{0}, ~std::uint64_t{0} >> 1, std::uint64_t{0}}) {
    CAPTURE(time);
    echo.cookie_time = time;
    CHECK_FALSE(jar.accepts(baked, peer, echo));
  }
}

TEST_CASE("random bodies are refused", "[cookie]") {
  const cookie_jar jar(secret);
  nd::rng random(9);
  wire::handshake_body body{};
  for (int i = 0; i < 10000; ++i) {
    for (std::size_t at = 0; at < sizeof body; ++at)
      reinterpret_cast<unsigned char*>(&body)[at] = static_cast<unsigned char>(random.next());
    body.cookie_time = static_cast<std::uint64_t>(baked.ns());
    REQUIRE_FALSE(jar.accepts(baked, peer, body));
  }
}
