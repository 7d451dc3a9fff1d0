// CUBIC: its curve, its Reno-friendly region, its reductions, and the end of slow start.
#include <catch2/catch.hpp>
#include <cmath>

#include "unit/channel/congestion_sender.hpp"

using nd::duration;

namespace {

struct sender : nd::test::congestion_sender {
  explicit sender(std::uint64_t packets = 10)
      : congestion_sender(nd::core::make_cubic(packet, packets)) {}
};

/// Congestion avoidance from 700 packets on, below a maximum of 1000, over a long path.
sender on_a_long_path() {
  sender s(1000);
  s.rtt = s.minimum_rtt = duration::milliseconds(100);
  s.round(0, false);
  s.lose();
  return s;
}

}  // namespace

TEST_CASE("CUBIC's slow start doubles the window each round trip", "[cubic]") {
  sender s;
  CHECK(s.control().pacing_rate() == 0);
  for (std::uint64_t expected = 20; expected <= 640; expected *= 2) {
    s.round();
    CHECK(s.packets() == expected);
  }
  CHECK(s.control().pacing_rate() == 2 * s.window() * 10'000);
}

TEST_CASE("a loss takes CUBIC's window to 0.7, once a round trip", "[cubic]") {
  sender s = on_a_long_path();
  CHECK(s.packets() == 700);
  CHECK_FALSE(s.lose(s.now() - duration(1)));
  CHECK(s.packets() == 700);
  s.round();
  const std::uint64_t before = s.window();
  CHECK(s.lose());
  CHECK(s.window() == static_cast<std::uint64_t>(static_cast<double>(before) * 0.7));
}

// RFC 9438, section 4.2, figures 1 and 2: W(t) = C (t - K)^3 + W_max.
TEST_CASE("CUBIC's window follows its curve: steep, flat at the old maximum, steep", "[cubic]") {
  sender s = on_a_long_path();
  const double k = std::cbrt(300 / 0.4);  // 9.1 s
  const nd::instant start = s.now();
  for (int i = 0; i < 180; ++i) {
    s.round();
    // The round's window was aimed at when it began, for one round trip later.
    const double t = static_cast<double>((s.now() - start).ns()) * 1e-9;
    const double expected = 1000 + 0.4 * std::pow(t - k, 3);
    CAPTURE(i, t, expected);
    // Reno's increase alone: 0.53 packets a round trip, then 1.
    CHECK(static_cast<double>(s.packets()) == Approx(expected).epsilon(0.02));
  }
  CHECK(s.packets() > 1200);
}

TEST_CASE("over a short path CUBIC is never slower than Reno", "[cubic]") {
  sender s;
  s.rounds(3);
  s.lose();
  CHECK(s.packets() == 56);
  s.round();
  const std::uint64_t start = s.packets();
  s.rounds(40);  // 4 ms: the cubic curve alone would not have moved
  CHECK(s.packets() >= start + 19);
  CHECK(s.packets() <= start + 23);  // 3 (1 - 0.7) / (1 + 0.7) = 0.53 a round trip
  // From where the last reduction was on, as fast as Reno: one packet a round trip.
  s.rounds(20);
  const std::uint64_t above = s.packets();
  REQUIRE(above > 80);
  s.rounds(20);
  CHECK(s.packets() >= above + 18);
  CHECK(s.packets() <= above + 21);
}

TEST_CASE("a second reduction below the first one's maximum makes room for others", "[cubic]") {
  sender s = on_a_long_path();
  s.round();
  const double second = static_cast<double>(s.packets());
  REQUIRE(second < 800);
  s.lose();
  // The curve is now flat around 0.85 times the second, not at it.
  std::uint64_t slowest = ~std::uint64_t{0}, flat = 0;
  for (int i = 0; i < 150; ++i) {
    const std::uint64_t before = s.packets();
    s.round();
    if (i > 3 && s.packets() - before < slowest) {
      slowest = s.packets() - before;
      flat = s.packets();
    }
  }
  CHECK(static_cast<double>(flat) == Approx(second * 0.85).epsilon(0.03));
}

TEST_CASE("a mark takes CUBIC's window to 0.85, once a round trip", "[cubic]") {
  sender s;
  s.rounds(3);
  s.round(5);
  CHECK(s.packets() == 68);
  CHECK(s.control().ecn_reductions() == 1);
  s.round();
  CHECK(s.packets() <= 69);  // slow start is over
}

TEST_CASE("time in which the application is the limit does not count for CUBIC", "[cubic]") {
  sender busy = on_a_long_path(), idle = on_a_long_path();
  busy.rounds(20);
  idle.rounds(10);
  for (int i = 0; i < 300; ++i) idle.round(0, false);  // half a minute
  const std::uint64_t before = idle.packets();
  idle.round();
  CHECK(idle.packets() <= before + before / 50);
  idle.rounds(9);
  CHECK(static_cast<double>(idle.packets()) ==
        Approx(static_cast<double>(busy.packets())).epsilon(0.02));
}

TEST_CASE("persistent congestion takes CUBIC to the minimum, and through slow start again",
          "[cubic]") {
  sender s;
  s.rounds(4);
  CHECK(s.lose(s.now(), true));
  CHECK(s.packets() == 2);
  s.rounds(5);
  CHECK(s.packets() == 64);
  s.rounds(3);
  CHECK(s.packets() <= 120);  // 0.7 of 160 is where slow start ends
  for (int i = 0; i < 30; ++i) s.lose(s.now() + duration(i), false);
  CHECK(s.packets() >= 2);
}

TEST_CASE("CUBIC's channels to one peer increase less", "[cubic]") {
  sender alone, one_of_two;
  one_of_two.control().set_sharing(2);
  for (sender* s : {&alone, &one_of_two}) {
    s->rounds(3);
    s->lose();
    s->round();
  }
  const std::uint64_t start = alone.packets();
  for (sender* s : {&alone, &one_of_two}) s->rounds(40);
  CHECK(alone.packets() - start >= 19);
  CHECK(one_of_two.packets() - start >= 4);
  CHECK(one_of_two.packets() - start <= 6);  // a quarter
}

TEST_CASE("CUBIC leaves slow start when the round-trip time rises", "[cubic]") {
  sender s;
  s.rounds(3);
  CHECK(s.packets() == 80);
  s.rtt = duration::microseconds(150);
  s.round();  // noticed within it: from its ninth packet on a quarter
  CHECK(s.packets() > 100);
  CHECK(s.packets() < 120);
  // Five rounds at a quarter's pace, then congestion avoidance.
  s.rounds(6);
  const std::uint64_t end = s.packets();
  CHECK(end < 450);
  s.rounds(5);
  CHECK(s.packets() <= end + 6);
}
