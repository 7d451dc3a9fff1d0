// What RFC 8257 asks of DCTCP where marks and losses meet.
#include <catch2/catch.hpp>

#include "channel/congestion.hpp"

using nd::duration;
using nd::instant;

namespace {

constexpr std::uint64_t packet = 1000;
constexpr instant start(1'000'000'000);
constexpr duration rtt = duration::microseconds(100);

/// `bytes` sent at `sent` are acknowledged a round trip later, `ce_bytes` of them with CE.
nd::core::congestion_ack ack(instant sent, std::uint64_t bytes, std::uint64_t ce_bytes,
                             std::uint64_t largest) {
  return {.now = sent + rtt,
          .bytes = bytes,
          .ce_bytes = ce_bytes,
          .largest = largest,
          .next_number = largest + 10,
          .largest_sent = sent,
          .smoothed_rtt = rtt,
          .window_limited = true};
}

}  // namespace

// Section 3.3: alpha changes with the share of a whole window of data, by a sixteenth.
TEST_CASE("alpha changes once a window of data", "[dctcp]") {
  const auto control = nd::core::make_dctcp(packet, 1000);
  // The first acknowledgement ends an observation; the next one ends with packet 1000.
  auto a = ack(start, packet, 0, 1);
  a.next_number = 1000;
  for (; a.largest < 900; ++a.largest) control->on_ack(a);
  std::uint64_t window = control->window();
  a.ce_bytes = packet;
  control->on_ack(a);
  CHECK(control->window() == window * 17 / 32);  // 1 - 15/16 / 2
  // One of 900 was marked.
  a.ce_bytes = 0;
  a.largest = 1000;
  a.next_number = 2000;
  control->on_ack(a);
  window = control->window();
  a.ce_bytes = packet;
  a.largest = 1001;
  a.largest_sent = a.now + duration(1);
  control->on_ack(a);
  const double alpha = 15.0 / 16 * 15 / 16 + 1.0 / 16 / 901;
  CHECK(static_cast<double>(control->window()) ==
        Approx(static_cast<double>(window) * (1 - alpha / 2)).epsilon(1e-5));
}

// Section 3.5: one reduction a window of data, across all signals.
TEST_CASE("a mark and a loss in one window of data are one reduction", "[dctcp]") {
  const bool mark_first = GENERATE(true, false);
  CAPTURE(mark_first);
  const auto control = nd::core::make_dctcp(packet, 100);
  const auto mark = [&](instant sent) {
    control->on_ack(ack(sent, packet, packet, static_cast<std::uint64_t>(sent.ns())));
  };
  const auto lose = [&](instant sent) {
    return control->on_loss({.now = sent + rtt, .largest_sent = sent, .persistent = false});
  };
  if (mark_first)
    mark(start);
  else
    CHECK(lose(start));
  const std::uint64_t reduced = control->window();
  CHECK(reduced == 50 * packet);  // alpha is still 1
  // Sent within the same round trip.
  if (mark_first)
    CHECK_FALSE(lose(start + rtt / 2));
  else
    mark(start + rtt / 2);
  CHECK(control->window() == reduced);
  // And later.
  CHECK(lose(start + rtt * 2));
  CHECK(control->window() == reduced / 2);
}

// Section 4.2: alpha is a share.
TEST_CASE("a peer that reports more marks than bytes cannot push the share above all", "[dctcp]") {
  const auto control = nd::core::make_dctcp(packet, 1000);
  instant sent = start;
  for (std::uint64_t round = 1; round <= 5; ++round, sent = sent + rtt * 2) {
    const std::uint64_t before = control->window();
    control->on_ack(ack(sent, packet, 1'000'000'000, round * 10));
    CHECK(control->window() == before / 2);
  }
}
