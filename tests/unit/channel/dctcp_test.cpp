// DCTCP: growth, the answer to marks and to losses.
#include <catch2/catch.hpp>

#include "unit/channel/congestion_sender.hpp"

using nd::duration;
using nd::instant;

namespace {

constexpr std::uint64_t packet = nd::test::congestion_sender::packet;
constexpr duration rtt = duration::microseconds(100);

struct sender : nd::test::congestion_sender {
  explicit sender(std::uint64_t packets = 10)
      : congestion_sender(nd::core::make_dctcp(packet, packets)) {}
};

}  // namespace

TEST_CASE("slow start doubles the window each round trip", "[dctcp]") {
  sender s;
  CHECK(s.window() == 10 * packet);
  CHECK(s.control().pacing_rate() == 0);
  for (std::uint64_t expected = 20; expected <= 640; expected *= 2) {
    s.round();
    CHECK(s.window() == expected * packet);
  }
  // Twice the window a round trip, or it could not double.
  CHECK(s.control().pacing_rate() == 2 * s.window() * 10'000);
}

TEST_CASE("a sender that does not use its window does not grow it", "[dctcp]") {
  sender s;
  for (int i = 0; i < 20; ++i) s.round(0, false);
  CHECK(s.window() == 10 * packet);
}

TEST_CASE("a loss halves the window, once a round trip", "[dctcp]") {
  sender s;
  for (int i = 0; i < 3; ++i) s.round();
  const std::uint64_t before = s.window();
  const instant sent = s.now() - rtt;
  CHECK(s.lose(sent));
  CHECK(s.window() == before / 2);
  CHECK_FALSE(s.lose(sent + duration(5)));
  CHECK_FALSE(s.lose(s.now()));
  CHECK(s.window() == before / 2);
  s.round();
  CHECK(s.lose(s.now()));
  CHECK(s.window() <= before / 4 + packet);
  CHECK(s.control().ecn_reductions() == 0);
}

TEST_CASE("after a loss the window grows by a packet a round trip", "[dctcp]") {
  sender s;
  for (int i = 0; i < 3; ++i) s.round();
  s.lose(s.now());
  std::uint64_t before = s.window();
  for (int i = 0; i < 10; ++i) {
    s.round();
    CHECK(s.window() >= before);
    CHECK(s.window() <= before + packet);
    before = s.window();
  }
  CHECK(before >= 40 * packet + 8 * packet);
  CHECK(s.control().pacing_rate() == s.window() * 12'500);
}

TEST_CASE("the window never falls below two packets", "[dctcp]") {
  sender s;
  for (int i = 0; i < 20; ++i) {
    s.round();
    s.lose(s.now());
  }
  CHECK(s.window() >= 2 * packet);
  CHECK(s.window() <= 4 * packet);
  s.lose(s.now(), true);
  CHECK(s.window() == 2 * packet);
}

TEST_CASE("persistent congestion falls to the minimum, from where slow start begins again",
          "[dctcp]") {
  sender s;
  for (int i = 0; i < 4; ++i) s.round();
  s.lose(s.now());  // the threshold is now 80 packets
  CHECK(s.lose(s.now(), true));
  CHECK(s.window() == 2 * packet);
  s.round();
  CHECK(s.window() == 4 * packet);
}

// RFC 9002, section 7.6.2 reduces the window; what it was before is still what slow start must not
// run into again.
TEST_CASE("persistent congestion remembers half of the window where it was", "[dctcp]") {
  sender s;
  for (int i = 0; i < 4; ++i) s.round();
  CHECK(s.window() == 160 * packet);
  s.lose(s.now(), true);  // the first loss of all
  for (int i = 0; i < 7; ++i) s.round();
  CHECK(s.window() < 100 * packet);
}

TEST_CASE("the first mark halves the window and ends slow start", "[dctcp]") {
  sender s;
  for (int i = 0; i < 3; ++i) s.round();
  const std::uint64_t before = s.window();
  s.round(1);
  CHECK(s.control().ecn_reductions() == 1);
  // alpha is 1 until it was measured for long; what was unmarked behind it does not grow.
  CHECK(s.window() < before * 6 / 10);
  CHECK(s.window() >= before / 2);
  const std::uint64_t after = s.window();
  s.round();
  CHECK(s.window() <= after + packet);
}

TEST_CASE("marks reduce the window in proportion to their share, once a round trip", "[dctcp]") {
  sender s;
  for (int i = 0; i < 4; ++i) s.round();
  s.lose(s.now());
  for (int i = 0; i < 100; ++i) s.round();  // alpha decays to nearly 0
  const std::uint64_t before = s.window();
  const std::uint64_t reductions = s.control().ecn_reductions();
  s.round(before / packet);  // now all of them
  CHECK(s.control().ecn_reductions() == reductions + 1);
  CHECK(s.window() > before * 9 / 10);
  // Marked for long, it halves each time; the window cannot stay.
  for (int i = 0; i < 60; ++i) s.round(s.window() / packet);
  CHECK(s.window() == 2 * packet);
}

TEST_CASE("a constant share of marks settles near alpha = share", "[dctcp]") {
  sender s;
  for (int i = 0; i < 5; ++i) s.round();
  s.lose(s.now());
  for (int i = 0; i < 40; ++i) s.round(s.window() / packet / 4);
  // With alpha = 1/4 a marked round multiplies by 7/8, and no more.
  std::uint64_t before = s.window();
  for (int i = 0; i < 5 && before > 20 * packet; ++i) {
    s.round(before / packet / 4);
    CHECK(s.window() > before * 3 / 4);
    before = s.window();
  }
}

TEST_CASE("a loss with neither marks nor delay is a bad link's", "[dctcp]") {
  sender s;
  s.minimum_rtt = s.rtt;
  s.rounds(3);
  CHECK(s.lose());
  CHECK(s.window() == 70 * packet);
  CHECK_FALSE(s.lose(s.now() - duration(1)));  // of the same round trip
  // The round trip behind it lets the window grow all the same.
  const std::uint64_t before = s.window();
  s.round();
  CHECK(s.window() == before + packet);
}

TEST_CASE("marks in this round trip or the last make a loss one of congestion", "[dctcp]") {
  for (int rounds_since = 0; rounds_since < 3; ++rounds_since) {
    CAPTURE(rounds_since);
    sender s;
    s.minimum_rtt = s.rtt;
    s.rounds(5);
    s.round(5);
    s.rounds(rounds_since);
    const std::uint64_t before = s.window();
    CHECK(s.lose());
    if (rounds_since < 2)
      CHECK(s.window() == before / 2);
    else
      CHECK(s.window() == before - before / 8);
  }
}

TEST_CASE("channels that share a path increase together like one", "[dctcp]") {
  sender alone, one_of_four, one_of_four_marked;
  one_of_four.control().set_sharing(4);
  one_of_four_marked.control().set_sharing(4);
  for (sender* s : {&alone, &one_of_four}) {
    s->rounds(2);
    s->lose();
  }
  one_of_four_marked.rounds(2);
  one_of_four_marked.round(1);
  const std::uint64_t start = alone.window(), marked_start = one_of_four_marked.window();
  REQUIRE(one_of_four.window() == start);
  for (sender* s : {&alone, &one_of_four, &one_of_four_marked}) s->rounds(64);
  const std::uint64_t grown = alone.window() - start, shared = one_of_four.window() - start,
                      marked = one_of_four_marked.window() - marked_start;
  CHECK(grown >= 60 * packet);
  CHECK(shared >= 3 * packet);
  CHECK(shared <= 5 * packet);  // 64 / 4^2
  CHECK(marked >= 7 * packet);
  CHECK(marked <= 9 * packet);           // 64 / 4^1.5
  one_of_four.control().set_sharing(0);  // not a division by zero
  one_of_four.round();
}

TEST_CASE("the initial window is counted in packets of the path", "[dctcp]") {
  sender s;
  s.control().set_packet_size(9000);
  CHECK(s.window() == 90'000);
  s.control().set_packet_size(packet);
  CHECK(s.window() == 10 * packet);
  s.round();
  s.control().set_packet_size(9000);
  CHECK(s.window() == 20 * packet);
  for (int i = 0; i < 10; ++i) {
    s.round();
    s.lose(s.now());
  }
  CHECK(s.window() >= 18'000);
}
