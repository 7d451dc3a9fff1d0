// Peers that restart: later and earlier epochs in every state, and ABORT.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("A peer restarts: its connections fail when its new boot has shown a cookie", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.peer_restarts(s.epoch + 1);
  s.send(init());
  s.expect(init_ack());
  CHECK_FALSE(a.failed());  // anybody can write a larger number into an INIT
  s.send(cookie_echo());
  s.expect(cookie_ack());
  CHECK(a.error() == errc::peer_lost);
  CHECK(s.value(&counters::peers_lost) == 1);
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
}

TEST_CASE("ABORT for a channel that its initiator never used says nothing of the others",
          "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.peer_opens(1);
  s.send(abort().to_channel(s.end(1).id).tagged(s.end(1).tag));
  CHECK(s.host().holdings().channels == 1);
  CHECK(s.value(&counters::aborts_received) == 1);
  CHECK_FALSE(a.failed());
  script::write(a, "here");
  s.expect(data(bytes(0, "here")));
  s.send(ack());
  SECTION("for one that it did use it does") {
    s.send(abort().to_channel(s.end(0).id).tagged(s.end(0).tag));
    CHECK(a.error() == errc::peer_lost);
  }
}

TEST_CASE("What came before the restart is still the application's to read", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "last words")));
  s.expect(ack());
  s.peer_restarts(s.epoch + 1);
  s.peer_opens();
  CHECK(a.failed());
  CHECK(s.read(a) == "last words");
  CHECK_FALSE(a.at_end());
}

TEST_CASE("An earlier boot's COOKIE_ECHO opens nothing", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(init().on_channel(1).of_epoch(s.epoch - 1));
  s.expect(init_ack().on_channel(1));
  s.send_in_vain(cookie_echo().on_channel(1).of_epoch(s.epoch - 1), &counters::drop_stale_epoch);
  s.expect_nothing();
  CHECK_FALSE(a.failed());
  CHECK(s.host().holdings().channels == 1);
}

TEST_CASE("A delayed COOKIE_ECHO of the boot before, after the restart", "[epoch]") {
  script s;
  s.peer_opens();
  const packet delayed = cookie_echo().with_id(s.end().id).with_tag(s.end().tag).of_epoch(s.epoch);
  packet old = delayed.with_cookie(s.end().its_cookie);
  old.first_number = s.end().first;
  s.peer_restarts(s.epoch + 5);
  s.listen();
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket a = s.accept();
  s.send_in_vain(old, &counters::drop_stale_epoch);
  s.expect_nothing();
  s.send(data(bytes(0, "unharmed")));
  s.expect(ack());
  CHECK(s.read(a) == "unharmed");
}

TEST_CASE("DATA of the boot before is not delivered, and answered with ABORT", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  const std::vector<std::byte> old = s.encoded(data(bytes(0, "from the grave")));
  const channel_end before = s.end();
  s.peer_restarts(s.epoch + 1);
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket b = s.accept();
  const std::uint64_t dropped = s.value(&counters::drop_unknown_channel);
  s.send_raw(old);
  CHECK(s.value(&counters::drop_unknown_channel) == dropped + 1);
  s.expect(abort().to_channel(before.host_id).tagged(before.host_tag));
  CHECK(s.read(a).empty());
  CHECK(s.read(b).empty());
}

TEST_CASE("The same boot opens a second channel", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.peer_opens(1);
  CHECK_FALSE(a.failed());
  CHECK(s.host().holdings().channels == 2);
  s.send(data(bytes(0, "over the new one")).on_channel(1));
  s.expect(ack().on_channel(1));
  CHECK(s.read(a) == "over the new one");
}

TEST_CASE("A restarted peer says ABORT to what it does not know", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "anybody?");
  s.expect(data(bytes(0, "anybody?")));
  s.send(abort().to_channel(s.end().id).tagged(s.end().tag));
  CHECK(a.error() == errc::peer_lost);
  CHECK(s.value(&counters::aborts_received) == 1);
  s.expect_nothing(1_s);
  CHECK_FALSE(s.host().has_channels());
}

TEST_CASE("ABORT is believed only with what we put into packets", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  const channel_end e = s.end();
  for (const packet& p :
       {abort().to_channel(e.id).tagged(e.tag + 1), abort().to_channel(e.id + 1).tagged(e.tag),
        abort().to_channel(e.id).tagged(e.tag).from_ip(test::made_ip(2)),
        abort().to_channel(0).tagged(0)})
    s.send_in_vain(p, &counters::drop_unknown_channel);
  s.send_in_vain(abort().to_channel(e.id).tagged(e.tag).with_bad_checksum(),
                 &counters::drop_checksum);
  s.expect_nothing();  // ABORT is never answered with ABORT
  CHECK_FALSE(a.failed());
}

TEST_CASE("ABORT ends all channels of its peer", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.peer_opens(1);
  s.after(1_us);
  s.send(ping().on_channel(1));
  s.expect(ack().on_channel(1));
  s.send(abort().to_channel(s.end(1).id).tagged(s.end(1).tag));
  CHECK(a.error() == errc::peer_lost);
  CHECK_FALSE(s.host().has_channels());
}

TEST_CASE("A connect whose SYNC was not answered goes on with the next boot", "[epoch]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  const packet first = s.expect(data(sync()));
  s.send(ack());
  SECTION("that opens a channel itself") {
    s.peer_restarts(s.epoch + 1);
    s.peer_opens();
  }
  SECTION("that says ABORT to a ping, and is asked again") {
    s.send(abort().to_channel(s.end().id).tagged(s.end().tag));
    s.peer_restarts(s.epoch + 1);
    s.host_opens();
  }
  const packet again = s.expect(data(sync()));
  CHECK(*again.records[0].connection == *first.records[0].connection);
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
}

TEST_CASE("A connect that the old boot has answered in part fails with it", "[epoch]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  // DATA has overtaken SYNC_ACK.
  s.send(data(bytes(0, "early")));
  s.expect(ack());
  s.peer_restarts(s.epoch + 1);
  s.peer_opens();
  CHECK(a.error() == errc::peer_lost);
  s.expect_nothing();
}

TEST_CASE("COOKIE_ACK tells of a restart that nothing else has told of", "[epoch]") {
  script s;
  app_socket bulk = s.host_connects();
  app_socket quick = s.connect(9001, 1);
  s.end(1).traffic_class = 1;
  s.expect(init().on_channel(1).of_class(1));
  s.epoch += 1;
  s.send(init_ack().on_channel(1));
  s.expect(cookie_echo().on_channel(1));
  CHECK_FALSE(bulk.failed());
  s.send(cookie_ack().on_channel(1));
  CHECK(bulk.error() == errc::peer_lost);
  s.expect(data(sync().of_class(1)).on_channel(1));
  s.send(data(sync_ack()).on_channel(1));
  s.expect(ack().on_channel(1));
  CHECK(quick.connected());
  CHECK(s.host().holdings().channels == 1);
}

TEST_CASE("Answers of an earlier boot to a host that opens another channel", "[epoch]") {
  script s;
  app_socket bulk = s.host_connects();
  app_socket quick = s.connect(9001, 1);
  s.end(1).traffic_class = 1;
  s.expect(init().on_channel(1));
  s.send_in_vain(init_ack().on_channel(1).of_epoch(s.epoch - 1), &counters::drop_stale_epoch);
  s.expect_nothing();
  s.send(init_ack().on_channel(1));
  s.expect(cookie_echo().on_channel(1));
  s.send_in_vain(cookie_ack().on_channel(1).of_epoch(s.epoch - 1), &counters::drop_stale_epoch);
  s.expect_nothing();
  s.send(cookie_ack().on_channel(1));
  s.expect(data(sync().of_class(1)).on_channel(1));
  s.send(ack().on_channel(1));
  CHECK_FALSE(bulk.failed());
}

TEST_CASE("A peer restarts between INIT_ACK and COOKIE_ECHO of the host", "[epoch]") {
  script s;
  app_socket a = s.connect();
  s.expect(init());
  s.send(init_ack());
  s.expect(cookie_echo());
  // The new boot refuses the old one's cookie, in silence; the fourth time it is asked for its own.
  s.epoch += 1;
  s.expect_after(20_ms, cookie_echo());
  s.expect_after(40_ms, cookie_echo());
  s.expect_after(40_ms, cookie_echo());
  s.expect_after(40_ms, init());
  const cookie second{.time = 4, .mac = {}};
  s.send(init_ack().with_cookie(second));
  s.expect(cookie_echo().with_cookie(second));
  s.send(cookie_ack());
  s.expect(data(sync()));
  s.send(ack());
}

TEST_CASE("A peer restarts while both of its connections end", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  SECTION("our FIN is not acknowledged") {
    a.shut_down_send();
    s.expect(data(fin(0)));
  }
  SECTION("our FIN is acknowledged, the peer's has not come") {
    a.shut_down_send();
    s.expect(data(fin(0)));
    s.send(ack());
  }
  SECTION("the peer's FIN has come, and we go on") {
    s.send(data(fin(0)));
    s.expect(ack());
  }
  SECTION("both have left, ours is not acknowledged") {
    s.send(data(fin(0)));
    s.expect(ack());
    a.shut_down_send();
    s.expect(data(fin(0)));
  }
  s.peer_restarts(s.epoch + 1);
  s.peer_opens();
  CHECK(a.error() == errc::peer_lost);
  s.expect_nothing();
}

TEST_CASE("A peer that was lost may come back with a clock that was set back", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(abort().to_channel(s.end().id).tagged(s.end().tag));
  CHECK(a.failed());
  s.peer_restarts(s.epoch - 1000);
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
}

TEST_CASE("A restarted peer's connection may have the id of one before", "[epoch]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "one"), fin(3)));
  s.expect(ack());
  s.peer_restarts(s.epoch + 1);
  s.peer_opens();
  s.send(data(sync()));  // ports and id as before
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket b = s.accept();
  s.send(data(bytes(0, "two")));
  s.expect(ack());
  CHECK(s.read(a) == "one");
  CHECK(s.read(b) == "two");
}

TEST_CASE("ABORTs are at most ten a millisecond, two to one address", "[epoch]") {
  script s;
  const packet unknown = ping().to_channel(3).tagged(3);
  for (int ms = 0; ms < 2; ++ms) {
    const std::uint64_t before = s.value(&counters::aborts_sent);
    for (int i = 0; i < 30; ++i) s.send(unknown);
    for (int i = 0; i < 2; ++i) s.expect(abort().to_channel(3).tagged(3));
    s.expect_nothing();
    for (std::size_t i = 2; i < 100; ++i) s.send(unknown.from_ip(test::made_ip(i)));
    s.ignore_for(5_us);
    CHECK(s.value(&counters::aborts_sent) == before + 10);
    s.after(1_ms);
  }
}

}  // namespace
}  // namespace nd::script
