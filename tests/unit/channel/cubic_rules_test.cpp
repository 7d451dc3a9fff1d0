// What RFC 9438 asks of CUBIC, where no other test shows it.
#include <catch2/catch.hpp>

#include "unit/channel/congestion_sender.hpp"

namespace {

struct sender : nd::test::congestion_sender {
  sender() : congestion_sender(nd::core::make_cubic(packet, 10)) {}

  /// A window is acknowledged a round trip later, `bytes` at a time.
  void round_of(std::uint64_t bytes) {
    wait(rtt);
    const std::uint64_t n = window() / bytes;
    for (std::uint64_t i = 0; i < n; ++i)
      control().on_ack({.now = now(),
                        .bytes = bytes,
                        .ce_bytes = 0,
                        .largest = ++number_,
                        .next_number = number_ + 1,
                        .largest_sent = now() - rtt + nd::duration(1),
                        .smoothed_rtt = rtt,
                        .minimum_rtt = minimum_rtt,
                        .rtt = rtt,
                        .in_flight = window(),
                        .delivery = {},
                        .window_limited = true});
  }

 private:
  std::uint64_t number_ = 1'000'000;
};

}  // namespace

TEST_CASE("Reno's part of CUBIC counts bytes, not acknowledgements", "[cubic]") {
  sender small, large;
  for (sender* s : {&small, &large}) {
    s->rounds(3);
    s->lose();
    s->wait(s->rtt);
  }
  const std::uint64_t start = small.window();
  REQUIRE(large.window() == start);
  for (int i = 0; i < 40; ++i) {
    small.round_of(100);
    large.round_of(4000);
  }
  CHECK(large.window() - start >= 18'000);
  CHECK(small.window() - start >= 18'000);
  CHECK(small.window() - start <= 23'000);
}

TEST_CASE("a CUBIC window that is not used does not grow", "[cubic]") {
  const bool slow_start = GENERATE(true, false);
  sender s;
  s.rounds(3);
  if (!slow_start) {
    s.lose();
    s.rounds(2);
  }
  const std::uint64_t before = s.window();
  for (int i = 0; i < 100; ++i) s.round(0, false);
  CHECK(s.window() == before);
}

TEST_CASE("after persistent congestion CUBIC goes on like Reno from where slow start ended",
          "[cubic]") {
  sender s;
  s.rounds(4);
  REQUIRE(s.packets() == 160);
  REQUIRE(s.lose(s.now(), true));
  s.rounds(7);
  const std::uint64_t end = s.packets();
  CHECK(end >= 112);  // 0.7 of 160
  CHECK(end <= 114);
  s.rounds(20);
  CHECK(s.packets() >= end + 9);  // 0.53 a round trip
  CHECK(s.packets() <= end + 12);
}
