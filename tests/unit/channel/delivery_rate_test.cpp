// Delivery-rate samples: what they say of a path, and of an application.
#include "channel/delivery_rate.hpp"

#include <catch2/catch.hpp>

using nd::duration;
using nd::instant;
using nd::core::delivery_mark;
using nd::core::delivery_rate;
using nd::core::delivery_sample;

namespace {

constexpr instant start{5'000'000'000};
constexpr instant at(std::int64_t us) {
  return start + duration::microseconds(us);
}

}  // namespace

TEST_CASE("acknowledgements that are spread tell the path's rate", "[delivery_rate]") {
  // A burst of ten over a path of 100 us that takes 10 us a packet; then each acknowledgement sends
  // another.
  delivery_rate d;
  struct {
    instant sent;
    delivery_mark mark;
  } packets[10];
  for (auto& p : packets) p = {at(0), d.on_sent(at(0), &p == packets ? 0 : 1000)};
  delivery_sample s;
  for (int round = 1; round <= 3; ++round) {
    for (int i = 0; i < 10; ++i) {
      const instant now = at(100 * round + 10 * i);
      d.on_delivered(1000);
      s = d.sample(now, packets[i].sent, packets[i].mark);
      CHECK_FALSE(s.application_limited);
      packets[i] = {now, d.on_sent(now, 9000)};
    }
    if (round == 1) CHECK(s.bytes_per_second == 10'000'000'000 / 190);  // from sending to the end
  }
  CHECK(s.bytes_per_second == 100'000'000);
}

TEST_CASE("acknowledgements that come together do not exceed the rate of sending",
          "[delivery_rate]") {
  delivery_rate d;
  const delivery_mark first = d.on_sent(at(0), 0);
  d.on_delivered(1000);
  d.sample(at(100), at(0), first);
  // Ten packets, 100 us apart, whose acknowledgements were held up: the first of them comes when
  // the last one is sent, the others with that one's.
  delivery_mark marks[10];
  for (int i = 0; i < 9; ++i)
    marks[i] = d.on_sent(at(100 + 100 * i), static_cast<std::uint64_t>(1000 * i));
  d.on_delivered(1000);
  d.sample(at(1000), at(100), marks[0]);
  marks[9] = d.on_sent(at(1000), 8000);
  d.on_delivered(9000);
  CHECK(d.sample(at(1010), at(1000), marks[9]).bytes_per_second == 10'000'000);
}

TEST_CASE("packets sent while there was nothing more measure the application", "[delivery_rate]") {
  delivery_rate d;
  const delivery_mark first = d.on_sent(at(0), 0);
  CHECK_FALSE(first.application_limited);
  d.on_nothing_to_send(1000);
  const delivery_mark second = d.on_sent(at(10), 1000);
  CHECK(second.application_limited);
  d.on_delivered(1000);
  d.sample(at(100), at(0), first);
  d.on_delivered(1000);
  CHECK(d.sample(at(110), at(10), second).application_limited);
  // All of that has arrived: from now on it is the path again.
  CHECK_FALSE(d.on_sent(at(120), 0).application_limited);
}

TEST_CASE("an idle time is none of sending", "[delivery_rate]") {
  delivery_rate d;
  const delivery_mark before = d.on_sent(at(0), 0);
  d.on_delivered(1000);
  d.sample(at(100), at(0), before);
  const delivery_mark after = d.on_sent(at(1'000'000), 0);
  d.on_delivered(1000);
  CHECK(d.sample(at(1'000'100), at(1'000'000), after).bytes_per_second == 10'000'000);
  // Nothing took no time.
  const delivery_mark same = d.on_sent(at(2'000'000), 0);
  CHECK(d.sample(at(2'000'000), at(2'000'000), same).bytes_per_second == 0);
}
