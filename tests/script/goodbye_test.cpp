// CLOSE: hosts that end in order.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("The peer says goodbye", "[close]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(close());
  s.expect(close().acking(1));
  CHECK(a.error() == errc::connection_reset);
  CHECK(s.value(&counters::peers_closed) == 1);
  CHECK_FALSE(s.host().has_channels());
  s.expect_nothing(1_s);
}

TEST_CASE("CLOSE acknowledges for the last time, in both directions", "[close]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "arrived");
  s.expect(data(bytes(0, "arrived")));
  s.send(data(bytes(0, "heard")).acking(1));
  s.send(close().acking(2));
  s.expect(close().acking(2));  // the acknowledgement of "heard" has not left before
  CHECK(a.unacknowledged() == 0);
  CHECK(s.read(a) == "heard");
}

TEST_CASE("CLOSE with ranges", "[close]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "lost");
  s.expect(data(bytes(0, "lost")));
  script::write(a, "arrived");
  s.expect(data(bytes(4, "arrived")));
  packet bye = close().acking(1);
  bye.records = {ack_ranges({{2, 2}})};
  s.send(bye);
  s.expect(close());
  CHECK(a.unacknowledged() == 4);
  CHECK(a.error() == errc::connection_reset);
}

TEST_CASE("CLOSE when all that is missing is an acknowledgement: no error", "[close]") {
  script s;
  app_socket a = s.peer_connects();
  SECTION("the peer closed first") {
    s.send(data(fin(0)));
    s.expect(ack());
    script::write(a, "bye");
    a.shut_down_send();
    s.expect(data(bytes(0, "bye"), fin(3)));
  }
  SECTION("both at once") {
    script::write(a, "bye");
    a.shut_down_send();
    s.expect(data(bytes(0, "bye"), fin(3)));
    s.send(data(fin(0)).acking(1));
    s.expect(ack());
  }
  s.send(close().acking(1));  // it had it, but the acknowledgement was lost
  s.expect(close());
  CHECK(s.read(a).empty());
  CHECK(a.at_end());
  CHECK_FALSE(a.failed());
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("CLOSE that comes again is a stranger's", "[close]") {
  script s;
  s.peer_opens();
  s.send(close());
  s.expect(close());
  s.send_in_vain(close(), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(s.end().host_id).tagged(s.end().host_tag));
}

TEST_CASE("CLOSE on one channel ends all of them", "[close]") {
  script s;
  app_socket a = s.peer_connects();
  s.peer_opens(1);
  s.send(close().on_channel(1));
  s.expect(close().on_channel(1));
  CHECK(a.error() == errc::connection_reset);
  CHECK(s.host().holdings().channels == 0);
}

TEST_CASE("The same boot opens a channel after its CLOSE", "[close]") {
  script s;
  s.peer_opens();
  s.send(close());
  s.expect(close());
  s.end(1).id = 300;
  s.peer_opens(1);
  CHECK(s.host().holdings().channels == 1);
}

TEST_CASE("The host says goodbye until it is answered", "[close]") {
  script s;
  s.peer_opens();
  for (int i = 0; i < 3; ++i) {
    CHECK(s.host().say_goodbye(s.now()));
    s.expect(close());
    s.after(5_ms);
  }
  s.send(close());
  s.expect_nothing();  // ours was the question
  CHECK_FALSE(s.host().say_goodbye(s.now()));
  s.expect_nothing(1_s);
}

TEST_CASE("Both hosts say goodbye at once", "[close]") {
  script s;
  s.peer_opens();
  CHECK(s.host().say_goodbye(s.now()));
  s.expect(close());
  s.send(close());  // not an answer: it has crossed ours
  s.expect_nothing(1_s);
  CHECK_FALSE(s.host().say_goodbye(s.now()));
}

TEST_CASE("The answer to our CLOSE is an ABORT", "[close]") {
  script s;
  s.peer_opens();
  CHECK(s.host().say_goodbye(s.now()));
  s.expect(close());
  s.send(abort().to_channel(s.end().id).tagged(s.end().tag));  // it had gone before
  CHECK_FALSE(s.host().say_goodbye(s.now()));
  s.expect_nothing(1_s);
}

TEST_CASE("A CLOSE that cannot be is not believed", "[close]") {
  script s;
  app_socket a = s.peer_connects();
  s.send_in_vain(close().with_bad_checksum(), &counters::drop_checksum);
  s.send_in_vain(close().acking(9), &counters::drop_bad_ack);
  s.send_in_vain(close().from_ip(test::made_ip(2)), &counters::drop_unknown_channel);
  s.ignore_for(5_us);  // an ABORT for somebody else
  s.send_in_vain(close().tagged(1), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(s.end().host_id).tagged(1));
  CHECK_FALSE(a.failed());
}

TEST_CASE("A connection under way when the peer says goodbye", "[close]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(close().acking(0));
  s.expect(close());
  CHECK(a.failed());
  s.expect_nothing(1_s);
}

TEST_CASE("A connect after the peer's goodbye asks again", "[close]") {
  script s;
  s.peer_opens();
  s.send(close());
  s.expect(close());
  app_socket a = s.connect();
  s.expect(init().on_channel(1));
  s.epoch += 1;
  s.send(init_ack().on_channel(1));
  s.expect(cookie_echo().on_channel(1));
  s.send(cookie_ack().on_channel(1));
  s.expect(data(sync()).on_channel(1));
  s.send(ack().on_channel(1));
}

}  // namespace
}  // namespace nd::script
