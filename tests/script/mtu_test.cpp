// The path's MTU: probes, their answers, and black holes.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

constexpr std::size_t around = 20 + 28 + 4;  // IPv4, channel header, CRC32C

/// The payload of a full packet.
constexpr std::size_t payload(std::size_t mtu) {
  return mtu - around - 16;
}

/// As the host knows it.
std::size_t path_mtu(script& s) {
  std::size_t mtu = 0;
  s.host().for_each_channel([&](const core::channel& c) { mtu = c.mtu().current(); });
  return mtu;
}

/// The probe in flight is lost, and a ping tells so: its acknowledgement does not cover it.
void lose_probe(script& s) {
  const std::int64_t lost = s.end().seen - 1;
  s.expect_within(200_ms, ping());
  s.send(ack({{lost + 1, lost + 1}}).acking(lost));
}

TEST_CASE("The largest packet is probed first, before data", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.peer_opens();
  s.expect(probe(1500));
  s.expect_nothing();  // one at a time
  s.send(ack());
  CHECK(path_mtu(s) == 1500);
  s.expect_nothing(10_s);
}

TEST_CASE("The probe passes, and full packets follow", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.listen();
  s.peer_opens();
  s.expect(probe(1500));
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket a = s.accept();
  script::write(a, text(2000));
  s.expect(data(bytes(0, text(payload(1500)))).of_size(1500));
  s.expect(data(bytes(payload(1500), text(2000 - payload(1500), payload(1500)))));
  s.send(ack());
}

TEST_CASE("Data does not wait for the probe", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.listen();
  s.peer_opens();
  s.expect(probe(1500));
  s.end().held = 0;
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack({{1, 1}}));
  app_socket a = s.accept();
  script::write(a, text(payload(1200) + 1));
  s.expect(data(bytes(0, text(payload(1200)))).of_size(1200));
  s.ignore_for(1_ms);
}

TEST_CASE("The smaller of both ends' devices bounds the search", "[mtu]") {
  script s;
  s.mtu = 1400;
  s.peer_opens();
  s.expect(probe(1400));
  s.send(ack());
  CHECK(path_mtu(s) == 1400);
  s.expect_nothing(10_ms);
}

TEST_CASE("A peer with a larger device is sent no more than ours", "[mtu]") {
  script s;
  s.mtu = 9000;
  s.peer_opens();
  s.expect(probe(1500));
  s.send(ack());
  CHECK(s.value(&counters::mtu_differs) == 1);
}

TEST_CASE("A peer with a small device is not probed at all", "[mtu]") {
  const std::uint16_t mtu = GENERATE(std::uint16_t{1000}, std::uint16_t{1200});
  script s;
  s.mtu = mtu;
  s.peer_opens();
  s.expect_nothing(10_s);
  CHECK(path_mtu(s) == mtu);
}

TEST_CASE("A size that is lost three times is too large: the middle is next", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.peer_opens();
  const std::uint64_t window_events = s.value(&counters::congestion_events);
  for (int i = 0; i < 3; ++i) {
    s.expect_within(100_us, probe(1500));
    lose_probe(s);
  }
  s.expect_within(100_us, probe(1350));
  s.send(ack({{s.end().seen - 1, s.end().seen - 1}}));
  CHECK(path_mtu(s) == 1350);
  s.expect_within(100_us, probe(1425));
  for (int i = 0; i < 2; ++i) {
    lose_probe(s);
    s.expect_within(100_us, probe(1425));
  }
  lose_probe(s);
  s.expect_within(100_us, probe(1387));
  s.send(ack({{s.end().seen - 1, s.end().seen - 1}}));
  CHECK(path_mtu(s) == 1387);
  s.expect_within(100_us, probe(1406));
  s.send(ack({{s.end().seen - 1, s.end().seen - 1}}));
  CHECK(path_mtu(s) == 1406);
  s.expect_nothing(100_us);  // closer than 32 bytes
  // The loss of a probe says nothing about congestion.
  CHECK(s.value(&counters::congestion_events) == window_events);
  CHECK(s.value(&counters::packets_lost) == 6);
}

TEST_CASE("The search begins again after 600 s", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.peer_opens();
  std::size_t at_least = 1200, too_large = 1501;
  instant ended;
  while (at_least + 32 < too_large) {
    const auto sent = s.ignore_for(100_ms);
    REQUIRE_FALSE(sent.empty());
    // A path of 1300 bytes; all pings pass.
    std::vector<range> arrived;
    for (const packet& p : sent) {
      s.end().seen = *p.number + 1;
      if (p.kind == packet_kind::data) {
        arrived.insert(arrived.begin(), {*p.number, *p.number});
      } else if (*p.ip_size <= 1300) {
        at_least = *p.ip_size;
        arrived.insert(arrived.begin(), {*p.number, *p.number});
      } else {
        too_large = std::min(too_large, *p.ip_size);
      }
    }
    if (!arrived.empty()) s.send(ack(arrived).acking(0));  // the first of all was lost
    ended = s.now();
  }
  s.ignore_for(200_ms);
  s.send(ack());
  s.expect_nothing(590_s);
  s.expect_within(11_s, probe(1500));
  CHECK(s.now() - ended >= 599_s);
  s.send(ack());
  CHECK(path_mtu(s) == 1500);
}

TEST_CASE("Ten large packets lost, but a probe of their size arrives: no black hole", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.grant = 1'000'000;
  s.listen();
  s.peer_opens();
  s.expect(probe(1500));
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket a = s.accept();
  script::write(a, text(payload(1500) * 10));
  for (std::uint64_t i = 0; i < 10; ++i)
    s.expect(data(bytes(i * payload(1500), text(payload(1500), i * payload(1500)))));
  s.expect_within(1_ms, ping());
  s.send(ack({{12, 12}}).acking(2));
  s.expect_within(60_us, probe(1500));  // before the bytes that were lost
  s.send(ack({{12, 13}}).acking(2));
  CHECK(s.value(&counters::mtu_black_holes) == 0);
  CHECK(path_mtu(s) == 1500);
  const auto again = s.ignore_for(1_ms);
  REQUIRE_FALSE(again.empty());
  CHECK(*again[0].ip_size == 1500);
  s.ignore_for(2_s);
}

TEST_CASE("Bytes of a black hole are cut anew", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.grant = 1'000'000;
  s.listen();
  s.peer_opens();
  s.expect(probe(1500));
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket a = s.accept();
  const std::string all = text(payload(1500) * 12);
  script::write(a, all);
  std::string got(all.size(), '?');
  std::size_t probes = 0;
  std::int64_t next = s.end().seen;
  // A peer that acknowledges each packet of up to 1300 bytes, one by one.
  std::vector<range> arrived;
  for (int i = 0; i < 3000 && a.unacknowledged() > 0; ++i) {
    for (const packet& p : s.ignore_for(100_us)) {
      if (p.kind == packet_kind::probe && *p.ip_size == 1500) ++probes;
      if (!p.number || *p.number < next || *p.ip_size > 1300) continue;
      arrived.insert(arrived.begin(), {*p.number, *p.number});
      if (arrived.size() > 32) arrived.pop_back();
      for (const record& r : p.records)
        if (r.type == record_type::data) got.replace(*r.seq, r.bytes->size(), *r.bytes);
    }
    if (!arrived.empty()) s.send(ack(arrived).acking(next));
  }
  CHECK(a.unacknowledged() == 0);
  CHECK(got == all);
  CHECK(s.value(&counters::mtu_black_holes) == 1);
  CHECK(probes == 3);  // the suspicion was looked into
  CHECK(path_mtu(s) <= 1300);
  s.ignore_for(5_s);
}

TEST_CASE("A peer's probe is acknowledged like data, whatever it holds", "[mtu]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(probe(1500));
  s.expect(ack());
  packet odd = probe(600);
  odd.records = {bytes(0, "this is padding")};
  s.send(odd);
  s.expect(ack());
  CHECK(s.read(a).empty());
  s.send_in_vain(probe(1400).numbered(1), &counters::drop_duplicate);
}

TEST_CASE("A frame of which the device kept only the beginning", "[mtu]") {
  script s;
  app_socket a = s.peer_connects();
  std::vector<std::byte> frame = s.encoded(probe(1500));
  frame.resize(1300);
  s.send_raw(frame);
  CHECK(s.value(&counters::drop_cut) == 1);
  s.expect_nothing(10_ms);
}

TEST_CASE("Probes over UDP count its header", "[mtu][udp]") {
  script s({.udp = true});
  s.mtu = 1500;
  s.listen();
  s.peer_opens();
  s.expect(probe(1500));
  s.send(data(sync()));
  s.expect(data(sync_ack()));
  s.send(ack());
  app_socket a = s.accept();
  script::write(a, text(3000));
  s.expect(data(bytes(0, text(1428))).of_size(1500));
  s.ignore_for(10_us);
}

TEST_CASE("Each channel searches for itself", "[mtu]") {
  script s;
  s.mtu = 1500;
  s.peer_opens();
  s.expect(probe(1500));
  s.send(ack());
  s.peer_opens(1);
  s.expect(probe(1500).on_channel(1));
  s.send(ack().on_channel(1));
}

}  // namespace
}  // namespace nd::script
