// Sharing a NIC with the kernel, against one that checks what it is asked for and steers by it.
#include "pmd_glue/steering.hpp"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <rte_ethdev.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string_view>

#include "unit/support/opened_nic.hpp"

using namespace nd::test;
using nd::pmd::flow_match;
using nd::pmd::flow_wish;
using nd::pmd::plan_rules;
using nd::pmd::steering_needs;

namespace {

std::vector<std::string> first_choices(const steering_needs& needs) {
  std::vector<std::string> warnings, out;
  for (const flow_wish& w : plan_rules(needs, warnings)) out.push_back(w.matches.front().text());
  for (const std::string& w : warnings) out.push_back("warning: " + w.substr(0, 10));
  return out;
}

}  // namespace

TEST_CASE("who has our address decides which rules are asked for") {
  const std::string nd_ip = "eth / ipv4 dst is 10.0.0.1 proto is 19";
  const std::string arp = "eth type is 0x0806";
  const std::string ping = "eth / ipv4 dst is 10.0.0.1 proto is 1";
  // The kernel has it: ping stays there.
  CHECK(
      first_choices(
          {.ip = ours, .kernel_has_ip = true, .kernel_ips = {others, ours}, .arp_copied = true}) ==
      texts{nd_ip});
  CHECK(first_choices({.ip = ours, .kernel_ips = {others}, .arp_copied = true}) ==
        texts{nd_ip, ping});
  CHECK(first_choices({.ip = ours, .udp = true, .udp_port = 9019, .arp_copied = true}) ==
        texts{"eth / ipv4 dst is 10.0.0.1 / udp dst is 9019", ping});
  // No copies of ARP: it can be taken from a kernel that does not need it.
  CHECK(first_choices({.ip = ours}) == texts{nd_ip, ping, arp});
  CHECK(first_choices({.ip = ours, .kernel_ips = {others}}) ==
        texts{nd_ip, ping, "warning: the kernel"});
  CHECK(first_choices({.ip = ours, .kernel_has_ip = true, .kernel_ips = {ours}}) ==
        texts{nd_ip, "warning: the kernel"});

  // All that is sent to an address is taken only where the address is ours alone.
  std::vector<std::string> warnings;
  const auto shared = plan_rules({.ip = ours, .kernel_has_ip = true}, warnings);
  CHECK(shared[0].matches ==
        std::vector<flow_match>{{.destination = ours, .protocol = 19}, {.protocol = 19}});
  const auto alone = plan_rules({.ip = ours}, warnings);
  CHECK(alone[0].matches == std::vector<flow_match>{{.destination = ours, .protocol = 19},
                                                    {.protocol = 19},
                                                    {.destination = ours}});
}

#ifdef ND_FAKE_DEVICES

TEST_CASE("in isolated mode ND comes here and all else stays with the kernel") {
  const bool udp = GENERATE(false, true);
  CAPTURE(udp);
  fake_nic nic;
  {
    opened o(nic, {{"isolate", "on"}, {"encap", udp ? "udp" : "ip"}});
    CHECK(nic.isolated());
    const std::string nd = udp ? "eth / ipv4 dst is 10.0.0.1 / udp dst is 9019"
                               : "eth / ipv4 dst is 10.0.0.1 proto is 19";
    const std::string queue = " / end actions queue index 0 / end";
    CHECK(nic.rules() == texts{nd + queue, "eth / ipv4 dst is 10.0.0.1 proto is 1" + queue,
                               "eth type is 0x0806" + queue});
    const frame_kind udp_kind{.protocol = IPPROTO_UDP, .port = 9019};
    const frame_kind mine = udp ? udp_kind : frame_kind{};
    const frame_kind not_mine = udp ? frame_kind{} : udp_kind;
    CHECK(nic.inject(frame_for(nic, mine)) == to_queue(0));
    CHECK(nic.inject(arp_frame()) == to_queue(0));
    CHECK(nic.inject(frame_for(nic, ping)) == to_queue(0));
    CHECK(o.drain() == 3);
    CHECK(nic.inject(frame_for(nic, not_mine)) == to_kernel);
    CHECK(nic.inject(frame_for(nic, ssh)) == to_kernel);
    frame_kind elsewhere = mine;
    elsewhere.to = others;
    CHECK(nic.inject(frame_for(nic, elsewhere)) == to_kernel);
    frame_kind kernels_ping = ping;
    kernels_ping.to = others;
    CHECK(nic.inject(frame_for(nic, kernels_ping)) == to_kernel);
    CHECK(nic.inject(frame_for(nic, {.protocol = IPPROTO_UDP, .port = 53})) == to_kernel);
    CHECK(o.drain() == 0);
  }
  CHECK(nic.rules_at_stop() == 0);
  CHECK(nic.rules().empty());
  CHECK_FALSE(nic.started());
  CHECK(nic.violations() == texts{});
}

TEST_CASE("on the kernel's own address, ARP and ping stay with the kernel") {
  fake_nic nic({.interface = loopback});
  const opened o(nic, {{"isolate", "on"}, {"ip", "127.0.0.1/8"}});
  CHECK(nic.rules() ==
        texts{"eth / ipv4 dst is 127.0.0.1 proto is 19 / end actions queue index 0 / end"});
  frame_kind to_us;
  to_us.to = 0x7f000001;
  CHECK(nic.inject(frame_for(nic, to_us)) == to_queue(0));
  to_us.protocol = IPPROTO_ICMP;
  CHECK(nic.inject(frame_for(nic, to_us)) == to_kernel);
  CHECK(nic.inject(arp_frame()) == to_kernel);
}

TEST_CASE("beside an address of the kernel's, ARP stays with the kernel") {
  fake_nic nic({.interface = loopback});
  const opened o(nic, {{"isolate", "on"}});
  CHECK(nic.inject(arp_frame()) == to_kernel);
  CHECK(nic.inject(frame_for(nic, ping)) == to_queue(0));
  CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
}

TEST_CASE("ARP that stays with the kernel comes here as copies") {
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    WARN("not tested: packet sockets need CAP_NET_RAW");
    return;
  }
  fake_nic nic({.interface = loopback});
  opened o(nic, {{"isolate", "on"}, {"ip", "127.0.0.1/8"}});
  auto frame = arp_frame();
  constexpr std::string_view mark = "of the steering test";
  std::ranges::transform(mark, frame.begin() + 30, [](char c) { return std::byte(c); });
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETH_P_ARP);
  to.sll_ifindex = loopback;
  CHECK(::sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                 sizeof to) == static_cast<ssize_t>(frame.size()));
  ::close(fd);
  unsigned copies = 0;
  nd::instant now(1'000'000'000);
  for (int turn = 0; turn < 1000; ++turn) {
    std::array<rte_mbuf*, 32> burst{};
    const std::size_t n = o.port->rx_burst(now, burst);
    now = now + nd::duration::milliseconds(1);
    for (rte_mbuf* m : std::span(burst).first(n))
      copies += m->data_len == frame.size() &&
                std::memcmp(rte_pktmbuf_mtod(m, const void*), frame.data(), frame.size()) == 0;
    rte_pktmbuf_free_bulk(burst.data(), static_cast<unsigned>(n));
  }
  CHECK(copies == 1);
}

TEST_CASE("a rule that validate refuses is not created, and the next best is") {
  fake_nic_traits traits;
  traits.dislikes = [](const std::string& rule) -> const char* {
    return rule.find("dst is 10.0.0.1 proto") != std::string::npos ? "two fields are too many"
                                                                   : nullptr;
  };
  fake_nic nic(traits);
  const opened o(nic, {{"isolate", "on"}});
  const std::string queue = " / end actions queue index 0 / end";
  CHECK(nic.rules() == texts{"eth / ipv4 proto is 19" + queue, "eth type is 0x0806" + queue});
  CHECK(nic.refused() ==
        texts{"eth / ipv4 dst is 10.0.0.1 proto is 19" + queue + ": two fields are too many",
              "eth / ipv4 dst is 10.0.0.1 proto is 1" + queue + ": two fields are too many"});
  CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
  CHECK(nic.inject(frame_for(nic, ssh)) == to_kernel);
  CHECK(nic.inject(frame_for(nic, ping)) == to_kernel);
  CHECK(nic.violations() == texts{});
}

TEST_CASE("a device that steers by address alone gives us our address, where it is ours alone") {
  fake_nic_traits traits;
  traits.dislikes = [](const std::string& rule) -> const char* {
    return rule.find("proto is") != std::string::npos ? "no match on the protocol" : nullptr;
  };
  fake_nic nic(traits);
  const opened o(nic, {{"isolate", "on"}});
  CHECK(nic.rules()[0] == "eth / ipv4 dst is 10.0.0.1 / end actions queue index 0 / end");
  CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
  frame_kind elsewhere = ssh;
  elsewhere.to = others;
  CHECK(nic.inject(frame_for(nic, elsewhere)) == to_kernel);
}

TEST_CASE("isolate=on that can't be kept is an error that says why") {
  fake_nic_traits traits;
  SECTION("no rte_flow") {
    traits.has_flow_rules = false;
  }
  SECTION("no isolated mode") {
    traits.can_isolate = false;
  }
  SECTION("no rule") {
    traits.dislikes = [](const std::string&) { return "nothing is good enough"; };
  }
  fake_nic nic(traits);
  const std::string error = error_of([&] { opened(nic, {{"isolate", "on"}}); });
  CAPTURE(error);
  CHECK(error.find("net_fake") != std::string::npos);
  CHECK(error.find("setting isolate=on can't be kept") != std::string::npos);
  const std::string reason = traits.dislikes         ? "takes no flow rule for ND's packets"
                             : traits.has_flow_rules ? "isolated mode not supported"
                                                     : "refuses isolated mode";
  CHECK(error.find(reason) != std::string::npos);
  CHECK(nic.rules().empty());
  CHECK_FALSE(nic.started());
  CHECK(nic.violations() == texts{});
}

TEST_CASE("isolated mode is not tried on virtual devices, nor where it is off") {
  // net_tap has an interface and can isolate; what it left to the kernel would come back to it.
  fake_nic nic({.interface = loopback});
  const std::string isolate = GENERATE("auto", "off");
  const opened o(nic, {{"isolate", isolate}});
  CHECK_FALSE(nic.isolated());
  CHECK(nic.rules().empty());
  CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
  CHECK(nic.inject(frame_for(nic, ssh)) == to_queue(0));
  CHECK(nic.violations() == texts{});
}

namespace {

/// What ethdev_port does around nic_sharing, on a NIC that the kernel has too.
struct shared_port {
  explicit shared_port(fake_nic& nic, const std::string& isolate = "auto")
      : id(nic.port_id()), mbufs(1024) {
    rte_eth_dev_info info{};
    REQUIRE(rte_eth_dev_info_get(id, &info) == 0);
    sharing = std::make_unique<nd::pmd::nic_sharing>(settings_for(nic, {{"isolate", isolate}}),
                                                     info, true);
    const rte_eth_conf conf{};
    REQUIRE(rte_eth_dev_configure(id, 1, 1, &conf) == 0);
    REQUIRE(rte_eth_rx_queue_setup(id, 0, 64, 0, nullptr, mbufs.get()) == 0);
    REQUIRE(rte_eth_tx_queue_setup(id, 0, 64, 0, nullptr) == 0);
    REQUIRE(rte_eth_dev_start(id) == 0);
    if (sharing->install({.queues = {0}})) return;
    REQUIRE(rte_eth_dev_stop(id) == 0);
    sharing->leave_isolated_mode();
    REQUIRE(rte_eth_dev_start(id) == 0);
  }
  ~shared_port() {
    if (sharing) sharing->remove();
    rte_eth_dev_stop(id);
    rte_eth_dev_close(id);
  }

  std::uint16_t id;
  pool mbufs;
  std::unique_ptr<nd::pmd::nic_sharing> sharing;
};

}  // namespace

TEST_CASE("isolate=auto shares a NIC that the kernel has too") {
  fake_nic nic;
  const shared_port port(nic);
  CHECK(nic.isolated());
  CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
  CHECK(nic.inject(frame_for(nic, ssh)) == to_kernel);
}

TEST_CASE("isolate=auto goes on without, where the kernel does not use the interface") {
  fake_nic_traits traits;
  unsigned starts = 1;
  SECTION("no isolated mode") {
    traits.can_isolate = false;
  }
  SECTION("no rule for ND's packets: isolated mode is left again") {
    traits.dislikes = [](const std::string& rule) -> const char* {
      return rule.find("ipv4") != std::string::npos ? "no IPv4 here" : nullptr;
    };
    starts = 2;
  }
  fake_nic nic(traits);
  const shared_port port(nic);
  CHECK_FALSE(nic.isolated());
  CHECK(nic.started());
  CHECK(nic.starts() == starts);
  CHECK(nic.rules().empty());
  CHECK(nic.inject(frame_for(nic, {})) == to_queue(0));
  CHECK(nic.violations() == texts{});
}

TEST_CASE("isolate=auto does not cut the kernel off an interface it uses") {
  fake_nic_traits traits;
  traits.interface = loopback;
  SECTION("no isolated mode") {
    traits.can_isolate = false;
  }
  SECTION("no rule for ND's packets") {
    traits.dislikes = [](const std::string&) { return "no"; };
  }
  fake_nic nic(traits);
  const std::string error = error_of([&] { shared_port{nic}; });
  CAPTURE(error);
  CHECK(
      error.find("would take all frames from the kernel, which uses the interface as 127.0.0.1") !=
      std::string::npos);
  CHECK(error.find("setting isolate=off does so") != std::string::npos);
  CHECK(nic.rules().empty());
}

#endif  // ND_FAKE_DEVICES
