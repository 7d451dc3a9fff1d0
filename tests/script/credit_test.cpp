// Credit: grants that come, do not come, come late, or go backwards.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("Bytes leave up to the grant and no further", "[credit]") {
  script s;
  s.grant = 5;
  app_socket a = s.peer_connects();
  script::write(a, "hello world");
  s.expect(data(bytes(0, "hello")));
  s.send(ack());
  s.expect_nothing(900_us);
  s.send(data(credit(11)));
  s.expect(data(bytes(5, " world")));
  s.send(ack());
}

TEST_CASE("Who never had credit asks at once, then after 1, 2, 4 ... 64, 100, 100 ms", "[credit]") {
  script s;
  s.grant = 0;
  app_socket a = s.peer_connects();
  script::write(a, "hello");
  s.expect(data(notification().until(5)));
  s.send(ack());
  for (const duration wait : {1_ms, 2_ms, 4_ms, 8_ms, 16_ms, 32_ms, 64_ms, 100_ms, 100_ms}) {
    s.expect_after(wait, data(notification()));
    s.send(ack());
  }
  CHECK(s.value(&counters::credit_probes_sent) == 10);
  s.send(data(credit(5)));
  s.expect(data(bytes(0, "hello")));
  s.send(ack());
  s.expect_nothing(1_s);
}

TEST_CASE("Who had credit asks after 1 ms, and the waits start again each time", "[credit]") {
  script s;
  s.grant = 1;
  app_socket a = s.peer_connects();
  script::write(a, "hello");
  s.expect(data(bytes(0, "h")));
  s.send(ack());
  s.expect_after(1_ms, data(notification().until(5)));
  s.send(ack());
  s.expect_after(2_ms, data(notification()));
  s.send(data(credit(3)));
  s.expect(data(bytes(1, "el")));
  s.send(ack());
  s.expect_after(1_ms, data(notification()));
  s.send(ack());
}

TEST_CASE("A grant that was lost is given again to who asks", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, text(1000))));
  s.expect(ack());
  CHECK(s.read(a) == text(1000));
  // The window has opened by more than 1/16. The peer does not get this.
  const packet lost = s.expect(data(credit(5096)));
  CHECK(*lost.number == 1);
  s.send(data(notification()).acking(1));
  const packet again = s.expect(data(credit(5096)));
  CHECK(*again.number == 2);
  s.send(ack());
}

TEST_CASE("NOTIFICATION is answered though nothing has changed", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  for (int i = 0; i < 3; ++i) {
    s.send(data(notification().until(4096)));
    s.expect(data(credit(s.host_grant)));
    s.send(ack());
  }
  CHECK(s.value(&counters::notifications_received) == 3);
}

TEST_CASE("NOTIFICATION gets what there is, be it less than a step", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, text(100))));
  s.expect(ack());
  s.read(a);
  s.expect_nothing();  // too little to be told
  s.send(data(notification()));
  s.expect(data(credit(4196)));
  s.send(ack());
}

TEST_CASE("NOTIFICATION says up to where, and gets no more than the window", "[credit]") {
  // A first grant is smaller than this window.
  script s({.adjust = [](settings& v) { v.receive_buffer = 20'000; }});
  app_socket a = s.peer_connects();
  REQUIRE(s.host_grant < 10'000);
  s.send(data(notification().until(10'000)));
  s.expect(data(credit(10'000)));
  s.send(data(notification().until(9'000)));
  s.expect(data(credit(10'000)));
  s.send(data(notification().until(1'000'000)));
  s.expect(data(credit(20'000)));
  s.send(ack());
}

TEST_CASE("The window opens in steps of 1000 bytes where 1/16 would be less", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  CHECK(s.host_grant == 4096);
  s.send(data(bytes(0, text(999))));
  s.expect(ack());
  s.read(a);
  s.expect_nothing();
  s.send(data(bytes(999, text(1))));
  s.expect(ack());
  s.read(a);
  s.expect(data(credit(4096 + 1000)));
  s.send(ack());
}

TEST_CASE("A grant rides on bytes that leave anyway", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, text(1000))));
  s.expect(ack());
  std::array<std::byte, 1000> buffer;
  CHECK(a.read(buffer) == 1000);
  script::write(a, "thanks");
  s.expect(data(bytes(0, "thanks").granting(5096)));
  s.send(ack());
  s.expect_nothing(10_ms);
}

TEST_CASE("A grant that goes backwards is an old one", "[credit]") {
  script s;
  s.grant = 10;
  app_socket a = s.peer_connects();
  s.send(data(credit(4)));
  s.expect(ack());
  s.send(data(credit(0)));
  s.expect(ack());
  script::write(a, "0123456789ab");
  s.expect(data(bytes(0, "0123456789")));
  s.send(ack());
  s.send(data(credit(9)));
  s.expect(ack());
  s.send(data(credit(12)));
  s.expect(data(bytes(10, "ab")));
  s.send(ack());
}

TEST_CASE("Any record for the connection carries a grant", "[credit]") {
  const record carrier = GENERATE(bytes(0, "x"), fin(0), notification(), sync_ack(), bytes(0, ""),
                                  make(record_type::reset).of_connection(1));
  script s;
  s.grant = 0;
  app_socket a = s.peer_connects();
  script::write(a, "go");
  s.expect(data(notification()));
  s.send(ack());
  s.send(data(carrier.granting(2)));
  s.expect(data(bytes(0, "go")));
  s.send(ack());
}

TEST_CASE("A grant for another connection helps nobody", "[credit]") {
  script s;
  s.grant = 0;
  app_socket a = s.peer_connects();
  script::write(a, "go");
  s.expect(data(notification()));
  s.send(ack());
  s.send(data(credit(100).from_port(7001), credit(100).to_port(81)));
  s.expect(ack());
  s.expect_after(998_us, data(notification()));
  s.send(ack());
}

TEST_CASE("Who is granted a part waits for the rest while bytes are on their way", "[credit]") {
  script s;
  s.grant = 4;
  app_socket a = s.peer_connects();
  script::write(a, "abcd");
  s.expect(data(bytes(0, "abcd")));
  script::write(a, "efgh");
  // Not "ef": the acknowledgement of "abcd" is to come (RFC 9293, 3.8.6.2).
  s.end().held = 1;
  s.send(data(credit(6)));
  s.expect(ack());
  s.end().held.reset();
  s.send(ack());
  s.expect(data(bytes(4, "ef")));
  s.send(data(credit(8)));
  s.expect(data(bytes(6, "gh")));
  s.send(ack());
}

TEST_CASE("Bytes beyond the grant", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  SECTION("the last byte of the grant is fine") {
    s.send(data(bytes(s.host_grant - 1, "x")));
    s.expect(ack());
    CHECK_FALSE(a.failed());
  }
  SECTION("the next one is a mistake") {
    s.send(data(bytes(s.host_grant, "x")));
    s.expect(data(reset(reset_reason::protocol_error)));
    s.send(ack());
    CHECK(a.error() == errc::protocol_error);
  }
  SECTION("so is a record that only ends there") {
    s.send(data(bytes(s.host_grant - 1, "xy")));
    s.expect(data(reset(reset_reason::protocol_error)));
    s.send(ack());
    CHECK(a.error() == errc::protocol_error);
    CHECK(s.read(a).empty());
  }
}

TEST_CASE("Who does not read is sent no more than was granted", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  for (std::uint64_t at = 0; at < 4096; at += 1024) {
    s.send(data(bytes(at, text(1024, at))));
    s.expect(ack());
  }
  s.expect_nothing(1_s);
  CHECK(s.host().holdings().credit == 4096);
  CHECK(s.read(a) == text(4096));
  // The last mbuf comes when the others have been read.
  s.expect(data(credit(3072 + 4096)));
  s.expect(data(credit(8192)));
  s.send(ack());
  CHECK(s.host().holdings().credit == 4096);
}

TEST_CASE("What was granted beyond a FIN is given back", "[credit]") {
  script s;
  app_socket a = s.peer_connects();
  CHECK(s.host().holdings().credit == 4096);
  s.send(data(fin(96)));
  s.expect(ack());
  CHECK(s.host().holdings().credit == 96);
  s.send(data(bytes(0, text(96))));
  s.expect(ack());
  s.read(a);
  CHECK(s.host().holdings().credit == 0);
  s.send(data(notification()));
  s.expect(data(credit(4096)));  // a grant is never taken back
  s.send(ack());
}

TEST_CASE("NOTIFICATION is lost", "[credit]") {
  script s;
  s.grant = 0;
  app_socket a = s.peer_connects();
  script::write(a, "go");
  s.expect(data(notification()));
  s.expect_within(1_ms, ping());
  s.send(ack({{2, 2}}).acking(1));
  s.expect_within(1_ms, data(notification()));
  s.send(data(credit(2)));
  s.expect(data(bytes(0, "go")));
  s.send(ack());
}

TEST_CASE("A NOTIFICATION that is lost when credit has come is not sent again", "[credit]") {
  script s;
  s.grant = 0;
  app_socket a = s.peer_connects();
  script::write(a, "go");
  s.expect(data(notification()));
  s.send(data(credit(2)).acking(1));
  s.expect(data(bytes(0, "go")));
  s.send(ack({{2, 2}}).acking(1));
  s.expect_nothing(10_ms);
  CHECK(s.value(&counters::packets_lost) == 1);
}

}  // namespace
}  // namespace nd::script
