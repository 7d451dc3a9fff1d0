// A host opens a channel: what it repeats, and what it believes.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("A host opens a channel for the first connect", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send(cookie_ack());
  s.expect(data(sync()));
  CHECK_FALSE(a.connected());
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
  s.expect_nothing(50_ms);
}

TEST_CASE("A lost INIT is repeated after 20 ms, then every 40 ms", "[open]") {
  script s;
  app_socket a = s.connect();
  const channel_end before = s.end();
  const packet first = s.expect(init());
  const packet same = init().with_id(*first.id).with_tag(*first.own_tag);
  CHECK(before.host_id == 0);
  s.expect_after(20_ms, same);
  for (int i = 0; i < 74; ++i) s.expect_after(40_ms, same);
  // 2.98 s have gone by: connect_timeout ends it.
  s.expect_nothing(18_ms);
  CHECK_FALSE(a.failed());
  s.expect_nothing(2_ms);
  CHECK(a.error() == errc::host_unreachable);
  s.expect_nothing(1_s);
}

TEST_CASE("A lost COOKIE_ECHO is repeated, and the fourth time it starts over", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send(init_ack());
  s.expect(cookie_echo());
  s.expect_after(20_ms, cookie_echo());
  s.expect_after(40_ms, cookie_echo());
  s.expect_after(40_ms, cookie_echo());
  s.expect_after(40_ms, init());
  s.send(init_ack());
  s.expect(cookie_echo());
  s.expect_after(20_ms, cookie_echo());  // the count starts again with INIT_ACK
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
}

TEST_CASE("A handshake that starts over is another channel: what belongs to the first is dropped",
          "[open]") {
  script s;
  app_socket a = s.connect();
  const packet first = s.expect(init());
  s.send(init_ack());
  s.expect(cookie_echo());
  const packet early_ack = cookie_ack().to_channel(*first.id).tagged(*first.own_tag);
  const packet early_data =
      ping().to_channel(*first.id).tagged(*first.own_tag).numbered(70'000).with_floor(70'000);
  for (int i = 0; i < 3; ++i) s.expect_within(41_ms, cookie_echo());
  const packet second = s.expect_within(41_ms, init().with_id(*first.id));
  CHECK(*second.own_tag != *first.own_tag);
  s.send_in_vain(init_ack().tagged(*first.own_tag), &counters::drop_bad_handshake);
  s.expect_nothing();  // an ABORT would end more than the peer's half of that channel
  s.send(init_ack());
  s.expect(cookie_echo().with_tag(*second.own_tag));
  s.send_in_vain(early_ack, &counters::drop_bad_handshake);
  s.send_in_vain(early_data, &counters::drop_bad_handshake);
  s.expect_nothing();
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send_in_vain(early_data, &counters::drop_bad_handshake);
  s.send(data(sync_ack()).numbered(0).with_floor(0));
  s.expect(ack().acking(1));
  CHECK(a.connected());
}

TEST_CASE("COOKIE_ACK to somebody who has only sent INIT", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send_in_vain(cookie_ack(), &counters::drop_bad_handshake);
  s.expect_nothing();
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send(ack());
}

TEST_CASE("The first INIT_ACK counts", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send(init_ack());
  const cookie first = s.end().its_cookie;
  s.expect(cookie_echo());
  s.send_in_vain(init_ack().with_cookie({.time = 77, .mac = {}}), &counters::drop_bad_handshake);
  s.expect_nothing();
  s.expect_within(30_ms, cookie_echo().with_cookie(first));
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send(ack());
}

TEST_CASE("INIT_ACK and COOKIE_ACK that come late or twice", "[open]") {
  script s;
  app_socket a = s.host_connects();
  s.send_in_vain(cookie_ack(), &counters::drop_bad_handshake);
  s.send_in_vain(init_ack(), &counters::drop_bad_handshake);
  // Whatever the second one says.
  s.send_in_vain(cookie_ack().with_id(99).with_tag(98).with_mtu(700),
                 &counters::drop_bad_handshake);
  s.expect_nothing();
  script::write(a, "hello");
  s.expect(data(bytes(0, "hello")));
  s.send(ack());
}

TEST_CASE("An INIT_ACK with a wrong tag is a stranger's", "[open]") {
  script s;
  app_socket a = s.connect();
  const packet asked = s.expect(init());
  s.send_in_vain(init_ack().tagged(*asked.own_tag + 2), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(*asked.id).tagged(*asked.own_tag + 2));
  s.send_in_vain(init_ack().to_channel(*asked.id + 1), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(*asked.id + 1).tagged(*asked.own_tag));
  s.send_in_vain(init_ack().from_ip(test::made_ip(2)), &counters::drop_unknown_channel);
  s.ignore_for(5_us);  // an ABORT to another host
  s.expect_within(21_ms, init());
}

TEST_CASE("A COOKIE_ACK that cannot be is not believed, and the next one is", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send_in_vain(cookie_ack().with_mtu(575), &counters::drop_bad_handshake);
  s.send_in_vain(cookie_ack().with_id(0), &counters::drop_bad_handshake);
  s.send_in_vain(cookie_ack().with_tag(0), &counters::drop_bad_handshake);
  s.send_in_vain(cookie_ack().shorter_by(1), &counters::drop_malformed);
  s.send_in_vain(cookie_ack().with_bad_checksum(), &counters::drop_checksum);
  s.expect_nothing();
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send(ack());
}

TEST_CASE("DATA overtakes COOKIE_ACK", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send(init_ack());
  s.expect(cookie_echo());
  const packet early = ping();
  s.send_in_vain(early, &counters::drop_bad_handshake);
  s.expect_nothing();  // no acknowledgement either
  s.send(cookie_ack());
  s.expect(data(sync()).acking(0));
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
}

TEST_CASE("CLOSE, ACK and PROBE to a channel that is not open", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  for (const packet& p : {close(), ack(), probe(1200), abort()}) {
    const packet to_it = p.to_channel(s.end().host_id).tagged(s.end().host_tag);
    s.send_in_vain(to_it, &counters::drop_bad_handshake);
  }
  s.expect_nothing();
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send_in_vain(close(), &counters::drop_bad_handshake);
  s.expect_nothing();
  CHECK_FALSE(a.failed());
}

TEST_CASE("An ABORT that reflects INIT's or COOKIE_ECHO's header ends nothing", "[open]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send_in_vain(abort().to_channel(0).tagged(0), &counters::drop_unknown_channel);
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send_in_vain(abort().to_channel(0).tagged(0), &counters::drop_unknown_channel);
  s.expect_nothing();
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send(ack());
}

TEST_CASE("The application gives up before the channel is open", "[open]") {
  script s;
  {
    app_socket a = s.connect();
    s.expect(init());
  }
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send(cookie_ack());
  s.expect_nothing(50_ms);  // no SYNC, and no RESET for one that never left
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("Both ends open channels at once, and both stay", "[open]") {
  script s;
  s.listen();
  app_socket from_host = s.connect();
  s.expect(init());
  s.send(init().on_channel(1));
  s.expect(init_ack().on_channel(1));
  s.send(init_ack());
  s.expect(cookie_echo());
  s.send(cookie_echo().on_channel(1));
  // SYNC takes the first channel that is open.
  s.expect(cookie_ack().on_channel(1));
  s.expect(data(sync()).on_channel(1));
  const stream hosts = s.current;
  s.send(cookie_ack());
  s.send(data(sync_ack()));
  s.expect(ack());
  s.send(ack().on_channel(1));
  CHECK(from_host.connected());
  s.current = {7000, 80, 123'456};
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket from_peer = s.accept();
  CHECK(s.host().holdings().channels == 2);
  // A stream over both: its second half first.
  s.send(data(bytes(3, "def")).on_channel(1));
  s.expect(ack().on_channel(1));
  CHECK(s.read(from_peer).empty());
  s.send(data(bytes(0, "abc")));
  s.expect(ack());
  CHECK(s.read(from_peer) == "abcdef");
  s.current = hosts;
}

TEST_CASE("A connect uses the channel that the peer has opened", "[open]") {
  script s;
  s.peer_opens();
  app_socket a = s.connect();
  s.expect(data(sync()));
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
  CHECK(s.value(&counters::handshakes_started) == 0);
}

TEST_CASE("Each class has channels of its own", "[open]") {
  script s;
  app_socket bulk = s.host_connects();
  app_socket quick = s.connect(9001, 1);
  s.end(1).traffic_class = 1;
  s.host_opens(1);
  s.expect(data(sync().of_class(1)).on_channel(1));
  s.send(data(sync_ack()).on_channel(1));
  s.expect(ack().on_channel(1));
  CHECK(quick.connected());
  script::write(quick, "now");
  s.expect(data(bytes(0, "now")).on_channel(1));
  s.send(ack().on_channel(1));
}

TEST_CASE("As many INITs leave as channels are wanted", "[open]") {
  script s({.adjust = [](settings& v) { v.channels_throughput = 3; }});
  app_socket a = s.connect();
  for (std::size_t k = 0; k < 3; ++k) s.expect(init().on_channel(k));
  // SYNC does not wait for the slowest of them.
  s.send(init_ack().on_channel(2));
  s.expect(cookie_echo().on_channel(2));
  s.send(cookie_ack().on_channel(2));
  s.expect(data(sync()).on_channel(2));
  s.send(ack().on_channel(2));
}

TEST_CASE("Several connects wait for one handshake, and share a packet", "[open]") {
  script s;
  app_socket a = s.connect(9000), b = s.connect(9000), c = s.connect(9000);
  s.host_opens();
  const packet syncs = s.expect(data(sync(), sync(), sync()));
  CHECK(*syncs.records[0].source != *syncs.records[1].source);
  CHECK(*syncs.records[0].connection + 1 == *syncs.records[1].connection);
  CHECK(*syncs.records[1].connection + 1 == *syncs.records[2].connection);
  s.send(ack());
}

}  // namespace
}  // namespace nd::script
