// RESET in every state of a connection.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("RESET of an open connection", "[reset]") {
  const bool mistake = GENERATE(false, true);
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "read me")));
  s.expect(ack());
  s.send(data(reset(mistake ? reset_reason::protocol_error : reset_reason::aborted)));
  s.expect(ack());
  CHECK(a.error() == (mistake ? errc::protocol_error : errc::connection_reset));
  CHECK(s.read(a) == "read me");
  CHECK_FALSE(a.at_end());
  s.expect_nothing(10_ms);  // it is never answered
}

TEST_CASE("RESET with a reason of a later version", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(reset(static_cast<reset_reason>(99))));
  s.expect(ack());
  CHECK(a.error() == errc::connection_reset);
}

TEST_CASE("RESET while our bytes and our FIN are on the way", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "unread");
  a.shut_down_send();
  s.expect(data(bytes(0, "unread"), fin(6)));
  s.end().held = 1;
  s.send(data(reset(reset_reason::aborted)));
  s.expect(ack());
  CHECK(a.error() == errc::connection_reset);
  s.end().held.reset();
  s.send(ack());
  s.expect_nothing(10_ms);
}

TEST_CASE("Bytes of a connection that was reset are not sent again when they are lost", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "lost for good");
  s.expect(data(bytes(0, "lost for good")));
  s.send(data(reset(reset_reason::aborted)).acking(1));
  s.expect(ack());
  // The channel still asks what became of its packet.
  s.expect_within(1_ms, ping());
  s.send(ack({{2, 2}}).acking(1));
  s.expect_nothing(10_ms);
  CHECK(s.value(&counters::packets_lost) == 1);
}

TEST_CASE("RESET when our FIN has arrived", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  a.shut_down_send();
  s.expect(data(fin(0)));
  s.send(ack());
  s.send(data(reset(reset_reason::aborted)));
  s.expect(ack());
  CHECK(a.error() == errc::connection_reset);
}

TEST_CASE("RESET behind the peer's FIN", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "the end"), fin(7)));
  s.expect(ack());
  SECTION("aborted: the other direction fails") {
    s.send(data(reset(reset_reason::aborted)));
    s.expect(ack());
    CHECK(a.error() == errc::connection_reset);
  }
  SECTION("unknown: it is over there, that is all") {
    s.send(data(reset(reset_reason::unknown)));
    s.expect(ack());
    CHECK_FALSE(a.failed());
  }
  CHECK(s.read(a) == "the end");
  CHECK(a.at_end());
}

TEST_CASE("RESET(unknown) before the peer's FIN", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(reset(reset_reason::unknown)));
  s.expect(ack());
  CHECK(a.error() == errc::connection_reset);
}

TEST_CASE("RESET when both FINs are on the way, or ours is all that is missing", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  SECTION("ours first") {
    a.shut_down_send();
    s.expect(data(fin(0)));
    s.end().held = 1;
    s.send(data(fin(0)));
    s.expect(ack());
  }
  SECTION("the peer's first") {
    s.send(data(fin(0)));
    s.expect(ack());
    a.shut_down_send();
    s.expect(data(fin(0)));
    s.end().held = 1;
  }
  s.send(data(reset(reset_reason::aborted)));
  s.expect(ack());
  CHECK(a.error() == errc::connection_reset);
  s.end().held.reset();
  s.send(ack());
}

TEST_CASE("RESET to a closed application's connection", "[reset]") {
  script s;
  { app_socket a = s.peer_connects(); }
  s.expect(data(fin(0)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 1);
  s.send(data(reset(reset_reason::aborted)));
  s.expect(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("RESET twice", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(reset(reset_reason::aborted), reset(reset_reason::protocol_error)));
  s.expect(ack());
  CHECK(a.error() == errc::connection_reset);
  CHECK(s.value(&counters::connections_reset) == 1);
}

TEST_CASE("Bytes behind a RESET in the same packet", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "yes"), reset(reset_reason::aborted), bytes(3, "no")));
  s.expect(ack());
  CHECK(s.read(a) == "yes");
  CHECK(a.error() == errc::connection_reset);
}

TEST_CASE("RESET that is too short breaks a rule", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(reset(reset_reason::aborted).shorter_by(1)));
  s.expect(data(reset(reset_reason::protocol_error)));
  s.send(ack());
  CHECK(a.error() == errc::protocol_error);
}

TEST_CASE("RESET for a connection that had these ports before", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(reset(reset_reason::aborted).of_connection(s.current.connection - 1)));
  s.expect(ack());
  CHECK_FALSE(a.failed());
}

TEST_CASE("The application resets", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "never mind");
  a.abort();
  s.expect(data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
  s.send(data(bytes(0, "what?")));
  s.expect(ack());
}

TEST_CASE("One protocol error ends one connection, not its neighbours", "[reset]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(sync().from_port(7001).of_connection(77'001)));
  s.expect(data(sync_ack().to_port(7001).of_connection(77'001)));
  s.send(ack());
  app_socket b = s.accept();
  s.send(data(bytes(0, "good"), bytes(1'000'000, "bad").from_port(7001), bytes(4, " still")));
  s.expect(data(reset(reset_reason::protocol_error).to_port(7001).of_connection(77'001)));
  s.send(ack());
  CHECK(s.read(a) == "good still");
  CHECK(b.error() == errc::protocol_error);
  CHECK_FALSE(a.failed());
}

}  // namespace
}  // namespace nd::script
