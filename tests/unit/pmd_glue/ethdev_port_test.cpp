// Queues, RSS, offloads and sizes, against a NIC that checks what it is asked for.
#ifdef ND_FAKE_DEVICES

#include <catch2/catch.hpp>
#include <set>

#include "unit/support/opened_nic.hpp"

using namespace nd::test;

TEST_CASE("RSS spreads UDP over the queues by its source port") {
  const std::string isolate = GENERATE("on", "off");
  CAPTURE(isolate);
  fake_nic nic;
  std::string key;
  for (int i = 0; i < 40; ++i) key += i % 3 == 0 ? "6d" : "a4";
  opened o(nic, {{"isolate", isolate}, {"encap", "udp"}, {"rx_queues", "4"}, {"rss_key", key}});
  CHECK(nic.queue_count() == 4);
  CHECK(nic.rss_types() == RTE_ETH_RSS_NONFRAG_IPV4_UDP);
  if (isolate == "on")
    CHECK(nic.rules()[0] ==
          "eth / ipv4 dst is 10.0.0.1 / udp dst is 9019 / end actions rss queues 0 1 2 3 end / "
          "end");
  std::array<unsigned, 4> hits{};
  for (std::uint16_t source = 0; source < 256; ++source) {
    const auto frame =
        frame_for(nic, {.protocol = IPPROTO_UDP, .source_port = source, .port = 9019});
    const fate f = nic.inject(frame);
    REQUIRE(f.to == fate::queue);
    CHECK(nic.inject(frame) == f);
    ++hits.at(f.index);
  }
  CAPTURE(hits);
  for (const unsigned h : hits) CHECK(h >= 256 / 4 / 2);
  CHECK(o.drain() == 512);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("without a key of ours the driver's own is used; another key spreads otherwise") {
  const auto queues_of = [](const std::string& key) {
    fake_nic nic;
    const opened o(
        nic, {{"encap", "udp"}, {"rx_queues", "8"}, {"rx_descriptors", "64"}, {"rss_key", key}});
    std::vector<std::uint16_t> out;
    for (std::uint16_t source = 1; source <= 64; ++source)
      out.push_back(
          nic.inject(frame_for(nic, {.protocol = 17, .source_port = source, .port = 9019})).index);
    return out;
  };
  std::string own;
  for (unsigned i = 0; i < 40; ++i) {
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", (i * 0x4f + 0x1b) & 255);
    own += hex.data();
  }
  CHECK(queues_of("") == queues_of(own));
  CHECK(queues_of("") != queues_of(std::string(78, '5') + "01"));
}

TEST_CASE("protocol 19 spreads by address, and not at all where the device has no RSS for it") {
  fake_nic_traits traits;
  SECTION("addresses") {}
  SECTION("none") {
    traits.rss_types = 0;
  }
  const std::size_t queues = traits.rss_types != 0 ? 4 : 1;
  fake_nic nic(traits);
  opened o(nic, {{"isolate", "on"}, {"rx_queues", "4"}});
  std::set<std::uint16_t> used;
  for (std::uint32_t host = 1; host <= 200; ++host) {
    const fate f = nic.inject(frame_for(nic, {.from = 0x0a000000 + host}));
    REQUIRE(f.to == fate::queue);
    used.insert(f.index);
  }
  CHECK(used.size() == queues);
  CHECK(o.drain() == 200);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("a device that has no RSS action steers to one queue") {
  fake_nic_traits traits;
  traits.dislikes = [](const std::string& rule) -> const char* {
    return rule.find("actions rss") != std::string::npos ? "no RSS action" : nullptr;
  };
  fake_nic nic(traits);
  opened o(nic, {{"isolate", "on"}, {"encap", "udp"}, {"rx_queues", "4"}});
  CHECK(nic.rules()[0] ==
        "eth / ipv4 dst is 10.0.0.1 / udp dst is 9019 / end actions queue index 0 / end");
}

TEST_CASE("a queue that is never empty does not starve the others") {
  fake_nic nic;
  opened o(nic, {{"encap", "udp"}, {"rx_queues", "2"}});
  std::array<std::vector<std::byte>, 2> frames;
  for (std::uint16_t source = 0; frames[0].empty() || frames[1].empty(); ++source) {
    const auto f = frame_for(nic, {.protocol = 17, .source_port = source, .port = 9019});
    frames.at(nic.inject(f).index) = f;
    o.drain();
  }
  const auto source_of = [](const rte_mbuf* m) {
    return rte_pktmbuf_mtod_offset(m, const rte_udp_hdr*, 34)->src_port;
  };
  for (const auto& f : frames)
    for (int i = 0; i < 100; ++i) nic.inject(f);
  std::set<std::uint16_t> seen;
  for (int turn = 0; turn < 2; ++turn) {
    std::array<rte_mbuf*, 32> burst{};
    REQUIRE(o.port->rx_burst(nd::instant{}, burst) == burst.size());
    for (rte_mbuf* m : burst) seen.insert(source_of(m));
    rte_pktmbuf_free_bulk(burst.data(), burst.size());
  }
  CHECK(seen.size() == 2);
}

TEST_CASE("pools are asked to outgrow the device's queues") {
  fake_nic nic;  // takes 64 to 4096 receive descriptors
  const auto reserved = [&](const std::string& descriptors, const std::string& queues) {
    const auto values = settings_for(nic, {{"rx_descriptors", descriptors}, {"rx_queues", queues}});
    return nd::pmd::port_rx_pool_needs(values, 1500).reserved;
  };
  CHECK(reserved("512", "1") == 0);
  CHECK(reserved("64", "1") == 0);
  CHECK(reserved("4096", "1") == 4096 - 512);
  CHECK(reserved("32768", "1") == 4096 - 512);
  CHECK(reserved("512", "4") == 3 * 512);
  CHECK(nd::pmd::port_tx_held(settings_for(nic, {{"tx_descriptors", "2048"}})) == 2 * 2048);
}

TEST_CASE("bad queue and key settings are refused with what would be right") {
  fake_nic nic;
  const auto error = [&](const std::string& name, const std::string& value) {
    return error_of([&] { opened(nic, {{name, value}}); });
  };
  CHECK(error("rx_queues", "9").find("setting rx_queues: ethdev port") != std::string::npos);
  const std::string hungry = error_of([&] {
    opened(nic, {{"rx_queues", "8"}, {"rx_descriptors", "256"}});
  });
  CHECK(hungry.find("hold 2048 mbufs of 2048") != std::string::npos);
  CHECK(error("rss_key", "6d5a").find("40 bytes as hex digits") != std::string::npos);
  CHECK(error("rss_key", std::string(79, 'a')).find("40 bytes") != std::string::npos);
  CHECK(error("rss_key", std::string(78, 'a') + "g1").find("40 bytes") != std::string::npos);
  fake_nic keyless({.rss_key_size = 0});
  CHECK(error_of([&] {
          opened(keyless, {{"rss_key", "6d"}});
        }).find("takes no key") != std::string::npos);
}

TEST_CASE("descriptors and MTU are what the device takes") {
  fake_nic_traits traits;
  traits.rx_descriptors = {256, 128, 32, 0, 0};
  traits.max_mtu = 1400;
  fake_nic nic(traits);
  {
    const opened o(nic, {});
    CHECK(o.mtu == 1400);
    CHECK(nic.rx_descriptors(0) == 256);  // 512 was asked for
  }
  fake_nic another(traits);
  const opened o(another, {{"rx_descriptors", "100"}, {"mtu", "1000"}});
  CHECK(another.rx_descriptors(0) == 128);
  auto frame = frame_for(another, {});
  frame.resize(1014);
  CHECK(another.inject(frame) == to_queue(0));
  frame.resize(1015);
  CHECK(another.inject(frame) == fate{});
  fake_nic third(traits);
  CHECK(error_of([&] {
          opened(third, {{"mtu", "1500"}});
        }).find("576 .. 1400") != std::string::npos);
}

TEST_CASE("the link is the device's") {
  fake_nic nic;
  const opened o(nic, {});
  CHECK(o.port->link_up());
  nic.set_link(false);
  CHECK_FALSE(o.port->link_up());
}

TEST_CASE("only offloads that the device has, and that are of use, are asked for") {
  fake_nic_traits traits;
  const bool udp = GENERATE(false, true);
  const bool capable = GENERATE(false, true);
  if (!capable) traits.rx_offloads = traits.tx_offloads = 0;
  fake_nic nic(traits);
  const opened o(nic, {{"encap", udp ? "udp" : "ip"}});
  const bool used = udp && capable;
  CHECK(nic.rx_offloads() == (used ? RTE_ETH_RX_OFFLOAD_UDP_CKSUM : 0));
  CHECK(nic.tx_offloads() == (used ? RTE_ETH_TX_OFFLOAD_UDP_CKSUM : 0));
  CHECK(o.port->capabilities().tx_udp_checksum == used);
}

TEST_CASE("frames with an offload are prepared by the driver; one that it refuses is dropped") {
  const bool udp = GENERATE(true, false);
  const auto room = static_cast<std::uint16_t>(GENERATE(64, 3));
  CAPTURE(udp, room);
  fake_nic_traits traits;
  traits.tx_room = room;
  const auto number = [](const rte_mbuf& m) {
    return *rte_pktmbuf_mtod_offset(&m, const std::uint8_t*, 60);
  };
  // The first, the last, and two in a row.
  const std::set<int> bad{0, 5, 6, 11};
  traits.refuses = [&](const rte_mbuf& m) { return bad.contains(number(m)); };
  fake_nic nic(traits);
  {
    const opened o(nic, {{"encap", udp ? "udp" : "ip"}});
    std::vector<rte_mbuf*> frames;
    for (std::uint8_t i = 0; i < 12; ++i) {
      frames.push_back(rte_pktmbuf_alloc(o.mbufs.get()));
      std::memset(rte_pktmbuf_append(frames.back(), 100), i, 100);
      if (!udp) continue;
      frames.back()->ol_flags = RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4;
      frames.back()->l2_len = 14;
      frames.back()->l3_len = 20;
    }
    for (int bursts = 0; bursts < 12 && !frames.empty(); ++bursts)
      frames.erase(frames.begin(),
                   frames.begin() + static_cast<long>(o.port->tx_burst(nd::instant{}, frames)));
    CHECK(frames.empty());
    CHECK(o.port->tx_refused() == (udp ? bad.size() : 0));
    std::vector<int> left;
    for (const auto& frame : nic.sent()) left.push_back(std::to_integer<int>(frame.at(60)));
    CHECK(left == (udp ? std::vector{1, 2, 3, 4, 7, 8, 9, 10}
                       : std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
    CHECK((nic.prepares() > 0) == udp);
    CHECK(nic.violations() == texts{});
    CHECK(o.mbufs.in_use() == 0);
  }
}

#endif  // ND_FAKE_DEVICES
