// Queues of a NIC for the latency class alone: which it has, and what is sent and brought there.
#ifdef ND_FAKE_DEVICES

#include "pmd_glue/class_queues.hpp"

#include <poll.h>

#include <catch2/catch.hpp>
#include <set>

#include "pmd_glue/ethdev_device.hpp"
#include "unit/support/opened_nic.hpp"

using namespace nd::test;

namespace {

using options = std::map<std::string, std::string, std::less<>>;

constexpr std::uint8_t latency_tos = 34 << 2;
constexpr std::uint8_t throughput_tos = 10 << 2;
constexpr std::uint16_t nd_port = 9019;

struct classed {
  classed(fake_nic& nic, unsigned lcores, options more, std::uint8_t tos = latency_tos,
          unsigned mbuf_count = 4096)
      : values(settings_for(nic, with_descriptors(std::move(more)))),
        mtu(nd::pmd::port_mtu(values)),
        mbufs(mbuf_count, static_cast<std::uint16_t>(nd::pmd::rx_data_room(mtu))),
        ports(nd::pmd::open_ports(values, mtu, mbufs.get(), lcores, nullptr, tos)) {}

  static options with_descriptors(options more) {
    more["rx_descriptors"] = "128";
    return more;
  }

  /// What there is of others and of the latency class for one port.
  std::pair<std::size_t, std::size_t> drain(std::size_t i) {
    std::array<rte_mbuf*, 64> frames{};
    const auto freed = [&frames](std::size_t n) {
      rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(n));
      return n;
    };
    const std::size_t urgent = freed(ports.at(i)->rx_urgent(nd::instant{}, frames));
    return {freed(ports.at(i)->rx_burst(nd::instant{}, frames)), urgent};
  }
  std::size_t send(std::size_t i, std::size_t count, bool urgent) {
    std::vector<rte_mbuf*> frames(count);
    for (rte_mbuf*& m : frames) {
      m = rte_pktmbuf_alloc(mbufs.get());
      std::memset(rte_pktmbuf_append(m, 60), 0, 60);
    }
    return urgent ? ports.at(i)->tx_urgent(nd::instant{}, frames)
                  : ports.at(i)->tx_burst(nd::instant{}, frames);
  }

  nd::settings values;
  std::uint16_t mtu;
  pool mbufs;
  std::vector<std::unique_ptr<nd::port>> ports;
};

frame_kind udp_from(std::uint16_t source, std::uint8_t tos) {
  return {.protocol = IPPROTO_UDP, .source_port = source, .port = nd_port, .tos = tos};
}

std::string to(unsigned queue) {
  return " / end actions queue index " + std::to_string(queue) + " / end";
}

const std::string mine = "eth / ipv4 dst is 10.0.0.1 proto is 19";
const std::string by_dscp = " tos spec 136 tos mask 252";

}  // namespace

TEST_CASE("in isolated mode a rule before the others brings the latency class to its queue",
          "[class_queues]") {
  fake_nic nic;
  {
    classed o(nic, 1, {{"isolate", "on"}});
    CHECK(nic.rules() == texts{mine + by_dscp + to(1), "priority 1 " + mine + to(0),
                               "eth / ipv4 dst is 10.0.0.1 proto is 1" + to(0),
                               "eth type is 0x0806" + to(0)});
    CHECK(nic.queue_count() == 2);
    // Whatever its ECN says.
    for (const int ecn : {0, 1, 2, 3}) {
      CHECK(nic.inject(frame_for(nic, {.tos = static_cast<std::uint8_t>(latency_tos | ecn)})) ==
            to_queue(1));
      CHECK(nic.inject(frame_for(nic, {.tos = static_cast<std::uint8_t>(throughput_tos | ecn)})) ==
            to_queue(0));
    }
    // A network has taken the DSCP away.
    CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
    CHECK(o.drain(0) == std::pair<std::size_t, std::size_t>(5, 4));
    // What is not ND's, and what is another host's, stays with the kernel.
    frame_kind urgent_ssh = ssh;
    urgent_ssh.tos = latency_tos;
    CHECK(nic.inject(frame_for(nic, urgent_ssh)) == to_kernel);
    CHECK(nic.inject(frame_for(nic, {.to = others, .tos = latency_tos})) == to_kernel);
  }
  CHECK(nic.rules_at_stop() == 0);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("each io lcore has a rule, and a queue, for the latency class", "[class_queues]") {
  const auto lcores = static_cast<std::uint16_t>(GENERATE(2, 4));
  CAPTURE(lcores);
  fake_nic nic;
  classed o(nic, lcores, {{"isolate", "on"}, {"encap", "udp"}});
  REQUIRE(o.ports.size() == lcores);
  CHECK(nic.queue_count() == 2 * lcores);
  const auto rules = nic.rules();
  REQUIRE(rules.size() >= 2u * lcores);
  for (std::uint16_t i = 0; i < lcores; ++i) {
    const std::string source = " / udp dst is 9019 src spec " + std::to_string((i + 1) % lcores) +
                               " src mask " + std::to_string(lcores - 1);
    CHECK(rules[i] == "eth / ipv4 dst is 10.0.0.1" + by_dscp + source + to(lcores + i));
    CHECK(rules[lcores + i] == "priority 1 eth / ipv4 dst is 10.0.0.1" + source + to(i));
  }
  for (std::uint16_t source = 49152; source < 49152 + 32; ++source) {
    const fate bulk = nic.inject(frame_for(nic, udp_from(source, throughput_tos)));
    REQUIRE(bulk.index < lcores);
    CHECK(nic.inject(frame_for(nic, udp_from(source, latency_tos))) ==
          to_queue(static_cast<std::uint16_t>(lcores + bulk.index)));
    for (std::uint16_t i = 0; i < lcores; ++i) {
      const std::size_t own = i == bulk.index ? 1 : 0;
      CHECK(o.drain(i) == std::pair(own, own));
    }
  }
  CHECK(nic.violations() == texts{});
}

TEST_CASE("where RSS spreads packets over the lcores, it does so with both classes alike",
          "[class_queues]") {
  fake_nic nic;
  classed o(nic, 3, {{"isolate", "on"}});
  CHECK(nic.rules()[0] == mine + by_dscp + " / end actions rss queues 3 4 5 end / end");
  CHECK(nic.rules()[1] == "priority 1 " + mine + " / end actions rss queues 0 1 2 end / end");
  std::set<std::uint16_t> used;
  for (std::uint32_t from = others; from < others + 100; ++from) {
    const fate bulk = nic.inject(frame_for(nic, {.from = from}));
    REQUIRE(bulk.index < 3);
    used.insert(bulk.index);
    CHECK(nic.inject(frame_for(nic, {.from = from, .tos = latency_tos})).index == bulk.index + 3);
    CHECK(o.drain(bulk.index) == std::pair<std::size_t, std::size_t>(1, 1));
  }
  CHECK(used.size() == 3);
}

TEST_CASE("latency frames leave by a queue of their own", "[class_queues]") {
  const auto lcores = static_cast<std::uint16_t>(GENERATE(1, 2, 4));
  const std::string encap = GENERATE("ip", "udp");
  const std::string isolate = GENERATE("on", "off");
  CAPTURE(lcores, encap, isolate);
  fake_nic nic;
  classed o(nic, lcores, {{"encap", encap}, {"isolate", isolate}});
  REQUIRE(o.ports.size() == lcores);
  REQUIRE(nic.send_queue_count() == 2 * lcores);
  for (std::uint16_t i = 0; i < lcores; ++i) {
    CHECK(o.send(i, 1u + i, false) == 1u + i);
    CHECK(o.send(i, 10u + i, true) == 10u + i);
    CHECK(nic.sent_on(i) == 1u + i);
    CHECK(nic.sent_on(static_cast<std::uint16_t>(lcores + i)) == 10u + i);
  }
  CHECK(nic.violations() == texts{});
}

TEST_CASE("without a queue to receive from, or a rule for it, the classes share one",
          "[class_queues]") {
  fake_nic_traits traits;
  traits.rx_interrupts = fake_nic_traits::interrupts::given;
  options more{{"isolate", "on"}, {"idle", "sleep"}};
  std::uint8_t tos = latency_tos;
  unsigned mbufs = 4096;
  std::size_t queues = 1;  // 2: it was there before the rule was refused
  SECTION("no match on the DSCP") {
    traits.dislikes = [](const std::string& rule) -> const char* {
      return rule.find("tos") != std::string::npos ? "no such field" : nullptr;
    };
    queues = 2;
  }
  SECTION("no priorities: after the rule of the latency class, that of the others is refused") {
    traits.flow_priorities = 1;
    queues = 2;
  }
  SECTION("one queue") {
    traits.max_rx_queues = 1;
  }
  SECTION("class_queues=off") {
    more["class_queues"] = "off";
  }
  SECTION("no DSCP is told") {
    tos = 0;
  }
  SECTION("the pool is too small") {
    mbufs = 2 * 128 + 500;
  }
  fake_nic nic(traits);
  {
    classed o(nic, 1, more, tos, mbufs);
    CHECK(nic.queue_count() == queues);
    CHECK(nic.rules() == texts{mine + to(0), "eth / ipv4 dst is 10.0.0.1 proto is 1" + to(0),
                               "eth type is 0x0806" + to(0)});
    CHECK(nic.inject(frame_for(nic, {.tos = latency_tos})) == to_queue(0));
    CHECK(o.drain(0) == std::pair<std::size_t, std::size_t>(1, 0));
    CHECK(o.ports[0]->arm_rx_wake().told);
    CHECK(nic.interrupts_armed() == 1);  // nobody looks into the other one
    o.ports[0]->disarm_rx_wake();
  }
  CHECK(nic.rules_at_stop() == 0);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("if one lcore's rule is refused, RSS spreads that class, and that class alone",
          "[class_queues]") {
  const bool latency = GENERATE(true, false);
  CAPTURE(latency);
  fake_nic_traits traits;
  traits.dislikes = [latency](const std::string& rule) -> const char* {
    const bool of_latency = rule.find("tos") != std::string::npos;
    return of_latency == latency && rule.find("src spec 0") != std::string::npos ? "no" : nullptr;
  };
  fake_nic nic(traits);
  const classed o(nic, 2, {{"isolate", "on"}, {"encap", "udp"}});
  const std::string dst = "eth / ipv4 dst is 10.0.0.1";
  const std::string udp = " / udp dst is 9019";
  const std::string odd = udp + " src spec 1 src mask 1", even = udp + " src spec 0 src mask 1";
  const auto spread = [](const char* queues) {
    return " / end actions rss queues " + std::string(queues) + " end / end";
  };
  texts rules = nic.rules();
  rules.resize(3);
  if (latency)
    CHECK(rules == texts{dst + by_dscp + udp + spread("2 3"), "priority 1 " + dst + odd + to(0),
                         "priority 1 " + dst + even + to(1)});
  else
    CHECK(rules == texts{dst + by_dscp + odd + to(2), dst + by_dscp + even + to(3),
                         "priority 1 " + dst + udp + spread("0 1")});
}

TEST_CASE("outside isolated mode RSS does not know of queues of the latency class",
          "[class_queues]") {
  fake_nic nic;
  const classed o(nic, 2, {{"isolate", "off"}, {"encap", "udp"}});
  CHECK(nic.queue_count() == 2);
  for (std::uint16_t source = 0; source < 64; ++source)
    CHECK(nic.inject(frame_for(nic, udp_from(source, latency_tos))).index < 2);
}

TEST_CASE("who has to leave isolated mode has no queues for the latency class to come to",
          "[class_queues]") {
  fake_nic_traits traits;
  traits.rx_interrupts = fake_nic_traits::interrupts::given;
  traits.dislikes = [](const std::string& rule) -> const char* {
    return rule.find("ipv4") != std::string::npos ? "no IPv4 here" : nullptr;
  };
  fake_nic nic(traits);
  const auto values = settings_for(
      nic, {{"encap", "udp"}, {"idle", "sleep"}, {"rx_descriptors", "128"}, {"mtu", "1500"}});
  const auto info = nd::pmd::device_info(nic.port_id());
  const pool mbufs(4096, static_cast<std::uint16_t>(nd::pmd::rx_data_room(1500)));
  {
    nd::pmd::ethdev_device device(values, info, 1500, mbufs.get(), 2,
                                  {.tx = true, .rx = true, .tos = latency_tos}, true);
    CHECK(nic.queue_count() == 4);
    CHECK(nic.isolated());
    device.start();
    CHECK_FALSE(nic.isolated());
    CHECK(nic.starts() == 2);
    CHECK(nic.queue_count() == 2);
    CHECK_FALSE(device.receives_urgent());
    CHECK(device.sends_urgent());
    CHECK(device.rss());
    for (std::uint16_t source = 0; source < 64; ++source)
      CHECK(nic.inject(frame_for(nic, udp_from(source, latency_tos))).index < 2);
    for (const std::size_t port : {0u, 1u}) {
      REQUIRE(device.interrupts(port) != nullptr);
      CHECK(device.interrupts(port)->arm().told);
      CHECK(nic.interrupts_armed() == 1);
      device.interrupts(port)->disarm();
    }
  }
  CHECK(nic.violations() == texts{});
}

TEST_CASE("without a queue to send on, the classes share one", "[class_queues]") {
  fake_nic_traits traits;
  traits.rx_interrupts = fake_nic_traits::interrupts::given;
  options more{{"idle", "sleep"}};
  SECTION("one queue") {
    traits.max_tx_queues = 1;
  }
  SECTION("class_queues=off") {
    more["class_queues"] = "off";
  }
  SECTION("several queues by RSS") {
    more["rx_queues"] = "2";
  }
  SECTION("the device takes no more queues of one kind than of the other") {
    traits.queues_in_pairs = true;
  }
  fake_nic nic(traits);
  classed o(nic, 1, more);
  CHECK(nic.send_queue_count() == 1);
  CHECK(o.send(0, 3, true) == 3);
  CHECK(nic.sent_on(0) == 3);
  // It is not for want of interrupts.
  CHECK(nic.has_interrupts());
  CHECK(nic.violations() == texts{});
}

TEST_CASE("a frame of the latency class wakes the port whose it is", "[class_queues][interrupt]") {
  fake_nic_traits traits;
  traits.rx_interrupts = fake_nic_traits::interrupts::given;
  fake_nic nic(traits);
  classed o(nic, 2, {{"isolate", "on"}, {"encap", "udp"}, {"idle", "sleep"}});
  const auto told = [&](std::size_t port, std::uint16_t source) {
    const nd::rx_wake wake = o.ports[port]->arm_rx_wake();
    REQUIRE(wake.told);
    CHECK(nic.interrupts_armed() == 2);
    nic.inject(frame_for(nic, udp_from(source, latency_tos)));
    pollfd one{.fd = wake.fd, .events = POLLIN, .revents = 0};
    const bool is = ::poll(&one, 1, 0) == 1;
    o.ports[port]->disarm_rx_wake();
    CHECK(nic.interrupts_armed() == 0);
    return is;
  };
  CHECK(told(0, 1));
  CHECK(told(1, 2));
  CHECK_FALSE(told(0, 2));
  CHECK_FALSE(told(1, 1));
}

TEST_CASE("pools are asked to outgrow the latency class's queues too", "[class_queues]") {
  fake_nic nic;
  const auto reserved = [&](options more, unsigned ports) {
    return nd::pmd::port_rx_pool_needs(settings_for(nic, std::move(more)), 1500, ports).reserved;
  };
  CHECK(reserved({{"isolate", "on"}}, 1) == 512);
  CHECK(reserved({{"isolate", "on"}}, 4) == 7 * 512);
  CHECK(reserved({{"isolate", "on"}}, 8) == 7 * 512);  // the device has no more
  CHECK(reserved({{"isolate", "off"}}, 4) == 3 * 512);
}

#endif  // ND_FAKE_DEVICES
