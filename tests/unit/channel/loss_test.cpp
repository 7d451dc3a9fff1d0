// Loss detection as a pure function.
#include "channel/loss.hpp"

#include <catch2/catch.hpp>

using nd::duration;
using nd::instant;
using nd::core::judge_loss;

namespace {
constexpr instant sent(1'000'000'000);
constexpr duration delay = duration::microseconds(90);
}  // namespace

TEST_CASE("a packet behind the largest acknowledged one is not judged", "[loss]") {
  const auto v = judge_loss(11, sent, 10, delay, sent + delay * 100);
  CHECK_FALSE(v.lost);
  CHECK(v.ask_again.is_never());
}

TEST_CASE("three packets later it is lost, whatever the time", "[loss]") {
  CHECK(judge_loss(7, sent, 10, delay, sent).lost);
  CHECK(judge_loss(0, sent, 10, delay, sent).lost);
  CHECK_FALSE(judge_loss(8, sent, 10, delay, sent).lost);
  CHECK_FALSE(judge_loss(9, sent, 10, delay, sent).lost);
  // Across the 32-bit wrap there is nothing special.
  constexpr std::uint64_t wrap = std::uint64_t{1} << 32;
  CHECK(judge_loss(wrap - 1, sent, wrap + 2, delay, sent).lost);
  CHECK_FALSE(judge_loss(wrap - 1, sent, wrap + 1, delay, sent).lost);
}

TEST_CASE("before that, time decides, and says when", "[loss]") {
  const auto early = judge_loss(9, sent, 10, delay, sent + delay - duration(1));
  CHECK_FALSE(early.lost);
  CHECK(early.ask_again == sent + delay);
  CHECK(judge_loss(9, sent, 10, delay, early.ask_again).lost);
  CHECK(judge_loss(9, sent, 10, delay, sent + delay * 2).lost);
}
