// A peer opens a channel: each step of the handshake, and each step at the wrong time.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

constexpr duration cookie_lifetime = 5_s;

TEST_CASE("A peer opens a channel and connects", "[handshake]") {
  script s;
  s.listen();
  s.send(init());
  s.expect(init_ack());
  s.send(cookie_echo());
  s.expect(cookie_ack());
  s.send(data(sync()));
  s.expect(data(sync_ack()).acking(1));
  s.send(ack());
  app_socket a = s.accept();
  s.send(data(bytes(0, "hello")));
  s.expect(ack());
  CHECK(s.read(a) == "hello");
  script::write(a, "world");
  s.expect(data(bytes(0, "world")));
  s.send(ack());
  s.expect_nothing(50_ms);
}

TEST_CASE("An INIT leaves nothing behind", "[handshake]") {
  script s;
  s.send(init());
  s.expect(init_ack());
  CHECK(s.host().holdings().peers == 0);
  CHECK_FALSE(s.host().has_channels());
  CHECK(s.host().next_deadline().is_never());
  s.expect_nothing(10_s);  // the initiator alone repairs
}

TEST_CASE("Each INIT is answered, and each of its cookies is good", "[handshake]") {
  script s;
  s.send(init());
  const packet first = s.expect(init_ack());
  s.after(20_ms);
  s.send(init());
  const packet second = s.expect(init_ack());
  CHECK(*first.its_cookie != *second.its_cookie);
  SECTION("the first one") {
    s.send(cookie_echo().with_cookie(*first.its_cookie));
  }
  SECTION("the second one") {
    s.send(cookie_echo().with_cookie(*second.its_cookie));
  }
  s.expect(cookie_ack());
  CHECK(s.host().holdings().channels == 1);
}

TEST_CASE("COOKIE_ECHO without an INIT opens nothing", "[handshake]") {
  script s;
  s.send_in_vain(cookie_echo(), &counters::drop_bad_cookie);
  s.expect_nothing();
  CHECK(s.host().holdings().peers == 0);
}

TEST_CASE("A cookie is good for the very INIT that it was baked for", "[handshake]") {
  script s;
  s.send(init());
  s.expect(init_ack());
  const channel_end e = s.end();
  for (const packet& other : {cookie_echo().with_id(e.id + 1), cookie_echo().with_tag(e.tag + 1),
                              cookie_echo().with_mtu(1400), cookie_echo().of_class(1),
                              cookie_echo().with_flags(1), cookie_echo().of_epoch(s.epoch + 1)})
    s.send_in_vain(other, &counters::drop_bad_cookie);
  packet shifted = cookie_echo();
  shifted.first_number = e.first + 1;
  s.send_in_vain(shifted, &counters::drop_bad_cookie);
  s.expect_nothing();
  CHECK(s.host().holdings().peers == 0);
  s.send(cookie_echo());  // the right one still is
  s.expect(cookie_ack());
}

TEST_CASE("A cookie with one bit turned is refused, wherever it is", "[handshake]") {
  script s;
  s.send(init());
  const cookie right = *s.expect(init_ack()).its_cookie;
  for (std::size_t i = 0; i < right.mac.size(); ++i) {
    cookie wrong = right;
    wrong.mac[i] ^= std::byte{0x10};
    s.send_in_vain(cookie_echo().with_cookie(wrong), &counters::drop_bad_cookie);
  }
  cookie later = right;
  later.time += 1;
  s.send_in_vain(cookie_echo().with_cookie(later), &counters::drop_bad_cookie);
  s.expect_nothing();
}

TEST_CASE("A cookie is another host's who sends it from elsewhere", "[handshake]") {
  script s;
  s.send(init());
  s.expect(init_ack());
  s.send_in_vain(cookie_echo().from_ip(test::made_ip(2)), &counters::drop_bad_cookie);
  s.expect_nothing();
  CHECK(s.host().holdings().peers == 0);
}

TEST_CASE("A cookie is good for five seconds", "[handshake]") {
  script s;
  s.send(init());
  s.expect(init_ack());
  SECTION("to the last nanosecond") {
    const instant baked(static_cast<std::int64_t>(s.end().its_cookie.time));
    s.after(baked + cookie_lifetime - s.now());
    s.send(cookie_echo());
    s.expect(cookie_ack());
  }
  SECTION("and no longer") {
    s.after(cookie_lifetime + 1_us);
    s.send_in_vain(cookie_echo(), &counters::drop_bad_cookie);
    s.expect_nothing();
    s.send(init());
    s.expect(init_ack());
    s.send(cookie_echo());
    s.expect(cookie_ack());
  }
}

TEST_CASE("A channel's id opened with another tag: its initiator has started over", "[handshake]") {
  script s;
  app_socket a = s.peer_connects();
  const channel_end first = s.end();
  packet late = cookie_echo().with_id(first.id).with_tag(first.tag).with_cookie(first.its_cookie);
  late.first_number = first.first;
  script::write(a, "to nobody");
  s.expect(data(bytes(0, "to nobody")));
  s.after(30_us);

  s.end().tag += 2;
  s.end().seen = s.end().next = s.end().floor = 0;
  s.peer_opens();
  CHECK(s.end().host_tag != first.host_tag);
  CHECK(s.host().holdings().channels == 1);
  CHECK(s.value(&counters::handshakes_accepted) == 2);
  s.expect(data(bytes(0, "to nobody")));
  s.send(ack());
  // The first one's cookie is good for some time yet, but for nothing any more.
  s.send_in_vain(late, &counters::drop_bad_cookie);
  s.expect_nothing();
  CHECK(s.host().holdings().channels == 1);
  script::write(a, "and on");
  s.expect(data(bytes(9, "and on")));
  s.send(ack());
}

TEST_CASE("A repeated COOKIE_ECHO finds its channel", "[handshake]") {
  script s;
  s.peer_opens();
  const channel_end before = s.end();
  for (int i = 0; i < 3; ++i) {
    s.after(20_ms);
    s.send(cookie_echo());
    s.expect(cookie_ack().with_id(before.host_id).with_tag(before.host_tag));
  }
  CHECK(s.host().holdings().channels == 1);
  CHECK(s.value(&counters::handshakes_accepted) == 1);
}

TEST_CASE("COOKIE_ECHO comes again when bytes flow already", "[handshake]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "before")));
  s.expect(ack());
  s.send(cookie_echo());
  s.expect(cookie_ack());
  s.send(data(bytes(6, " after")));
  s.expect(ack());
  CHECK(s.read(a) == "before after");
}

TEST_CASE("A delayed INIT does not disturb the channel that it opened", "[handshake]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(init());
  s.expect(init_ack());
  s.send(data(bytes(0, "still here")));
  s.expect(ack());
  CHECK(s.read(a) == "still here");
  CHECK(s.host().holdings().channels == 1);
}

TEST_CASE("DATA before the handshake is answered with ABORT", "[handshake]") {
  script s;
  s.listen();
  s.send_in_vain(data(sync()).to_channel(1).tagged(99), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(1).tagged(99));
  CHECK(s.host().holdings().peers == 0);
  s.peer_opens();
}

TEST_CASE("DATA between INIT_ACK and COOKIE_ECHO is nobody's yet", "[handshake]") {
  script s;
  s.listen();
  s.send(init());
  s.expect(init_ack());
  // Channel 1 is what it will be.
  s.send_in_vain(data(sync()).to_channel(1).tagged(1), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(1).tagged(1));
  s.send(cookie_echo());
  s.expect(cookie_ack());
  s.send(data(sync()));
  s.expect(data(sync_ack()));
}

TEST_CASE("Answers of the handshake from somebody who was not asked", "[handshake]") {
  script s;
  for (const packet& p : {init_ack(), cookie_ack()}) {
    s.send_in_vain(p.to_channel(1).tagged(5), &counters::drop_unknown_channel);
    s.expect(abort().to_channel(1).tagged(5));
  }
  CHECK(s.host().holdings().peers == 0);
}

TEST_CASE("An INIT that cannot be is not answered", "[handshake]") {
  script s;
  s.send_in_vain(init().of_class(2), &counters::drop_malformed);
  s.send_in_vain(init().shorter_by(1), &counters::drop_malformed);
  s.send_in_vain(init().shorter_by(48), &counters::drop_malformed);
  s.send_in_vain(init().with_version(0), &counters::drop_malformed);
  s.send_in_vain(init().with_version(2), &counters::drop_malformed);
  s.send_in_vain(init().with_bad_checksum(), &counters::drop_checksum);
  s.send_in_vain(init().without_checksum(), &counters::drop_checksum);
  s.expect_nothing();
  CHECK(s.value(&counters::tx_packets) == 0);
}

TEST_CASE("Nobody has id 0, tag 0, or a device for less than 576 bytes", "[handshake]") {
  script s;
  s.send(init());
  s.expect(init_ack());
  for (const packet& p : {init(), cookie_echo()}) {
    s.send_in_vain(p.with_id(0), &counters::drop_malformed);
    s.send_in_vain(p.with_tag(0), &counters::drop_malformed);
    s.send_in_vain(p.with_mtu(575), &counters::drop_malformed);
  }
  s.expect_nothing();
  CHECK(s.host().holdings().peers == 0);
}

TEST_CASE("A stranger whose tag is 0 gets no ABORT", "[handshake]") {
  script s;
  s.send_in_vain(ping().to_channel(1).tagged(0), &counters::drop_unknown_channel);
  s.expect_nothing();
}

TEST_CASE("Packets from addresses that no other host can have", "[handshake]") {
  script s;
  for (const std::uint32_t ip :
       {0U, 0x7f000001U, 0xe0000001U, 0xffffffffU, 0x0a0000ffU, test::made_ip(0)})
    s.send_in_vain(init().from_ip(ip), &counters::drop_not_ours);
  s.expect_nothing();
}

TEST_CASE("The smallest MTU that a peer may have is enough", "[handshake]") {
  script s;
  s.mtu = 576;
  app_socket a = s.peer_connects();
  script::write(a, text(600));
  constexpr std::size_t most = 576 - 20 - 28 - 16 - 4;
  s.expect(data(bytes(0, text(most))).of_size(576));
  s.expect(data(bytes(most, text(600 - most, most))));
  s.send(ack());
}

TEST_CASE("A handshake of a later version may say more", "[handshake]") {
  script s;
  s.send(init().longer_by(20));
  s.expect(init_ack());
  s.send(cookie_echo().longer_by(40));
  s.expect(cookie_ack());
}

TEST_CASE("An answer is never larger than what provoked it", "[handshake]") {
  script s;
  const std::size_t asked = s.encoded(init()).size() - sizeof(wire::ethernet_header);
  s.send(init());
  CHECK(*s.expect(init_ack()).ip_size == asked);
  s.send(cookie_echo());
  CHECK(*s.expect(cookie_ack()).ip_size == asked);
  const std::size_t least = s.encoded(ping()).size() - sizeof(wire::ethernet_header);
  s.send(ping().tagged(1));
  CHECK(*s.expect(abort().to_channel(s.end().host_id).tagged(1)).ip_size <= least);
}

TEST_CASE("A peer has at most 64 channels of a class", "[handshake]") {
  script s;
  const auto open = [&](std::uint32_t i) {
    s.send(init().with_id(200 + i));
    s.expect(init_ack().to_channel(200 + i));
  };
  for (std::uint32_t i = 0; i < 64; ++i) {
    open(i);
    s.send(cookie_echo().with_id(200 + i));
    s.expect(cookie_ack().to_channel(200 + i));
  }
  open(64);
  s.send_in_vain(cookie_echo().with_id(264), &counters::drop_bad_handshake);
  s.expect_nothing();
  CHECK(s.host().holdings().channels == 64);
  // The other class has its own.
  s.end().traffic_class = 1;
  open(64);
  s.send(cookie_echo().with_id(264));
  s.expect(cookie_ack().to_channel(264));
}

TEST_CASE("In an open channel INIT, COOKIE_ECHO and ABORT have no business", "[handshake]") {
  script s;
  app_socket a = s.peer_connects();
  const channel_end e = s.end();
  for (const packet& p : {init(), cookie_echo(), abort(), init_ack(), cookie_ack()})
    s.send_in_vain(p.to_channel(e.host_id).tagged(e.host_tag), &counters::drop_bad_handshake);
  s.expect_nothing();
  s.send(data(bytes(0, "x")));
  s.expect(ack());
  CHECK(s.read(a) == "x");
}

TEST_CASE("A kind of packet that nobody knows", "[handshake]") {
  script s;
  app_socket a = s.peer_connects();
  const packet odd = make(static_cast<packet_kind>(12));
  SECTION("in an open channel it is dropped") {
    s.send_in_vain(odd, &counters::drop_bad_handshake);
    s.expect_nothing();
  }
  SECTION("from a stranger it provokes ABORT") {
    s.send_in_vain(odd.tagged(4), &counters::drop_unknown_channel);
    s.expect(abort().to_channel(s.end().host_id).tagged(4));
  }
  s.send(data(bytes(0, "x")));
  s.expect(ack());
  CHECK(s.read(a) == "x");
}

TEST_CASE("The handshake in UDP", "[handshake][udp]") {
  script s({.udp = true});
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "over UDP")));
  s.expect(ack());
  CHECK(s.read(a) == "over UDP");
  s.send_in_vain(init().with_bad_checksum(), &counters::drop_checksum);
  s.send_in_vain(init().without_checksum(), &counters::drop_checksum);
  s.expect_nothing();
}

}  // namespace
}  // namespace nd::script
