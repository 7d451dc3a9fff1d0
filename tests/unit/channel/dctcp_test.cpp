// DCTCP: growth, the answer to marks and to losses.
#include <catch2/catch.hpp>

#include "channel/congestion.hpp"

using nd::duration;
using nd::instant;
using nd::core::congestion_ack;
using nd::core::congestion_control;

namespace {

constexpr std::uint64_t packet = 1000;
constexpr duration rtt = duration::microseconds(100);

/// A sender that keeps the window full, a round trip at a time.
class sender {
 public:
  explicit sender(std::uint64_t packets = 10) : control_(nd::core::make_dctcp(packet, packets)) {}

  congestion_control& control() { return *control_; }
  instant now() const { return now_; }
  std::uint64_t window() const { return control_->window(); }

  /// A window leaves and is acknowledged a round trip later, packet by packet, the first
  /// `marked` of them with CE.
  void round(std::uint64_t marked = 0, bool window_limited = true) {
    const std::uint64_t packets = window() / packet;
    const instant sent = now_ + duration(1);  // after a loss that was noticed now
    const std::uint64_t first = number_;
    number_ += packets;
    now_ = now_ + rtt;
    for (std::uint64_t i = 0; i < packets; ++i) {
      now_ = now_ + duration(10);
      control_->on_ack({.now = now_,
                        .bytes = packet,
                        .ce_bytes = i < marked ? packet : 0,
                        .largest = first + i,
                        .next_number = number_,
                        .largest_sent = sent + duration(static_cast<std::int64_t>(i)),
                        .smoothed_rtt = rtt,
                        .window_limited = window_limited});
    }
  }
  /// Of a packet sent at `sent`.
  bool lose(instant sent, bool persistent = false) {
    return control_->on_loss({.now = now_, .largest_sent = sent, .persistent = persistent});
  }

 private:
  std::unique_ptr<congestion_control> control_;
  instant now_{1'000'000'000};
  std::uint64_t number_ = 100;
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

TEST_CASE("channels that share a path increase together like one", "[dctcp]") {
  sender alone, one_of_four;
  one_of_four.control().set_sharing(4);
  for (sender* s : {&alone, &one_of_four}) {
    for (int i = 0; i < 2; ++i) s->round();
    s->lose(s->now());
  }
  const std::uint64_t start = alone.window();
  REQUIRE(one_of_four.window() == start);
  for (int i = 0; i < 64; ++i) {
    alone.round();
    one_of_four.round();
  }
  const std::uint64_t grown = alone.window() - start, shared = one_of_four.window() - start;
  CHECK(grown >= 60 * packet);
  CHECK(shared >= 3 * packet);
  CHECK(shared <= 5 * packet);           // 64 / 4^2
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
