// The language itself: an expectation that does not hold is reported, with what differs.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

/// A script whose first failure is kept instead of told.
struct failing {
  std::string report;
  script s;

  explicit failing(script_options o = {}) : s(with(std::move(o), report)) {}
  bool says(const std::string& what) const { return report.find(what) != std::string::npos; }

 private:
  static script_options with(script_options o, std::string& report) {
    o.on_failure = [&report](const std::string& text) { report = text; };
    return o;
  }
};

TEST_CASE("A wrong expectation is told with what differs, and the ladder so far", "[self]") {
  failing f;
  f.s.send(init());
  SECTION("kind") {
    f.s.expect(cookie_ack());
    CHECK(f.says("kind: expected COOKIE_ACK, got INIT_ACK"));
  }
  SECTION("a field that is stated") {
    f.s.expect(init_ack().with_mtu(1499));
    CHECK(f.says("mtu: expected 1499, got 1500"));
  }
  SECTION("a field that goes without saying") {
    f.s.end().tag += 1;
    f.s.expect(init_ack());
    CHECK(f.says("tag: expected"));
  }
  CHECK(f.says("peer --> INIT epoch=50000 id=7"));
  CHECK(f.s.failed());
}

TEST_CASE("Fields of records are compared", "[self]") {
  failing f;
  app_socket a = f.s.peer_connects();
  script::write(a, "hello");
  SECTION("bytes") {
    f.s.expect(data(bytes(0, "jello")));
    CHECK(f.says("bytes: expected 'jello', got 'hello'"));
  }
  SECTION("length") {
    f.s.expect(data(bytes(0, "hell")));
    CHECK(f.says("length: expected 4, got 5"));
  }
  SECTION("offset") {
    f.s.expect(data(bytes(1, "hello")));
    CHECK(f.says("seq: expected 1, got 0"));
  }
  SECTION("ports") {
    f.s.expect(data(bytes(0, "hello").to_port(1)));
    CHECK(f.says("dest: expected 1, got 7000"));
  }
  SECTION("type") {
    f.s.expect(data(fin(0)));
    CHECK(f.says("record 0: expected FIN, got DATA"));
  }
  SECTION("how many") {
    f.s.expect(data(bytes(0, "hello"), fin(5)));
    CHECK(f.says("records: expected 2, got 1"));
  }
  SECTION("grant") {
    f.s.expect(data(bytes(0, "hello").granting(1)));
    CHECK(f.says("grant: expected 1, got 4096"));
  }
  SECTION("the packet's number") {
    f.s.end().seen = 5;
    f.s.expect(data(bytes(0, "hello")));
    CHECK(f.says("number: expected 5, got 1"));
  }
  f.s.end().seen = 2;
  f.s.send(ack());
}

TEST_CASE("What does not come is told", "[self]") {
  failing f;
  f.s.peer_opens();
  f.s.expect(ack());
  CHECK(f.says("expected: ACK"));
  CHECK(f.says("got:      nothing"));
}

TEST_CASE("What comes unexpected is told", "[self]") {
  failing f;
  f.s.peer_opens();
  f.s.send(ping());
  SECTION("where silence was wanted") {
    f.s.expect_nothing(10_us);
    CHECK(f.says("silence for 10000 ns"));
    CHECK(f.says("got:      ACK ack=1"));
  }
  SECTION("while time was to pass") {
    f.s.after(10_us);
    CHECK(f.says("got:      ACK ack=1"));
  }
}

TEST_CASE("A frame that nobody asked for is told at the end", "[self]") {
  std::string report;
  {
    script s({.on_failure = [&](const std::string& text) { report = text; }});
    s.send(init());
    s.send(ack().tagged(3));  // the turn in which this comes is the one in which the answer leaves
  }
  CHECK(report.find("the end of the script") != std::string::npos);
  CHECK(report.find("got:      INIT_ACK") != std::string::npos);
}

TEST_CASE("Too early and too late are told", "[self]") {
  failing f({.adjust = [](settings& v) { v.ack_hold = 100_us; }});
  f.s.peer_opens();
  f.s.send(ping());
  SECTION("early") {
    f.s.expect_after(110_us, ack());
    CHECK(f.says("it left 10000 ns too early"));
  }
  SECTION("late") {
    f.s.expect_after(80_us, ack());
    CHECK(f.says("got:      nothing"));
  }
}

TEST_CASE("A drop for another reason, and none, are told", "[self]") {
  failing f;
  f.s.peer_opens();
  SECTION("another reason") {
    f.s.send_in_vain(ping().numbered(9000), &counters::drop_duplicate);
    CHECK(f.says("not for this reason"));
  }
  SECTION("none") {
    f.s.send_in_vain(ack(), &counters::drop_duplicate);
    CHECK(f.says("it was not dropped"));
  }
}

TEST_CASE("A frame with a wrong checksum is not understood", "[self]") {
  const bool udp = GENERATE(false, true);
  const way w{{.ip = test::made_ip(0), .mac = test::made_mac(0), .udp = udp},
              {.ip = test::made_ip(1), .mac = test::made_mac(1), .udp = udp}};
  const std::vector<std::byte> right = encode(data(bytes(0, "x")), w, {}, true);
  REQUIRE(decode(right, w, true));
  for (std::size_t i = sizeof(wire::ethernet_header); i < right.size(); ++i) {
    std::vector<std::byte> wrong = right;
    wrong[i] ^= std::byte{4};
    CHECK_FALSE(decode(wrong, w, true));
  }
}

TEST_CASE("What is written is read back", "[self]") {
  const bool udp = GENERATE(false, true);
  const core::host_address from{.ip = test::made_ip(0), .mac = test::made_mac(0), .udp = udp};
  core::host_address to = from;
  to.ip = test::made_ip(1);
  to.mac = test::made_mac(1);
  const number_base base{.mine = 0xfffffffe, .theirs = 0xfffffff0};
  packet p = data(sync().of_connection(5).with_first_grant(6).of_class(1),
                  sync_ack().of_connection(7).with_first_grant(8), bytes(9, "text"), fin(10),
                  reset(reset_reason::unknown).of_connection(11), credit(12), notification(),
                  ack_ranges({{30, 31}, {20, 20}}));
  for (record& r : p.records) r = r.from_port(1).to_port(2);
  p = p.numbered(5).acking(19).with_floor(-2).with_ce_bytes(77).delayed(3).to_channel(4).tagged(5);
  auto got = decode(encode(p, {from, to}, base, true), {from, to}, true);
  REQUIRE(got);
  rebase(*got, base);
  CHECK(differences(p, *got).empty());
  p.records[4].connection = 12;
  p.ack = 18;
  CHECK(differences(p, *got).size() == 2);
}

}  // namespace
}  // namespace nd::script
