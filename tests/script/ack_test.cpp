// Packet numbers and what acknowledges them.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

constexpr std::int64_t window = 8192;

TEST_CASE("An acknowledgement waits ack_hold for a packet that leaves anyway", "[ack]") {
  script s({.adjust = [](settings& v) { v.ack_hold = 50_us; }});
  app_socket a = s.peer_connects();
  SECTION("and leaves alone when there is none") {
    s.send(ping());
    s.expect_after(50_us, ack());
  }
  SECTION("the hold is the first one's") {
    s.send(ping());
    s.after(30_us);
    s.send(ping());
    s.expect_after(20_us, ack().acking(3));
    s.expect_nothing(100_us);
  }
  SECTION("and goes with the application's answer") {
    s.send(data(bytes(0, "?")));
    s.after(30_us);
    CHECK(s.read(a) == "?");
    script::write(a, "!");
    s.expect(data(bytes(0, "!")).acking(2));
    s.send(ack());
    s.expect_nothing(1_ms);
  }
}

TEST_CASE("The hold is never longer than max_ack_delay", "[ack]") {
  script s({.adjust = [](settings& v) {
    v.ack_hold = 10_ms;
    v.max_ack_delay = 300_us;
  }});
  s.peer_opens();
  s.send(ping());
  s.expect_after(300_us, ack());
}

TEST_CASE("An acknowledgement says how long it waited", "[ack]") {
  script s({.adjust = [](settings& v) { v.ack_hold = duration::nanoseconds(51'200); }});
  s.peer_opens();
  s.send(ping());
  const packet p = s.expect_after(duration::nanoseconds(51'200), ack());
  // In units of 256 ns, a turn of the loop or a tick of the timers late at most.
  CHECK(*p.ack_delay >= 200);
  CHECK(*p.ack_delay <= 200 + script::slack.ns() / 256);
}

TEST_CASE("Acknowledgements are not acknowledged", "[ack]") {
  script s;
  s.peer_opens();
  for (int i = 0; i < 10; ++i) s.send(ack());
  s.expect_nothing(10_ms);
  CHECK(s.value(&counters::acks_received) == 10);
}

TEST_CASE("A gap is reported at once", "[ack]") {
  script s({.adjust = [](settings& v) { v.ack_hold = 100_us; }});
  s.peer_opens();
  s.send(ping().numbered(1));
  s.expect(ack({{1, 1}}).acking(0));
  s.send(ping().numbered(3));
  s.expect(ack({{3, 3}, {1, 1}}).acking(0));
  s.send(ping().numbered(0));
  s.expect(ack({{3, 3}}).acking(2));
  s.send(ping().numbered(2));
  s.expect_after(100_us, ack().acking(4));
}

TEST_CASE("At most 32 ranges are listed, the highest", "[ack]") {
  script s;
  s.peer_opens();
  std::vector<range> expected;
  for (std::int64_t n = 1; n <= 80; n += 2) {
    s.send(ping().numbered(n));
    expected.insert(expected.begin(), {n, n});
    if (expected.size() > 32) expected.pop_back();
    s.expect(ack(expected).acking(0));
  }
  CHECK(expected.size() == 32);
  CHECK(expected.back() == range{17, 17});
}

TEST_CASE("Bytes that leave take the ranges along where there is room", "[ack]") {
  script s({.adjust = [](settings& v) { v.ack_hold = 100_us; }});
  app_socket a = s.peer_connects();
  s.send(ping().numbered(3));
  script::write(a, "two records are gathered");
  a.shut_down_send();
  s.expect(data(ack_ranges({{3, 3}}), bytes(0, "two records are gathered"), fin(24)).acking(1));
  s.send(ack());
  s.expect_nothing(1_ms);
}

TEST_CASE("A record that leaves where it lies has no room for ranges", "[ack]") {
  script s({.adjust = [](settings& v) { v.ack_hold = 100_us; }});
  app_socket a = s.peer_connects();
  s.send(ping().numbered(3));
  script::write(a, "alone");
  s.expect(data(bytes(0, "alone")).acking(1));
  s.expect(ack({{3, 3}}).acking(1));
  s.send(ack());
}

TEST_CASE("A number comes twice", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  const packet once = data(bytes(0, "once")).numbered(1);
  s.send(once);
  s.expect(ack().acking(2));
  s.send_in_vain(once, &counters::drop_duplicate);
  SECTION("with other contents") {
    s.send_in_vain(data(bytes(4, " more")).numbered(1), &counters::drop_duplicate);
    s.expect_nothing();
    CHECK(s.read(a) == "once");
  }
  SECTION("it is not acknowledged for itself, but its acknowledgement counts") {
    script::write(a, "x");
    s.expect(data(bytes(0, "x")));
    s.send_in_vain(once.acking(2), &counters::drop_duplicate);
    s.expect_nothing(10_ms);
    CHECK(a.unacknowledged() == 0);
  }
}

TEST_CASE("A number beyond what can be remembered", "[ack]") {
  script s;
  s.peer_opens();
  s.send_in_vain(ping().numbered(window), &counters::drop_beyond_window);
  s.expect_nothing();
  s.send(ping().numbered(window - 1));
  s.expect(ack({{window - 1, window - 1}}).acking(0));
  s.send(ping().numbered(0));
  s.expect(ack({{window - 1, window - 1}}).acking(1));
  s.send(ping().numbered(window));  // the window has moved by one
  s.expect(ack({{window - 1, window}}).acking(1));
}

TEST_CASE("A number just before the first one", "[ack]") {
  script s;
  s.peer_opens();
  s.send_in_vain(ping().numbered(-1), &counters::drop_duplicate);
  s.send_in_vain(ping().numbered(-5000), &counters::drop_duplicate);
  s.expect_nothing();
}

TEST_CASE("What the sender has given up is not missed", "[ack]") {
  script s;
  s.peer_opens();
  s.send(ping().numbered(4));
  s.expect(ack({{4, 4}}).acking(0));
  s.send(ping().numbered(6).with_floor(4));
  s.expect(ack({{6, 6}}).acking(5));
  s.send(ping().numbered(8).with_floor(8));
  s.expect(ack().acking(9));
  s.send_in_vain(ping().numbered(5), &counters::drop_duplicate);
}

TEST_CASE("A floor that goes backwards changes nothing", "[ack]") {
  script s;
  s.peer_opens();
  s.send(ping().numbered(4).with_floor(4));
  s.expect(ack().acking(5));
  s.send(ping().numbered(5).with_floor(2));
  s.expect(ack().acking(6));
  s.send_in_vain(ping().numbered(3).with_floor(0), &counters::drop_duplicate);
  s.expect_nothing();
}

TEST_CASE("A floor above its own packet's number counts up to it", "[ack]") {
  script s;
  s.peer_opens();
  s.send(ping().numbered(2).with_floor(1000));
  s.expect(ack().acking(3));
  s.send(ping().numbered(4).with_floor(3));
  s.expect(ack({{4, 4}}).acking(3));
}

TEST_CASE("A floor moves the window far ahead", "[ack]") {
  script s;
  s.peer_opens();
  s.send(ping().numbered(3));
  s.expect(ack({{3, 3}}).acking(0));
  s.send(ping().numbered(3 * window).with_floor(3 * window));
  s.expect(ack().acking(3 * window + 1));
  s.send_in_vain(ping().numbered(3 * window - 1), &counters::drop_duplicate);
}

TEST_CASE("The floor in a packet that is not numbered is not read", "[ack]") {
  script s;
  s.peer_opens();
  s.send(ack().with_floor(100));
  s.send(ping().numbered(0));
  s.expect(ack().acking(1));
}

TEST_CASE("An ACK of what was never sent", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "x");
  s.expect(data(bytes(0, "x")));
  s.send_in_vain(ack().acking(3), &counters::drop_bad_ack);
  s.send_in_vain(ack().acking(1'000'000), &counters::drop_bad_ack);
  s.send_in_vain(ack({{2, 2}}).acking(1), &counters::drop_bad_ack);
  s.send_in_vain(ack({{1, 2}}).acking(1), &counters::drop_bad_ack);
  s.send_in_vain(ack({{1, 0}}).acking(1), &counters::drop_bad_ack);
  // Nothing of the packet counts.
  s.send_in_vain(data(bytes(0, "y")).acking(3), &counters::drop_bad_ack);
  s.send_in_vain(close().acking(3), &counters::drop_bad_ack);
  s.expect_nothing();
  CHECK(a.unacknowledged() == 1);
  CHECK(s.read(a).empty());
  CHECK_FALSE(a.failed());
  s.send(ack());
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("One range that cannot be spoils those beside it", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "x");
  s.expect(data(bytes(0, "x")));
  s.send_in_vain(ack({{1, 1}, {5, 5}}).acking(1), &counters::drop_bad_ack);
  CHECK(a.unacknowledged() == 1);
  s.send(ack());
}

TEST_CASE("Ranges that overlap, repeat each other, or lie below the rest", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  for (std::uint64_t i = 0; i < 4; ++i) {
    script::write(a, "x");
    s.expect(data(bytes(i, "x")));
  }
  s.send(ack({{1, 3}, {2, 4}, {2, 2}, {4, 4}, {-3, 0}, {0, 4}}).acking(1));
  CHECK(s.value(&counters::acks_received) == 2);
  CHECK(a.unacknowledged() == 0);
  s.expect_nothing(10_ms);
}

TEST_CASE("Two records of ranges in one packet", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  for (std::uint64_t i = 0; i < 3; ++i) {
    script::write(a, "x");
    s.expect(data(bytes(i, "x")));
  }
  packet two = ack({{3, 3}}).acking(1);
  two.records.push_back(ack_ranges({{1, 2}}));
  s.send(two);
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("32 ranges are read, and no more", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "x");
  s.expect(data(bytes(0, "x")));
  std::vector<range> ranges(32, {0, 0});
  ranges.push_back({1, 1});
  s.send(ack(ranges).acking(1));
  CHECK(a.unacknowledged() == 1);
  ranges.erase(ranges.begin());
  s.send(ack(ranges).acking(1));
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("Half a range, and none", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "x");
  s.expect(data(bytes(0, "x")));
  s.send(ack({}).acking(1));
  packet half = ack().acking(1);
  half.records = {ack_ranges({{1, 1}, {7, 7}}).shorter_by(4)};
  s.send(half);
  CHECK(s.value(&counters::drop_bad_ack) == 0);
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("An acknowledgement that an older one overtakes", "[ack]") {
  script s;
  app_socket a = s.peer_connects();
  script::write(a, "x");
  s.expect(data(bytes(0, "x")));
  script::write(a, "y");
  s.expect(data(bytes(1, "y")));
  s.send(ack().acking(3));
  s.send(ack().acking(2));
  s.send(ack({{2, 2}}).acking(1));
  s.send(ack().acking(0));
  CHECK(a.unacknowledged() == 0);
  s.expect_nothing(10_ms);
  CHECK(s.value(&counters::packets_lost) == 0);
}

TEST_CASE("Numbers pass 2^32 in both directions", "[ack][wrap]") {
  script s({.configure = [](core::host_config& c) { c.first_number = 0xfffffffe; }});
  s.end().first = 0xfffffffd;
  app_socket a = s.peer_connects();  // 0xfffffffe and 0xfffffffd
  for (std::uint64_t i = 0; i < 6; ++i) {
    s.send(data(bytes(i, "p")));
    s.expect(ack());
    script::write(a, "h");
    s.expect(data(bytes(i, "h")));
    s.send(ack());
  }
  CHECK(s.read(a) == "pppppp");
  CHECK(a.unacknowledged() == 0);
}

TEST_CASE("A gap over the end of 32 bits", "[ack][wrap]") {
  script s;
  s.end().first = 0xffffffff;
  s.peer_opens();
  s.send(ping().numbered(3));
  s.expect(ack({{3, 3}}).acking(0));
  s.send(ping().numbered(1));
  s.expect(ack({{3, 3}, {1, 1}}).acking(0));
  s.send(ping().numbered(0));
  s.expect(ack({{3, 3}}).acking(2));
  s.send_in_vain(ping().numbered(-1), &counters::drop_duplicate);
  s.send(ping().numbered(2));
  s.expect(ack().acking(4));
}

TEST_CASE("Offsets of a stream pass 2^32", "[wrap]") {
  constexpr std::uint64_t start = 0xfffffffe;
  script s({.configure = [](core::host_config& c) { c.first_offset = start; }});
  s.grant = start + 100;
  app_socket a = s.peer_connects();
  CHECK(s.host_grant == static_cast<std::uint32_t>(start + 4096));
  s.send(data(bytes(start + 3, "def")));
  s.expect(ack());
  s.send(data(bytes(start, "abc"), fin(start + 6)));
  s.expect(ack());
  CHECK(s.read(a) == "abcdef");
  CHECK(a.at_end());
  script::write(a, "uvwxyz");
  s.expect(data(bytes(start, "uvwxyz")));
  s.send(ack());
  a.shut_down_send();
  s.expect(data(fin(start + 6)));
  s.send(ack());
}

TEST_CASE("A grant passes 2^32", "[wrap]") {
  constexpr std::uint64_t start = 0xfffffff0;
  script s({.configure = [](core::host_config& c) { c.first_offset = start; }});
  s.grant = start + 8;
  app_socket a = s.peer_connects();
  script::write(a, text(32));
  s.expect(data(bytes(start, text(8))));
  s.send(ack());
  s.send(data(credit(start + 24)));
  s.expect(data(bytes(start + 8, text(16, 8))));
  s.send(ack());
  s.send(data(credit(start + 32)));
  s.expect(data(bytes(start + 24, text(8, 24))));
  s.send(ack());
}

}  // namespace
}  // namespace nd::script
