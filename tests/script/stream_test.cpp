// Bytes of a stream in every order, and how streams end.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("The second half comes first", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(5, "world")));
  s.expect(ack());
  CHECK(s.read(a).empty());
  s.send(data(bytes(0, "hello")));
  s.expect(ack());
  CHECK(s.read(a) == "helloworld");
}

TEST_CASE("Bytes that overlap what was received", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "abcdef")));
  s.expect(ack());
  s.send(data(bytes(3, "defghi")));
  s.expect(ack());
  s.send(data(bytes(0, "abcdefghijkl")));
  s.expect(ack());
  CHECK(s.read(a) == "abcdefghijkl");
}

TEST_CASE("What came first counts, where bytes that overlap differ", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "abc")));
  s.expect(ack());
  s.send(data(bytes(0, "XXXdef")));
  s.expect(ack());
  CHECK(s.read(a) == "abcdef");
}

TEST_CASE("Bytes that overlap what waits behind a gap", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(4, "ef"), bytes(8, "ij")));
  std::string there;
  SECTION("before it") {
    s.send(data(bytes(2, "cdef")));
    there = "abcdef";
  }
  SECTION("behind it") {
    s.send(data(bytes(4, "efgh"), bytes(2, "cd")));
    there = "abcdefghij";
  }
  SECTION("all around it") {
    s.send(data(bytes(2, "cdefghijkl")));
    there = "abcdefghijkl";
  }
  SECTION("between two of them") {
    s.send(data(bytes(5, "fghi"), bytes(2, "cd")));
    there = "abcdefghij";
  }
  SECTION("within it") {
    s.send(data(bytes(5, "f"), bytes(2, "cd")));
    there = "abcdef";
  }
  s.expect(ack());
  CHECK(s.read(a).empty());
  s.send(data(bytes(0, "ab")));
  s.expect(ack());
  CHECK(s.read(a) == there);
  s.send(data(bytes(4, "efghijkl")));
  s.expect(ack());
  CHECK(there + s.read(a) == "abcdefghijkl");
  CHECK(s.host().holdings().out_of_order == 0);
}

TEST_CASE("A stream in records of one byte, all in one packet", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  packet p = data();
  const std::string all = text(60);
  for (std::size_t i = 0; i < all.size(); ++i) p.records.push_back(bytes(i, all.substr(i, 1)));
  s.send(p);
  s.expect(ack());
  CHECK(s.read(a) == all);
}

// Each of them takes an mbuf while it waits.
void with_room(settings& v) {
  v.receive_buffer = 64 << 10;
}

TEST_CASE("Records of one byte from the last to the first", "[stream]") {
  script s({.adjust = &with_room});
  app_socket a = s.peer_connects();
  const std::string all = text(100);
  for (std::size_t i = all.size(); i-- > 0;) {
    s.send(data(bytes(i, all.substr(i, 1))));
    s.expect(ack());
  }
  CHECK(s.read(a) == all);
  CHECK(s.value(&counters::records_out_of_order) == all.size() - 1);
  CHECK(s.host().holdings().out_of_order == 0);
}

TEST_CASE("Every second byte, then those between", "[stream]") {
  script s({.adjust = &with_room});
  app_socket a = s.peer_connects();
  const std::string all = text(64);
  packet odd = data(), even = data();
  for (std::size_t i = 0; i < all.size(); ++i)
    (i % 2 == 0 ? even : odd).records.push_back(bytes(i, all.substr(i, 1)));
  s.send(odd);
  s.expect(ack());
  s.send(even);
  s.expect(ack());
  CHECK(s.read(a) == all);
}

TEST_CASE("Bytes behind gaps take as much memory as four windows, and no more", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  std::size_t kept = 0;
  for (; kept < 100 && s.value(&counters::drop_no_memory) == 0; ++kept) {
    s.send(data(bytes(1 + 2 * kept, "x")));
    s.ignore_for(3_us);
  }
  --kept;  // the last one was not
  CHECK(kept > 2);
  CHECK(s.host().holdings().out_of_order <= 4 * 4096);
  // What was not kept is not acknowledged, and its sender sends it again under another number.
  packet again = data();
  for (std::size_t at = 0; at < 2 * kept + 2; ++at)
    again.records.push_back(bytes(at, at % 2 == 1 ? "x" : "."));
  s.send(again);
  s.expect(ack({{static_cast<std::int64_t>(kept) + 2, static_cast<std::int64_t>(kept) + 2}})
               .acking(static_cast<std::int64_t>(kept) + 1));
  const std::string all = s.read(a);
  CHECK(all.size() == 2 * kept + 2);
  CHECK(all.substr(0, 6) == ".x.x.x");
  CHECK(s.host().holdings().out_of_order == 0);
}

TEST_CASE("The same bytes under a new packet number", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  for (int i = 0; i < 3; ++i) {
    s.send(data(bytes(0, "once")));
    s.expect(ack());
  }
  CHECK(s.read(a) == "once");
  CHECK(s.value(&counters::records_duplicate) == 2);
}

TEST_CASE("A record without bytes", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "")));
  s.expect(ack());
  s.send(data(bytes(50, "")));  // not even where it lies matters
  s.expect(ack());
  s.send(data(bytes(0, "x"), bytes(1, ""), bytes(1, "y")));
  s.expect(ack());
  CHECK(s.read(a) == "xy");
}

TEST_CASE("Records of several connections in one packet", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(sync().from_port(7001).of_connection(77'001)));
  s.expect(data(sync_ack().to_port(7001).of_connection(77'001)));
  s.send(ack());
  app_socket b = s.accept();
  s.send(data(bytes(0, "to a"), bytes(0, "to b").from_port(7001), bytes(0, "to c").from_port(7002),
              bytes(4, "!"), bytes(4, "?").from_port(7001)));
  s.expect(ack());
  CHECK(s.read(a) == "to a!");
  CHECK(s.read(b) == "to b?");
  CHECK(s.value(&counters::records_unknown_socket) == 1);
}

TEST_CASE("Small writes of two applications share a packet", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(sync().from_port(7001).of_connection(77'001)));
  s.expect(data(sync_ack().to_port(7001).of_connection(77'001)));
  s.send(ack());
  app_socket b = s.accept();
  script::write(a, "one");
  script::write(b, "two");
  s.expect(data(bytes(0, "one"), bytes(0, "two").to_port(7001)));
  s.send(ack());
}

TEST_CASE("FIN before the bytes", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(fin(6)));
  s.expect(ack());
  CHECK(s.read(a).empty());
  CHECK_FALSE(a.at_end());
  s.send(data(bytes(3, "def")));
  s.expect(ack());
  CHECK_FALSE(a.at_end());
  s.send(data(bytes(0, "abc")));
  s.expect(ack());
  CHECK(s.read(a) == "abcdef");
  CHECK(a.at_end());
}

TEST_CASE("Bytes beyond the end", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "abc"), fin(3)));
  s.expect(ack());
  SECTION("are a mistake") {
    s.send(data(bytes(3, "d")));
    s.expect(data(reset(reset_reason::protocol_error)));
    s.send(ack());
    CHECK(s.value(&counters::protocol_errors) == 1);
  }
  SECTION("those before it that come again are none") {
    s.send(data(bytes(1, "bc")));
    s.expect(ack());
    CHECK(s.read(a) == "abc");
    CHECK(a.at_end());
    CHECK_FALSE(a.failed());
  }
}

TEST_CASE("A second FIN", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(fin(10)));
  s.expect(ack());
  SECTION("with the same offset") {
    s.send(data(fin(10)));
    s.expect(ack());
    CHECK_FALSE(a.failed());
  }
  SECTION("with another one") {
    s.send(data(fin(11)));
    s.expect(data(reset(reset_reason::protocol_error)));
    s.send(ack());
    CHECK(a.error() == errc::protocol_error);
  }
}

TEST_CASE("A FIN that cannot be", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  SECTION("below what was received in order") {
    s.send(data(bytes(0, "abc"), fin(2)));
  }
  SECTION("below what was received out of order") {
    s.send(data(bytes(5, "f"), fin(5)));
  }
  SECTION("beyond the grant") {
    s.send(data(fin(s.host_grant + 1)));
  }
  SECTION("too short") {
    s.send(data(fin(0).shorter_by(1)));
  }
  s.expect(data(reset(reset_reason::protocol_error)));
  s.send(ack());
  CHECK(a.error() == errc::protocol_error);
}

TEST_CASE("A FIN at the very end of the grant", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(fin(s.host_grant)));
  s.expect(ack());
  CHECK_FALSE(a.failed());
}

TEST_CASE("Half closed by the peer: we go on", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "question"), fin(8)));
  s.expect(ack());
  CHECK(s.read(a) == "question");
  CHECK(a.at_end());
  s.after(200_ms);
  script::write(a, "answer");
  s.expect(data(bytes(0, "answer")));
  s.send(ack());
  a.shut_down_send();
  s.expect(data(fin(6)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("Half closed by us: the peer goes on", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "question");
  a.shut_down_send();
  s.expect(data(bytes(0, "question"), fin(8)));
  s.send(ack());
  s.after(200_ms);
  s.send(data(bytes(0, "answer")));
  s.expect(ack());
  CHECK(s.read(a) == "answer");
  s.send(data(fin(6)));
  s.expect(ack());
  s.read(a);
  CHECK(a.at_end());
}

TEST_CASE("Both ends close at once", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  a.shut_down_send();
  s.expect(data(fin(0)));
  SECTION("the FIN comes before the acknowledgement") {
    s.end().held = 1;
    s.send(data(fin(0)));
    s.expect(ack());
    s.end().held.reset();
    s.send(ack());
  }
  SECTION("the FIN carries the acknowledgement") {
    s.send(data(fin(0)));
    s.expect(ack());
  }
  CHECK(s.read(a).empty());
  CHECK(a.at_end());
  CHECK_FALSE(a.failed());
  a.close();
  s.expect_nothing();
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("Our FIN arrives, bytes before it do not", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "lost");
  s.expect(data(bytes(0, "lost")));
  a.close();
  s.expect(data(fin(4)));
  s.send(ack({{2, 2}}).acking(1));
  // 9/8 of nothing is 50 us.
  s.expect_within(duration::microseconds(70), data(bytes(0, "lost")));
  CHECK_FALSE(s.host().drained());
  s.send(ack());
  CHECK_FALSE(s.host().drained());  // the peer's FIN is still to come
  s.send(data(fin(0)));
  s.expect(ack());
  CHECK(s.host().drained());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("FIN is not sent before all bytes were", "[stream]") {
  script s;
  s.grant = 4;
  app_socket a = s.peer_connects();
  script::write(a, "abcdefgh");
  a.shut_down_send();
  s.expect(data(bytes(0, "abcd")));
  s.send(ack());
  s.expect_nothing(500_us);
  s.send(data(credit(8)));
  s.expect(data(bytes(4, "efgh"), fin(8)));
  s.send(ack());
}

TEST_CASE("A lost FIN is sent again", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  a.shut_down_send();
  s.expect(data(fin(0)));
  s.expect_within(1_ms, ping());
  s.send(ack({{2, 2}}).acking(1));
  s.expect_within(duration::microseconds(70), data(fin(0)));
  s.send(ack());
}

TEST_CASE("Bytes for a connection that nobody has", "[stream]") {
  script s;
  s.peer_opens();
  s.send(data(bytes(0, "lost"), fin(4), credit(9), notification().shorter_by(16),
              reset(reset_reason::aborted)));
  s.expect(ack());  // acknowledged, and not answered
  CHECK(s.value(&counters::records_unknown_socket) == 5);
}

TEST_CASE("The application closes with bytes unread", "[stream]") {
  script s;
  {
    app_socket a = s.peer_connects();
    s.send(data(bytes(0, "nobody reads this")));
    s.expect(ack());
  }
  s.expect(data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("Bytes come to an application that has closed", "[stream]") {
  script s;
  { app_socket a = s.peer_connects(); }
  s.expect(data(fin(0)));
  s.send(ack());
  s.send(data(bytes(0, "too late")));
  s.expect(data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("Bytes come to an application that only writes", "[stream]") {
  script s;
  app_socket a = s.peer_connects();
  test::post_to(s.host(), a.link(), core::request_shutdown_receive);
  s.expect_nothing();
  s.send(data(bytes(0, "unwanted")));
  s.expect(data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(a.error() == errc::connection_aborted);
}

TEST_CASE("A closed connection waits ten seconds for the peer's FIN", "[stream]") {
  script s;
  { app_socket a = s.peer_connects(); }
  s.expect(data(fin(0)));
  s.send(ack());
  s.expect_after(10_s, data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

}  // namespace
}  // namespace nd::script
