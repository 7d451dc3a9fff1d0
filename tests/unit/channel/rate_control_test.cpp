// The rate-based control over a model of a path: 100 MB/s, 1 ms, so 100 packets are what it holds.
#include <catch2/catch.hpp>

#include "unit/channel/model_path.hpp"

using nd::duration;

namespace {

constexpr std::uint64_t packet = nd::test::model_path::packet;
constexpr duration ms(std::int64_t n) {
  return duration::milliseconds(n);
}

struct path : nd::test::model_path {
  path() : model_path(nd::core::make_rate_control(packet, 10)) {}
  /// Share of the path's rate that a span of time brought.
  double share(const observation& o, duration span) const {
    return static_cast<double>(o.delivered) * 1e9 / static_cast<double>(span.ns()) /
           static_cast<double>(bytes_per_second);
  }
};

/// Past startup.
path running() {
  path p;
  p.run(ms(50));
  return p;
}

}  // namespace

TEST_CASE("startup doubles its rate each round trip, and ends at the path's", "[rate_control]") {
  path p;
  CHECK(p.control().window() == 10 * packet);
  CHECK(p.control().pacing_rate() == 0);
  p.run(duration::microseconds(1150));
  const std::uint64_t first = p.control().pacing_rate();
  CHECK(first > 8'000'000);  // 10 packets a round trip make 10 MB/s, times 2.77
  CHECK(first < 30'000'000);
  p.run(ms(3));
  CHECK(p.control().pacing_rate() > 4 * first);
  p.run(ms(11));
  const auto later = p.run(ms(20));
  CHECK(p.share(later, ms(20)) > 0.97);
  CHECK(later.most_rate < 140'000'000);  // no longer 277
}

TEST_CASE("what startup has queued leaves", "[rate_control]") {
  path p;
  const auto start = p.run(ms(15));
  CHECK(start.most_queued > p.product() / 2);
  p.run(ms(20));
  const auto later = p.run(ms(40));
  CHECK(later.most_queued < p.product() / 2);
  CHECK(p.share(later, ms(40)) > 0.97);
}

TEST_CASE("the rate is the path's, a quarter more, a quarter less", "[rate_control]") {
  path p = running();
  const auto seen = p.run(ms(30));
  CHECK(seen.most_rate == Approx(125'000'000).epsilon(0.03));
  CHECK(seen.least_rate == Approx(75'000'000).epsilon(0.03));
  // Most of the time neither.
  int even = 0;
  for (int i = 0; i < 100; ++i) {
    p.run(duration::microseconds(300));
    const double rate = static_cast<double>(p.control().pacing_rate());
    even += rate > 97e6 && rate < 104e6 ? 1 : 0;
  }
  CHECK(even > 50);
  CHECK(even < 95);
}

TEST_CASE("in flight is at most twice what the path holds", "[rate_control]") {
  path p = running();
  const auto seen = p.run(ms(30));
  CHECK(seen.most_window <= 2 * p.product() + 12 * packet);
  CHECK(seen.most_window >= 2 * p.product() - 4 * packet);
}

TEST_CASE("more bandwidth is found by probing, less is noticed", "[rate_control]") {
  path p = running();
  p.bytes_per_second = 200'000'000;
  p.run(ms(80));
  CHECK(p.share(p.run(ms(20)), ms(20)) > 0.95);
  p.bytes_per_second = 50'000'000;
  p.run(ms(80));
  const auto seen = p.run(ms(40));
  CHECK(p.share(seen, ms(40)) > 0.97);
  CHECK(seen.most_queued < 2 * p.product());
  CHECK(p.control().pacing_rate() < 70'000'000);
}

TEST_CASE("losses of a bad link cost no more than what is lost", "[rate_control]") {
  // Up to a fifth: what probing sends more must arrive.
  const std::uint64_t one_in = GENERATE(values<std::uint64_t>({100, 20, 10, 8}));
  CAPTURE(one_in);
  path p;
  p.lose_one_in = one_in;
  p.run(ms(100));
  const auto seen = p.run(ms(100));
  // Of the path's rate; lost packets take no time on it.
  CHECK(p.share(seen, ms(100)) > 0.9 * (1 - 1 / static_cast<double>(one_in)));
}

TEST_CASE("losses of a full queue bound what is in flight", "[rate_control]") {
  // Half the rate at once, and a short queue: without a bound two windows would go on being sent.
  path p = running();
  p.bytes_per_second = 50'000'000;
  p.queue_limit = 20 * packet;
  p.round_trip = duration::microseconds(1300);  // a queue that stands elsewhere
  p.run(ms(60));
  const auto seen = p.run(ms(200));
  CHECK(p.share(seen, ms(200)) > 0.9);
  CHECK(static_cast<double>(seen.lost) < 0.04 * static_cast<double>(seen.delivered));
}

TEST_CASE("marks bound what is in flight, and it grows again without them", "[rate_control]") {
  path p = running();
  const std::uint64_t before = p.control().window();
  p.mark_above = 0;  // each packet that does not find the queue empty
  const auto marked = p.run(ms(60));
  CHECK(p.control().ecn_reductions() > 3);
  CHECK(p.control().ecn_reductions() < 70);  // at most once a round trip
  CHECK(marked.least_window < before * 6 / 10);
  p.mark_above = ~std::uint64_t{0};
  p.run(ms(400));
  CHECK(p.control().window() >= before * 9 / 10);
}

TEST_CASE("an application that sends little does not make the path seem slow", "[rate_control]") {
  path p = running();
  p.run(ms(10));
  p.application_pause = duration::microseconds(100);  // a tenth
  const auto seen = p.run(ms(200));
  CHECK(p.share(seen, ms(200)) < 0.11);
  CHECK(seen.least_rate > 70'000'000);
  p.application_pause = {};
  CHECK(p.share(p.run(ms(10)), ms(10)) > 0.9);
}

TEST_CASE("an application that was slow from the start has the path when it wants it",
          "[rate_control]") {
  path p;
  p.application_pause = duration::microseconds(100);
  p.run(ms(100));
  p.application_pause = {};
  p.run(ms(20));
  CHECK(p.share(p.run(ms(20)), ms(20)) > 0.95);
}

TEST_CASE("the path's round trip is looked for with little in flight", "[rate_control]") {
  path p = running();
  // 1,000 round trips: a second.
  const auto quiet = p.run(ms(800));
  CHECK(quiet.least_window > p.product());
  p.round_trip = ms(2);  // another way, whose smallest round trip is longer than the known one
  const auto seen = p.run(ms(1000));
  CHECK(seen.least_window <= p.product() / 4 + packet);  // half of what the old one held
  p.run(ms(100));
  const auto after = p.run(ms(100));
  CHECK(after.most_window > 3 * p.product() / 2);
  CHECK(p.share(after, ms(100)) > 0.97);
}

TEST_CASE("persistent congestion takes the rate-based control to the minimum, and it comes back",
          "[rate_control]") {
  path p = running();
  CHECK(p.control().on_loss({.now = nd::instant(1'050'000'000),
                             .largest_sent = nd::instant(1'049'000'000),
                             .bytes = packet,
                             .persistent = true}));
  CHECK(p.control().window() == 2 * packet);
  p.run(ms(20));
  CHECK(p.share(p.run(ms(20)), ms(20)) > 0.95);
  // Any other loss changes nothing at once.
  const std::uint64_t window = p.control().window();
  CHECK_FALSE(p.control().on_loss({.now = nd::instant(2'000'000'000),
                                   .largest_sent = nd::instant(1'999'000'000),
                                   .bytes = packet,
                                   .persistent = false}));
  CHECK(p.control().window() == window);
}

TEST_CASE("channels to one peer probe together like one", "[rate_control]") {
  path p;
  p.control().set_sharing(4);
  p.run(ms(60));
  const auto seen = p.run(ms(30));
  CHECK(seen.most_rate == Approx(106'000'000).epsilon(0.02));
  CHECK(seen.most_window <= p.product() * 5 / 4 + 8 * packet);
  CHECK(p.share(seen, ms(30)) > 0.97);
}

TEST_CASE("the rate-based control's initial window is counted in packets of the path",
          "[rate_control]") {
  path p;
  p.control().set_packet_size(9000);
  CHECK(p.control().window() == 90'000);
}
