// SYNC, SYNC_ACK and RESET: how connections begin, and how they do not.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("A SYNC to a port where nobody listens is refused", "[connect]") {
  script s;
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(reset(reset_reason::refused)));
  s.send(ack());
  CHECK(s.value(&counters::connections_refused) == 1);
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("A full backlog refuses, and takes others when somebody was accepted", "[connect]") {
  script s;
  s.listen(80, 2);
  s.peer_opens();
  const auto come = [&](std::uint16_t n) {
    s.current = {static_cast<std::uint16_t>(7000 + n), 80, 77'000U + n};
    s.send(data(sync()));
  };
  for (const std::uint16_t n : {std::uint16_t{1}, std::uint16_t{2}}) {
    come(n);
    s.expect(data(sync_ack()));
  }
  come(3);
  s.expect(data(reset(reset_reason::refused)));
  app_socket a = s.accept();
  come(4);
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket b = s.accept(), c = s.accept();
}

TEST_CASE("A SYNC that comes again is one connection", "[connect]") {
  script s;
  s.listen();
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(data(sync()));
  s.expect(ack());
  s.send(data(sync(), sync()));
  s.expect(ack());
  CHECK(s.value(&counters::connections_accepted) == 1);
  app_socket a = s.accept();
}

TEST_CASE("A SYNC that was refused is refused once", "[connect]") {
  script s;
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(reset(reset_reason::refused)));
  s.send(data(sync()));  // its RESET is on the way, and repeats itself
  s.expect(ack());
  s.listen();
  s.send(data(sync()));
  s.expect(ack());
  CHECK(s.value(&counters::connections_accepted) == 0);
}

TEST_CASE("A SYNC for the same ports with another id: the old connection was forgotten",
          "[connect]") {
  script s;
  app_socket old = s.peer_connects();
  s.send(data(bytes(0, "old")));
  s.expect(ack());
  s.current.connection += 1;
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  CHECK(old.error() == errc::connection_reset);
  CHECK(s.read(old) == "old");
  app_socket fresh = s.accept();
  s.send(data(bytes(0, "new")));
  s.expect(ack());
  CHECK(s.read(fresh) == "new");
}

TEST_CASE("A SYNC that comes again after its connection has ended opens nothing", "[connect]") {
  script s;
  {
    app_socket a = s.peer_connects();
    s.send(data(fin(0)));
    s.expect(ack());
    CHECK(s.read(a).empty());
    CHECK(a.at_end());
  }
  s.expect(data(fin(0)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
  s.send(data(sync()));
  s.expect(ack());
  CHECK(s.value(&counters::connections_accepted) == 1);
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("Ids of connections are remembered for 8192 of them", "[connect]") {
  script s;
  s.listen(80, 4);
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket first = s.accept();
  const std::uint64_t id = s.current.connection;
  s.current = {7001, 80, id + 8191};
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket second = s.accept();
  s.current = {7002, 80, id};  // it would be another connection, if it were not the first again
  s.send(data(sync()));
  s.expect(ack());
  CHECK(s.value(&counters::connections_accepted) == 2);
}

TEST_CASE("Ids may start anywhere", "[connect]") {
  const auto id = GENERATE(std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4095},
                           std::uint64_t{1} << 32, (std::uint64_t{1} << 63) + 5);
  CAPTURE(id);
  script s;
  s.current.connection = id;
  app_socket a = s.peer_connects();
  CHECK(a);
}

TEST_CASE("A SYNC with a body that cannot be is skipped, not its neighbours", "[connect]") {
  script s;
  s.listen();
  s.peer_opens();
  s.send(data(sync().shorter_by(1), sync().of_class(2), sync().from_port(7005)));
  s.expect(data(sync_ack().to_port(7005)));
  s.send(ack());
  CHECK(s.value(&counters::protocol_errors) == 2);
  CHECK(s.value(&counters::connections_accepted) == 1);
  app_socket a = s.accept();
}

TEST_CASE("SYNC and the first bytes in one packet", "[connect]") {
  script s;
  s.listen();
  s.peer_opens();
  s.send(data(sync(), bytes(0, "no need "), bytes(8, "to wait")));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket a = s.accept();
  CHECK(s.read(a) == "no need to wait");
}

TEST_CASE("A whole connection in one packet", "[connect]") {
  script s;
  s.listen();
  s.peer_opens();
  s.send(data(sync(), bytes(0, "all of it"), fin(9)));
  s.expect(data(sync_ack()));
  s.send(ack());
  {
    app_socket a = s.accept();
    CHECK(s.read(a) == "all of it");
    CHECK(a.at_end());
  }
  s.expect(data(fin(0)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("DATA overtakes SYNC_ACK", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(data(bytes(0, "early")));
  s.expect(ack());
  CHECK_FALSE(a.connected());
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
  CHECK(s.read(a) == "early");
}

TEST_CASE("Bytes and FIN overtake SYNC_ACK", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(data(fin(3)));
  s.expect(ack());
  s.send(data(bytes(0, "bye")));
  s.expect(ack());
  CHECK_FALSE(a.connected());
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
  CHECK(s.read(a) == "bye");
  CHECK(a.at_end());
  script::write(a, "my answer");
  s.expect(data(bytes(0, "my answer")));
  s.send(ack());
}

TEST_CASE("DATA beyond the first grant, before SYNC_ACK", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(data(bytes(s.host_grant, "x")));
  s.expect(data(reset(reset_reason::protocol_error)));
  s.send(ack());
  CHECK(a.error() == errc::protocol_error);
}

TEST_CASE("A SYNC_ACK for another connection is not ours", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(data(sync_ack().of_connection(s.current.connection + 1)));
  s.expect(ack());
  CHECK_FALSE(a.connected());
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
}

TEST_CASE("SYNC_ACK comes twice", "[connect]") {
  script s;
  app_socket a = s.host_connects();
  s.send(data(sync_ack().with_first_grant(7).granting(7)));
  s.expect(ack());
  CHECK(s.value(&counters::connections_opened) == 1);
  script::write(a, "a grant does not go back");
  s.expect(data(bytes(0, "a grant does not go back")));
  s.send(ack());
}

TEST_CASE("A SYNC_ACK to nobody is answered with RESET", "[connect]") {
  script s;
  s.peer_opens();
  s.send(data(sync_ack()));
  s.expect(data(reset(reset_reason::unknown)));
  s.send(ack());
  CHECK(s.value(&counters::records_unknown_socket) == 1);
  s.send(data(sync_ack().shorter_by(9)));  // whose?
  s.expect(ack());
}

TEST_CASE("NOTIFICATION of a connection that nobody has is answered with RESET", "[connect]") {
  script s;
  s.peer_opens();
  s.send(data(notification().of_connection(99)));
  s.expect(data(reset(reset_reason::unknown).of_connection(99)));
  s.send(ack());
  s.send(data(notification().shorter_by(9)));  // whose?
  s.expect(ack());
}

TEST_CASE("A SYNC_ACK that is too short breaks a rule", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(data(sync_ack().shorter_by(1)));
  s.expect(data(reset(reset_reason::protocol_error)));
  s.send(ack());
  CHECK(a.error() == errc::protocol_error);
}

TEST_CASE("A refusal, whatever its reason", "[connect]") {
  const reset_reason why = GENERATE(reset_reason::refused, reset_reason::aborted,
                                    reset_reason::unknown, static_cast<reset_reason>(200));
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(data(reset(why)));
  s.expect(ack());
  CHECK(a.error() == errc::connection_refused);
  CHECK(s.host().holdings().sockets <= 1);
}

TEST_CASE("A RESET for another connection with our ports", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  record other = reset(reset_reason::refused).of_connection(s.current.connection - 1);
  s.send(data(other));
  s.expect(ack());
  CHECK_FALSE(a.failed());
  s.send(data(sync_ack()));
  s.expect(ack());
  s.send(data(other));
  s.expect(ack());
  CHECK_FALSE(a.failed());
}

TEST_CASE("Nobody answers a SYNC that has arrived", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  s.expect(data(sync()));
  s.send(ack());
  s.expect_after(3_s, data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(a.error() == errc::timed_out);
  s.send(data(sync_ack()));  // too late
  s.expect(data(reset(reset_reason::unknown)));
  s.send(ack());
}

TEST_CASE("A lost SYNC is found by a ping, and sent again", "[connect]") {
  script s;
  app_socket a = s.connect();
  s.host_opens();
  const packet first = s.expect(data(sync()));
  // Before a round trip is known: 20 ms + 4 x 10 ms + max_ack_delay.
  s.expect_after(duration::microseconds(60'100), ping());
  s.send(ack({{1, 1}}).acking(0));
  // The ping took no time, so the packet before it is lost 50 us after it was sent: at once.
  const packet again = s.expect(data(sync()));
  CHECK(*again.number == 2);
  CHECK(*again.records[0].connection == *first.records[0].connection);
  CHECK(s.value(&counters::packets_lost) == 1);
  s.send(data(sync_ack()));
  s.expect(ack());
  CHECK(a.connected());
}

TEST_CASE("Both ends connect to each other's ports at once", "[connect]") {
  script s;
  app_socket a = s.connect(9000);
  s.host_opens();
  s.expect(data(sync()));
  // From 9000 to where our SYNC comes from: nobody listens there.
  const std::uint64_t ours = s.current.connection;
  s.send(data(sync().of_connection(555'000)));
  s.expect(data(reset(reset_reason::refused).of_connection(555'000)));
  s.send(ack());
  CHECK(a.error() == errc::connection_reset);
  // What the peer thinks of ours does not matter any more.
  s.send(data(reset(reset_reason::refused).of_connection(ours)));
  s.expect(ack());
}

TEST_CASE("A listener goes, and with it those that nobody has accepted", "[connect]") {
  script s;
  s.listen();
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  s.stop_listening();
  s.expect(data(reset(reset_reason::aborted)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("The application gives up before SYNC_ACK", "[connect]") {
  script s;
  {
    app_socket a = s.connect();
    s.host_opens();
    s.expect(data(sync()));
  }
  s.expect(data(reset(reset_reason::aborted)));
  s.send(data(sync_ack()));  // it has crossed the RESET
  s.expect(data(reset(reset_reason::unknown)));
  s.send(ack());
  CHECK(s.host().holdings().sockets == 0);
}

TEST_CASE("The class that SYNC names is the connection's, over whichever channel it came",
          "[connect]") {
  script s;
  s.listen();
  s.peer_opens();
  s.send(data(sync().of_class(1)));
  s.end(1).traffic_class = 1;
  // There is no channel of that class yet: the answer opens one. The bytes on the other one are
  // acknowledged there.
  s.expect(init().on_channel(1));
  s.expect(ack());
  s.send(init_ack().on_channel(1));
  s.expect(cookie_echo().on_channel(1));
  s.send(cookie_ack().on_channel(1));
  s.expect(data(sync_ack()).on_channel(1));
  s.send(ack().on_channel(1));
  app_socket a = s.accept();
}

TEST_CASE("A lost RESET repeats itself", "[connect]") {
  script s;
  s.peer_opens();
  s.send(data(sync()));
  s.expect(data(reset(reset_reason::refused)));
  s.expect_after(duration::microseconds(60'100), ping());
  s.send(ack({{1, 1}}).acking(0));
  s.expect(data(reset(reset_reason::refused)));
  s.send(ack());
}

}  // namespace
}  // namespace nd::script
