// sent_packets against a std::map, with generated sends, verdicts and trims.
#include "channel/sent_packets.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <vector>

#include "base/rng.hpp"

using nd::instant;
using nd::core::sent_packet;
using nd::core::sent_packets;

TEST_CASE("each record comes back once, with the packet it was in", "[sent_packets]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 11)));
  CAPTURE(seed);
  nd::rng random(seed);
  struct expected_packet {
    std::uint32_t bytes;
    std::vector<std::uint64_t> records;
  };
  sent_packets packets;
  const std::uint64_t start = (std::uint64_t{1} << 32) - 100;
  packets.start_at(start);
  std::map<std::uint64_t, expected_packet> in_flight;
  std::uint64_t next = start, next_record = 0, bytes = 0;
  for (int i = 0; i < 4000; ++i) {
    if (random.chance(0.55) || in_flight.empty()) {
      expected_packet p{static_cast<std::uint32_t>(28 + random.below(1400)), {}};
      for (std::uint64_t n = random.below(5); n > 0; --n) {
        nd::wire::record r;
        r.seq = next_record;
        packets.add_record(r);
        p.records.push_back(next_record++);
      }
      REQUIRE(packets.next_number() == next);
      packets.add(instant(1'000'000 + i), p.bytes, static_cast<std::uint16_t>(i % 7));
      REQUIRE(packets[next].sent == instant(1'000'000 + i));
      REQUIRE(packets[next].probe_mtu == i % 7);
      bytes += p.bytes;
      in_flight[next++] = p;
    } else {
      auto it = in_flight.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(
                           random.below(std::min<std::size_t>(in_flight.size(), 9))));
      std::vector<std::uint64_t> got;
      const auto fate = random.chance(0.8) ? sent_packet::fate::acked : sent_packet::fate::lost;
      packets.resolve(it->first, fate, [&](const nd::wire::record& r) { got.push_back(r.seq); });
      REQUIRE(got == it->second.records);
      REQUIRE(packets[it->first].state == fate);
      bytes -= it->second.bytes;
      in_flight.erase(it);
    }
    if (random.chance(0.5)) {
      packets.trim();
      REQUIRE(packets.floor() == (in_flight.empty() ? next : in_flight.begin()->first));
      REQUIRE(packets.empty() == in_flight.empty());
      if (!in_flight.empty()) REQUIRE(packets.oldest().bytes == in_flight.begin()->second.bytes);
    }
    REQUIRE(packets.bytes_in_flight() == bytes);
    REQUIRE(packets.span() == next - packets.floor());
  }
}
