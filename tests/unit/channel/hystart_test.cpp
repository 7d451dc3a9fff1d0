// HyStart++ (RFC 9406): when slow start slows down, and when it ends.
#include "channel/hystart.hpp"

#include <catch2/catch.hpp>

using nd::duration;
using nd::core::hystart;

namespace {

/// Rounds of `samples` packets with one round-trip time.
class rounds {
 public:
  explicit rounds(hystart& h) : h_(h) {}
  void play(duration rtt, int samples = 10, duration first = {}) {
    const std::uint64_t next = number_ + static_cast<std::uint64_t>(samples);
    for (int i = 0; i < samples; ++i)
      h_.on_ack(number_ + static_cast<std::uint64_t>(i), next,
                i == 0 && first.ns() > 0 ? first : rtt);
    number_ = next;
  }

 private:
  hystart& h_;
  std::uint64_t number_ = 1000;
};

constexpr duration us(std::int64_t n) {
  return duration::microseconds(n);
}

}  // namespace

TEST_CASE("an even round-trip time never ends slow start", "[hystart]") {
  hystart h;
  rounds r(h);
  for (int i = 0; i < 50; ++i) r.play(us(100));
  CHECK_FALSE(h.conservative());
  CHECK_FALSE(h.done());
  CHECK(h.growth(1000) == 1000);
}

TEST_CASE("a rise of the smallest round-trip time by the threshold slows growth to a quarter",
          "[hystart]") {
  // 25 us, an eighth, 16 ms: whichever lies between the two others.
  struct {
    duration before, least_rise;
  } const cases[] = {{us(50), us(25)}, {us(1000), us(125)}, {us(400'000), us(16'000)}};
  for (const auto& c : cases) {
    CAPTURE(c.before.ns());
    hystart below, at;
    rounds b(below), a(at);
    b.play(c.before);
    a.play(c.before);
    b.play(c.before + c.least_rise - duration(1));
    a.play(c.before + c.least_rise);
    CHECK_FALSE(below.conservative());
    CHECK(at.conservative());
    CHECK(at.growth(1000) == 250);
    CHECK_FALSE(at.done());
  }
}

TEST_CASE("a round of fewer than 8 samples tells nothing", "[hystart]") {
  hystart h;
  rounds r(h);
  r.play(us(100), 7);
  r.play(us(200), 7);
  CHECK_FALSE(h.conservative());
  r.play(us(300), 8);
  CHECK(h.conservative());
}

TEST_CASE("one slow packet is no rise", "[hystart]") {
  hystart h;
  rounds r(h);
  r.play(us(100));
  r.play(us(100), 10, us(900));
  CHECK_FALSE(h.conservative());
  r.play(us(900), 10, us(100));
  CHECK_FALSE(h.conservative());
}

TEST_CASE("after five rounds of slower growth slow start is over", "[hystart]") {
  hystart h;
  rounds r(h);
  r.play(us(100));
  for (int i = 0; i < 5; ++i) {
    r.play(us(200));
    CHECK(h.conservative());
    CHECK_FALSE(h.done());
  }
  r.play(us(200), 1);
  CHECK(h.done());
}

TEST_CASE("a round-trip time that falls again was noise", "[hystart]") {
  hystart h;
  rounds r(h);
  r.play(us(100));
  r.play(us(200));
  CHECK(h.conservative());
  r.play(us(150));
  CHECK_FALSE(h.conservative());
  CHECK(h.growth(1000) == 1000);
  for (int i = 0; i < 10; ++i) r.play(us(150));
  CHECK_FALSE(h.done());
}
