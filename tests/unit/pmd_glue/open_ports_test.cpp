// A pair of queues for each io lcore, and how packets are brought to the right one.
#ifdef ND_FAKE_DEVICES

#include <catch2/catch.hpp>
#include <optional>
#include <set>

#include "nd/endpoint.hpp"
#include "pmd_glue/rss_steering.hpp"
#include "unit/support/captured_log.hpp"
#include "unit/support/opened_nic.hpp"

using namespace nd::test;
using nd::pmd::rss_facts;
using nd::pmd::udp_flow;

namespace {

/// As the runtime opens ports for several io lcores.
struct opened_ports {
  opened_ports(fake_nic& nic, unsigned lcores,
               std::map<std::string, std::string, std::less<>> more = {})
      : values(settings_for(nic, with_encap(std::move(more)))),
        mtu(nd::pmd::port_mtu(values)),
        mbufs(4096, static_cast<std::uint16_t>(nd::pmd::rx_data_room(mtu))),
        ports(nd::pmd::open_ports(values, mtu, mbufs.get(), lcores, &rss)) {}

  static std::map<std::string, std::string, std::less<>> with_encap(
      std::map<std::string, std::string, std::less<>> more) {
    more.try_emplace("encap", "udp");
    more.try_emplace("rx_descriptors", "128");
    return more;
  }

  /// What there is for one port.
  std::size_t drain(std::size_t i) {
    std::array<rte_mbuf*, 64> frames{};
    const std::size_t n = ports.at(i)->rx_burst(nd::instant{}, frames);
    rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(n));
    return n;
  }
  std::size_t send(std::size_t i, std::size_t count) {
    std::vector<rte_mbuf*> frames(count);
    for (rte_mbuf*& m : frames) {
      m = rte_pktmbuf_alloc(mbufs.get());
      std::memset(rte_pktmbuf_append(m, 60), 0, 60);
    }
    return ports.at(i)->tx_burst(nd::instant{}, frames);
  }

  nd::settings values;
  std::uint16_t mtu;
  pool mbufs;
  std::optional<rss_facts> rss;
  std::vector<std::unique_ptr<nd::port>> ports;
};

constexpr std::uint16_t nd_port = 9019;

fate arrive(fake_nic& nic, std::uint16_t source) {
  return nic.inject(
      frame_for(nic, {.protocol = IPPROTO_UDP, .source_port = source, .port = nd_port}));
}

std::string key_text(unsigned seed) {
  std::string key;
  std::uint32_t x = seed * 2654435761u + 1;
  for (int i = 0; i < 40; ++i) {
    x = x * 1664525 + 1013904223;
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", x >> 24);
    key += hex.data();
  }
  return key;
}

}  // namespace

TEST_CASE("each io lcore has a port, which polls its pair of queues alone", "[open_ports]") {
  const unsigned lcores = GENERATE(2u, 3u, 8u);
  CAPTURE(lcores);
  fake_nic nic;
  {
    opened_ports o(nic, lcores);
    REQUIRE(o.ports.size() == lcores);
    CHECK(nic.queue_count() == lcores);
    CHECK(nic.send_queue_count() == (lcores < 8 ? 2 * lcores : lcores));
    std::set<std::uint16_t> used;
    for (std::uint16_t source = 0; source < 64; ++source) {
      const fate f = arrive(nic, source);
      REQUIRE(f.to == fate::queue);
      used.insert(f.index);
      for (std::size_t i = 0; i < lcores; ++i)
        if (i != f.index) CHECK(o.drain(i) == 0);
      CHECK(o.drain(f.index) == 1);
    }
    CHECK(used.size() == lcores);
    for (std::size_t i = 0; i < lcores; ++i) CHECK(o.send(i, i + 1) == i + 1);
    for (std::uint16_t i = 0; i < lcores; ++i) CHECK(nic.sent_on(i) == i + 1u);
    CHECK(o.mbufs.in_use() == 0);
    // ARP has no RSS.
    auto arp = arp_frame();
    CHECK(nic.inject(arp) == to_queue(0));
    CHECK(o.drain(0) == 1);

    nic.set_link(false);
    for (const auto& p : o.ports) CHECK_FALSE(p->link_up());
    nic.set_link(true);
    for (const auto& p : o.ports) CHECK(p->link_up());

    CHECK(nic.starts() == 1);
    // The device lives as long as any of its ports.
    o.ports.erase(o.ports.begin());
    CHECK(nic.started());
    CHECK(o.send(0, 1) == 1);
  }
  CHECK_FALSE(nic.started());
  CHECK(nic.violations() == texts{});
}

TEST_CASE("a port counts the frames of its own that the driver refuses", "[open_ports]") {
  fake_nic_traits traits;
  traits.refuses = [](const rte_mbuf&) { return true; };
  fake_nic nic(traits);
  opened_ports o(nic, 2);
  CHECK(o.send(1, 3) == 3);
  CHECK(o.ports[0]->tx_refused() == 0);
  CHECK(o.ports[1]->tx_refused() == 3);
}

TEST_CASE("with too few queues, or without RSS, there is one port", "[open_ports]") {
  fake_nic_traits traits;
  std::string encap = "udp";
  SECTION("for receiving") {
    traits.max_rx_queues = 3;
  }
  SECTION("for sending") {
    traits.max_tx_queues = 1;
  }
  SECTION("RSS") {
    traits.rss_types = 0;
  }
  SECTION("RSS for protocol 19") {
    traits.rss_types = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
    encap = "ip";
  }
  fake_nic nic(traits);
  opened_ports o(nic, 4, {{"encap", encap}});
  CHECK(o.ports.size() == 1);
  CHECK(nd::pmd::count_ports(o.values, 4) == 1);
  CHECK_FALSE(o.rss);
  CHECK(nic.queue_count() == 1);
  CHECK(nic.send_queue_count() == std::min<std::size_t>(traits.max_tx_queues, 2));
  std::size_t n = 0;
  for (std::uint16_t source = 0; source < 20; ++source) n += arrive(nic, source) == to_queue(0);
  CHECK(n == 20);
  CHECK(o.drain(0) == 20);
}

TEST_CASE("the log says why there is one port", "[open_ports]") {
  const auto log_of = [](fake_nic_traits traits, unsigned lcores) {
    const nd::test::captured_log log;
    fake_nic nic(std::move(traits));
    const opened_ports o(nic, lcores);
    return log.text();
  };
  CHECK(log_of({.max_rx_queues = 3}, 4)
            .find("the device has 3 pairs of queues: the first of 4 io "
                  "lcores polls it for all") != std::string::npos);
  CHECK(log_of({.rss_types = 0}, 2).find("the device has no RSS for encap=udp") !=
        std::string::npos);
  CHECK(log_of({}, 4).find("io lcores") == std::string::npos);
  CHECK(log_of({.max_rx_queues = 3}, 1).find("io lcores") == std::string::npos);
}

TEST_CASE("one io lcore polls as many queues as rx_queues says", "[open_ports]") {
  fake_nic nic;
  opened_ports o(nic, 1, {{"rx_queues", "4"}});
  CHECK(o.ports.size() == 1);
  CHECK(nic.queue_count() == 4);
  CHECK(nic.send_queue_count() == 1);
  for (std::uint16_t source = 0; source < 32; ++source) arrive(nic, source);
  CHECK(o.drain(0) == 32);
}

TEST_CASE("in isolated mode a rule for each lcore takes the channel id out of the source port",
          "[open_ports]") {
  const unsigned lcores = GENERATE(2u, 4u, 8u);
  CAPTURE(lcores);
  fake_nic nic;
  opened_ports o(nic, lcores, {{"isolate", "on"}});
  REQUIRE(o.ports.size() == lcores);
  REQUIRE(nic.rules().size() >= lcores);
  const std::string dst = "eth / ipv4 dst is 10.0.0.1 / udp dst is 9019 src spec ";
  const std::string mask = " src mask " + std::to_string(lcores - 1);
  CHECK(nic.rules()[0] == dst + "1" + mask + " / end actions queue index 0 / end");
  CHECK(nic.rules()[lcores - 1] ==
        dst + "0" + mask + " / end actions queue index " + std::to_string(lcores - 1) + " / end");
  for (const std::uint32_t id : {1u, 2u, 7u, 8u, 100u, 16383u, 16384u, 16385u, 70001u, ~0u}) {
    CAPTURE(id);
    const auto source = static_cast<std::uint16_t>(49152 + id % 16384);
    const auto lcore = static_cast<std::uint16_t>((id - 1) % lcores);
    CHECK(arrive(nic, source) == to_queue(lcore));
  }
  // Whatever the source port is, somebody gets it.
  for (std::uint16_t source = 0; source < 64; ++source)
    CHECK(arrive(nic, source).to == fate::queue);
  CHECK_FALSE(o.rss);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("where a rule for one lcore is refused, or their number is no power of two, RSS spreads",
          "[open_ports]") {
  fake_nic_traits traits;
  unsigned lcores = 2;
  std::string queues = "0 1";
  SECTION("refused: the second of them") {
    traits.dislikes = [](const std::string& rule) -> const char* {
      return rule.find("src spec 0") != std::string::npos ? "no" : nullptr;
    };
  }
  SECTION("three") {
    lcores = 3;
    queues = "0 1 2";
  }
  fake_nic nic(traits);
  opened_ports o(nic, lcores, {{"isolate", "on"}});
  CHECK(o.ports.size() == lcores);
  CHECK(nic.rules()[0] == "eth / ipv4 dst is 10.0.0.1 / udp dst is 9019 / end actions rss queues " +
                              queues + " end / end");
  for (const std::string& rule : nic.rules()) CHECK(rule.find("src spec") == std::string::npos);
  // The rule's table is the driver's own.
  CHECK_FALSE(o.rss);
  std::array<unsigned, 3> hits{};
  for (std::uint16_t source = 0; source < 64; ++source) ++hits.at(arrive(nic, source).index);
  CHECK(hits[0] > 8);
  CHECK(hits[1] > 8);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("protocol 19 has no port: one rule with RSS over the addresses", "[open_ports]") {
  fake_nic nic;
  const opened_ports o(nic, 2, {{"isolate", "on"}, {"encap", "ip"}});
  CHECK(nic.rules()[0] ==
        "eth / ipv4 dst is 10.0.0.1 proto is 19 / end actions rss queues 0 1 end / end");
}

TEST_CASE("one lcore with several queues has RSS over them, and no rule by lcore", "[open_ports]") {
  fake_nic nic;
  const opened_ports o(nic, 1, {{"isolate", "on"}, {"rx_queues", "2"}});
  CHECK(nic.rules()[0] ==
        "eth / ipv4 dst is 10.0.0.1 / udp dst is 9019 / end actions rss queues 0 1 end / end");
}

TEST_CASE("pools are asked to outgrow the queues of all ports", "[open_ports]") {
  fake_nic nic;
  const auto values = settings_for(nic, {});
  CHECK(nd::pmd::port_rx_pool_needs(values, 1500, 4).reserved == 3 * 512);
  CHECK(nd::pmd::port_tx_held(values, 4) == 8 * 512);
  CHECK(nd::pmd::port_tx_held(values, 8) == 8 * 512);  // the device has no more
  CHECK(nd::pmd::port_tx_held(settings_for(nic, {{"class_queues", "off"}}), 4) == 4 * 512);
  const auto udp = settings_for(nic, {{"encap", "udp"}});
  CHECK(nd::pmd::count_ports(udp, 8) == 8);
  CHECK(nd::pmd::count_ports(udp, 9) == 1);
  CHECK(nd::pmd::count_ports(udp, 1) == 1);
}

TEST_CASE("RSS takes a packet to the queue that was computed", "[open_ports]") {
  const unsigned lcores = GENERATE(range(2u, 9u));
  const auto reta_size = static_cast<std::uint16_t>(GENERATE(64, 128, 512));
  const unsigned seed = GENERATE(0u, 1u, 2u);
  const bool shuffled = GENERATE(false, true);
  CAPTURE(lcores, reta_size, seed, shuffled);
  fake_nic_traits traits;
  traits.reta_size = reta_size;
  if (shuffled) traits.reta_entry = [](unsigned i) { return i * 7 / 3 + i / 5; };
  fake_nic nic(traits);
  opened_ports o(nic, lcores, {{"rss_key", seed == 0 ? "" : key_text(seed)}});
  REQUIRE(o.rss);
  CHECK(o.rss->reta.size() == reta_size);
  std::set<std::uint16_t> hit;
  for (std::uint32_t source = 49152; source < 65536; source += 97) {
    const auto port = static_cast<std::uint16_t>(source);
    const std::uint16_t queue = queue_of(*o.rss, {others, ours, port, nd_port});
    REQUIRE(arrive(nic, port) == to_queue(queue));
    hit.insert(queue);
  }
  CHECK(hit.size() == lcores);
}

TEST_CASE("the hash is the one of RSS's published examples", "[open_ports]") {
  const std::vector<std::uint8_t> key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                      0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                      0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                      0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
  rss_facts rss{key, std::vector<std::uint16_t>(65536 / 2)};
  for (std::size_t i = 0; i < rss.reta.size(); ++i) rss.reta[i] = static_cast<std::uint16_t>(i);
  const auto ip = [](const char* text) { return nd::address(text).to_uint(); };
  CHECK(queue_of(rss, {ip("66.9.149.187"), ip("161.142.100.80"), 2794, 1766}) ==
        (0x51ccc178 & 0x7fff));
  CHECK(queue_of(rss, {ip("199.92.111.2"), ip("65.69.140.83"), 14230, 4739}) ==
        (0xc626b0ea & 0x7fff));
}

TEST_CASE("a device that does not say how it hashes is not guessed at", "[open_ports]") {
  fake_nic_traits traits;
  SECTION("no key") {
    traits.rss_key_size = 0;
  }
  SECTION("no table") {
    traits.reta_size = 0;
  }
  SECTION("addresses only") {
    traits.rss_types = RTE_ETH_RSS_IPV4;
  }
  fake_nic nic(traits);
  const opened_ports o(nic, 2);
  CHECK(o.ports.size() == 2);
  CHECK_FALSE(o.rss);
}

#endif  // ND_FAKE_DEVICES
