// The bad wire: deterministic by its seed, about as bad as asked for, and nothing stays in it.
#include "pmd_glue/fault_port.hpp"

#include <rte_ether.h>
#include <rte_ip.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "nd/error.hpp"
#include "unit/support/pool.hpp"

using nd::duration;
using nd::instant;
using nd::pmd::fault_port;
using nd::pmd::fault_spec;
using nd::pmd::parse_fault_spec;

namespace {

constexpr instant start(3'000'000'000);

/// A device that notes what it is given.
class recording_port final : public nd::port {
 public:
  struct log {
    std::vector<std::vector<std::byte>> frames;
    std::size_t room = ~std::size_t{0};  ///< frames that it still takes
    unsigned ticks = 0;
    nd::port_capabilities capabilities;
  };
  explicit recording_port(log& l) : log_(l) {}

  const nd::port_capabilities& capabilities() const noexcept override { return log_.capabilities; }
  std::size_t rx_burst(instant, std::span<rte_mbuf*>) override { return 0; }
  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override {
    const std::size_t n = std::min(frames.size(), log_.room);
    for (rte_mbuf* m : frames.first(n)) {
      const auto bytes = nd::mbuf_bytes(m);
      log_.frames.emplace_back(bytes.begin(), bytes.end());
      rte_pktmbuf_free(m);
    }
    log_.room -= n;
    return n;
  }
  void tick(instant) override { ++log_.ticks; }
  bool link_up() const noexcept override { return true; }

 private:
  log& log_;
};

/// An IPv4 frame that carries its number.
std::vector<std::byte> frame_bytes(std::uint32_t number, std::uint8_t ecn = 2,
                                   std::size_t payload = 40) {
  std::vector<std::byte> bytes(sizeof(rte_ether_hdr) + sizeof(rte_ipv4_hdr) + payload);
  rte_ether_hdr ethernet{};
  ethernet.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
  rte_ipv4_hdr ip{};
  ip.version_ihl = 0x45;
  ip.type_of_service = static_cast<std::uint8_t>(0x28 | ecn);
  ip.total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(sizeof ip + payload));
  ip.time_to_live = 64;
  ip.next_proto_id = 19;
  ip.src_addr = 0x0100000a;
  ip.dst_addr = 0x0200000a;
  ip.hdr_checksum = rte_ipv4_cksum(&ip);
  std::memcpy(bytes.data(), &ethernet, sizeof ethernet);
  std::memcpy(&bytes[sizeof ethernet], &ip, sizeof ip);
  std::memcpy(&bytes[sizeof ethernet + sizeof ip], &number, sizeof number);
  return bytes;
}

std::uint32_t number_of(const std::vector<std::byte>& frame) {
  std::uint32_t n;
  std::memcpy(&n, &frame[sizeof(rte_ether_hdr) + sizeof(rte_ipv4_hdr)], sizeof n);
  return n;
}

rte_ipv4_hdr ip_of(const std::vector<std::byte>& frame) {
  rte_ipv4_hdr ip;
  std::memcpy(&ip, &frame[sizeof(rte_ether_hdr)], sizeof ip);
  return ip;
}

/// Sends `count` frames, one a microsecond, and waits until all have left.
std::vector<std::vector<std::byte>> run(nd::test::pool& pool, const fault_spec& spec,
                                        std::uint32_t count, std::uint8_t ecn = 2) {
  recording_port::log log;
  fault_port port(std::make_unique<recording_port>(log), spec);
  instant now = start;
  for (std::uint32_t i = 0; i < count; ++i) {
    rte_mbuf* m = pool.packet(frame_bytes(i, ecn));
    REQUIRE(port.tx_burst(now, {&m, 1}) == 1);
    port.tick(now);
    now = now + duration::microseconds(1);
  }
  port.tick(now + duration::microseconds(100));
  CHECK(pool.in_use() == 0);
  return log.frames;
}

std::string refusal(const char* text) {
  try {
    static_cast<void>(parse_fault_spec(text));
  } catch (const std::system_error& e) {
    CHECK(e.code() == nd::errc::bad_option);
    return e.what();
  }
  return {};
}

/// Within five standard deviations of `p` of `n`.
bool about(std::size_t hits, double p, double n) {
  return std::abs(static_cast<double>(hits) - p * n) <= 5 * std::sqrt(n * p * (1 - p));
}

}  // namespace

TEST_CASE("a fault spec says what it names, and the rest is 0", "[fault_port]") {
  const auto all =
      parse_fault_spec("loss=0.01,dup=0.02,reorder=0.05,corrupt=0.001,ecn=0.25,seed=77");
  CHECK(all.loss == 0.01);
  CHECK(all.dup == 0.02);
  CHECK(all.reorder == 0.05);
  CHECK(all.corrupt == 0.001);
  CHECK(all.ecn == 0.25);
  CHECK(all.seed == 77);
  for (const char* none : {"", "seed=1"}) {
    const auto spec = parse_fault_spec(none);
    CHECK(spec.loss + spec.dup + spec.reorder + spec.corrupt + spec.ecn == 0);
    CHECK(spec.seed == 1);
  }
  CHECK(parse_fault_spec("loss=1").loss == 1);
  CHECK(parse_fault_spec("seed=18446744073709551615").seed == ~std::uint64_t{0});
}

TEST_CASE("a wrong fault spec is told what would be right", "[fault_port]") {
  using Catch::Matchers::Contains;
  for (const char* wrong :
       {"loss", "loss=", "=0.1", "loss=x", "loss=0.1x", "loss=-0.1", "loss=1.1", "loss=1e9",
        "lost=0.1", "loss=0.1,,dup=0.1", "seed=-1", "seed=x", "seed=", "seed=0.5", " loss=0.1",
        "loss =0.1", ",", "loss=0.1;dup=0.1", "loss=inf"}) {
    CAPTURE(wrong);
    CHECK_THAT(refusal(wrong), Contains("for example loss="));
  }
  CHECK_THAT(refusal("loss=0.1,dupp=0.5"), Contains("'dupp=0.5'") && Contains("reorder"));
}

TEST_CASE("not-a-number is not a probability", "[fault_port]") {
  CHECK_FALSE(refusal("loss=nan").empty());
  CHECK_FALSE(refusal("corrupt=-nan").empty());
}

TEST_CASE("without faults everything leaves at once and in order", "[fault_port]") {
  nd::test::pool pool(64);
  const auto frames = run(pool, {}, 1000);
  REQUIRE(frames.size() == 1000);
  for (std::uint32_t i = 0; i < 1000; ++i) REQUIRE(frames[i] == frame_bytes(i));
}

TEST_CASE("the same seed makes the same faults, another seed others", "[fault_port]") {
  nd::test::pool pool(64);
  fault_spec spec = parse_fault_spec("loss=0.1,dup=0.1,reorder=0.2,corrupt=0.1,ecn=0.1,seed=5");
  const auto first = run(pool, spec, 1000);
  CHECK(run(pool, spec, 1000) == first);
  spec.seed = 6;
  CHECK(run(pool, spec, 1000) != first);
}

TEST_CASE("rates are about those asked for", "[fault_port]") {
  nd::test::pool pool(256);
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2, 3));
  CAPTURE(seed);
  constexpr std::uint32_t count = 10'000;
  fault_spec spec;
  spec.seed = seed;
  const double p = GENERATE(0.01, 0.2, 1.0);
  CAPTURE(p);
  SECTION("loss") {
    spec.loss = p;
    CHECK(about(count - run(pool, spec, count).size(), p, count));
  }
  SECTION("duplicates") {
    spec.dup = p;
    const auto frames = run(pool, spec, count);
    CHECK(about(frames.size() - count, p, count));
    std::map<std::uint32_t, unsigned> copies;
    for (const auto& f : frames) ++copies[number_of(f)];
    CHECK(copies.size() == count);
    for (const auto& [n, times] : copies) REQUIRE(times <= 2);
  }
  SECTION("corruption: one bit anywhere") {
    spec.corrupt = p;
    const auto frames = run(pool, spec, count);
    REQUIRE(frames.size() == count);
    std::size_t hits = 0;
    std::vector<bool> turned(frames[0].size() * 8);
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto whole = frame_bytes(i);
      REQUIRE(frames[i].size() == whole.size());
      unsigned bits = 0;
      for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        const auto differs = (frames[i][bit / 8] ^ whole[bit / 8]) >> (bit % 8) & std::byte{1};
        if (differs == std::byte{0}) continue;
        ++bits;
        turned[bit] = true;
      }
      REQUIRE(bits <= 1);
      hits += bits;
    }
    CHECK(about(hits, p, count));
    if (p >= 0.9) CHECK(std::ranges::count(turned, false) == 0);
  }
  SECTION("marks") {
    spec.ecn = p;
    std::size_t marks = 0;
    for (const auto& f : run(pool, spec, count)) marks += (ip_of(f).type_of_service & 3) == 3;
    CHECK(about(marks, p, count));
  }
  SECTION("reordering: nothing is lost, and nothing is held for long") {
    spec.reorder = p;
    const auto frames = run(pool, spec, count);
    REQUIRE(frames.size() == count);
    std::vector<bool> seen(count);
    std::size_t late = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const std::uint32_t n = number_of(frames[i]);
      REQUIRE_FALSE(seen[n]);
      seen[n] = true;
      if (n < i) ++late;
    }
    if (p < 1) CHECK(late > 0);
  }
}

TEST_CASE("a mark keeps the IP checksum right, and is only for who understands it",
          "[fault_port]") {
  nd::test::pool pool(64);
  fault_spec spec;
  spec.ecn = 1;
  for (const std::uint8_t ecn : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{3}}) {
    for (const auto& f : run(pool, spec, 10, ecn)) {
      rte_ipv4_hdr ip = ip_of(f);
      CHECK(ip.type_of_service == (0x28 | 3));
      const std::uint16_t checksum = ip.hdr_checksum;
      ip.hdr_checksum = 0;
      CHECK(checksum == rte_ipv4_cksum(&ip));
    }
  }
  const auto not_ect = run(pool, spec, 10, 0);
  for (std::uint32_t i = 0; i < 10; ++i) CHECK(not_ect[i] == frame_bytes(i, 0));
}

TEST_CASE("what is not an IPv4 packet is not marked", "[fault_port]") {
  nd::test::pool pool(8);
  recording_port::log log;
  fault_spec spec;
  spec.ecn = 1;
  fault_port port(std::make_unique<recording_port>(log), spec);
  auto arp = frame_bytes(1);
  arp[12] = std::byte{8};
  arp[13] = std::byte{6};
  const auto runt = std::vector<std::byte>(20, std::byte{0xff});
  for (const auto& bytes : {arp, runt}) {
    rte_mbuf* m = pool.packet(bytes);
    REQUIRE(port.tx_burst(start, {&m, 1}) == 1);
    CHECK(log.frames.back() == bytes);
  }
}

TEST_CASE("corruption does not touch the bytes that the sender may send again", "[fault_port]") {
  nd::test::pool pool(64);
  recording_port::log log;
  fault_spec spec;
  spec.corrupt = 1;
  spec.dup = 0.5;
  fault_port port(std::make_unique<recording_port>(log), spec);
  const auto bytes = frame_bytes(7);
  rte_mbuf* mine = pool.packet(bytes);
  for (int i = 0; i < 100; ++i) {
    rte_mbuf_refcnt_update(mine, 1);
    rte_mbuf* m = mine;
    REQUIRE(port.tx_burst(start, {&m, 1}) == 1);
    REQUIRE(rte_mbuf_refcnt_read(mine) == 1);
    REQUIRE(std::ranges::equal(nd::mbuf_bytes(mine), bytes));
  }
  for (const auto& f : log.frames) CHECK(f != bytes);
  rte_pktmbuf_free(mine);
}

TEST_CASE("a held frame lets 1 to 8 others pass, and waits 100 us at most", "[fault_port]") {
  nd::test::pool pool(64);
  recording_port::log log;
  fault_spec spec;
  spec.reorder = 1;
  fault_port port(std::make_unique<recording_port>(log), spec);
  std::vector<rte_mbuf*> frames;
  for (std::uint32_t i = 0; i < 5; ++i) frames.push_back(pool.packet(frame_bytes(i)));
  REQUIRE(port.tx_burst(start, frames) == 5);
  CHECK(log.frames.empty());  // all are held: none passes another
  port.tick(start + duration::microseconds(100) - duration(1));
  CHECK(log.frames.empty());
  CHECK(log.ticks == 1);
  port.tick(start + duration::microseconds(100));
  CHECK(log.frames.size() == 5);
  CHECK(log.ticks == 2);
}

TEST_CASE("no frame is overtaken by more than eight others", "[fault_port]") {
  nd::test::pool pool(64);
  fault_spec spec;
  spec.reorder = 0.2;
  spec.seed = static_cast<std::uint64_t>(GENERATE(range(1, 6)));
  CAPTURE(spec.seed);
  const auto frames = run(pool, spec, 3000);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::size_t later_before = 0;
    for (std::size_t j = i > 30 ? i - 30 : 0; j < i; ++j)
      later_before += number_of(frames[j]) > number_of(frames[i]) ? 1 : 0;
    REQUIRE(later_before <= 16);  // eight that were not held, and those that these released
  }
}

TEST_CASE("a device that is full gets the frames later; what is behind is refused",
          "[fault_port]") {
  nd::test::pool pool(600);
  recording_port::log log;
  log.room = 0;
  fault_port port(std::make_unique<recording_port>(log), {});
  std::vector<rte_mbuf*> frames;
  for (std::uint32_t i = 0; i < 400; ++i) frames.push_back(pool.packet(frame_bytes(i)));
  std::span<rte_mbuf*> rest(frames);
  std::size_t taken = port.tx_burst(start, rest);
  CHECK(taken < 400);
  CHECK(port.tx_burst(start, rest.subspan(taken)) == 0);
  for (int i = 0; i < 100 && log.frames.size() < 400; ++i) {
    log.room = 7;
    port.tick(start);
    taken += port.tx_burst(start, rest.subspan(taken));
  }
  REQUIRE(log.frames.size() == 400);
  for (std::uint32_t i = 0; i < 400; ++i) REQUIRE(number_of(log.frames[i]) == i);
}

TEST_CASE("a port that ends frees what it held", "[fault_port]") {
  nd::test::pool pool(64);
  recording_port::log log;
  log.room = 2;
  {
    fault_spec spec;
    spec.reorder = 0.5;
    fault_port port(std::make_unique<recording_port>(log), spec);
    for (std::uint32_t i = 0; i < 20; ++i) {
      rte_mbuf* m = pool.packet(frame_bytes(i));
      REQUIRE(port.tx_burst(start, {&m, 1}) == 1);
    }
  }
  CHECK(log.frames.size() == 2);
}

TEST_CASE("without an mbuf for a copy the fault is a loss, or none", "[fault_port]") {
  nd::test::pool pool(4);
  recording_port::log log;
  fault_spec spec;
  spec.dup = 1;
  spec.corrupt = GENERATE(0.0, 1.0);
  fault_port port(std::make_unique<recording_port>(log), spec);
  rte_mbuf* m = pool.packet(frame_bytes(1));
  pool.leave(0);
  REQUIRE(port.tx_burst(start, {&m, 1}) == 1);
  CHECK(log.frames.size() == (spec.corrupt > 0 ? 0 : 1));
}

// The device would compute a right checksum over the wrong bytes.
TEST_CASE("where frames are corrupted, the checksum is not left to the device", "[fault_port]") {
  recording_port::log log;
  log.capabilities.tx_udp_checksum = true;
  fault_spec spec;
  CHECK(fault_port(std::make_unique<recording_port>(log), spec).capabilities().tx_udp_checksum);
  spec.corrupt = 0.1;
  CHECK_FALSE(
      fault_port(std::make_unique<recording_port>(log), spec).capabilities().tx_udp_checksum);
}
