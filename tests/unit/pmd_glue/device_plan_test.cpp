// What --dev makes of an interface, and that EAL options by hand win, each one.
#include "pmd_glue/device_plan.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <system_error>

#include "nd/error.hpp"

using namespace nd;
using namespace nd::pmd;

namespace {

using words = std::vector<std::string>;

netdev ethernet(const std::string& name) {
  netdev d;
  d.name = name;
  d.index = 7;
  d.ethernet = d.up = d.running = true;
  return d;
}

machine_facts plain() {
  machine_facts facts;
  facts.cpus = {0, 1, 4};
  facts.process = 4711;
  return facts;
}

std::string refusal(const std::function<void()>& f, errc expected) {
  try {
    f();
  } catch (const std::system_error& e) {
    CHECK(e.code() == expected);
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("an interface runs on AF_XDP where the kernel takes it", "[dev]") {
  const device_plan plan = plan_device(ethernet("eth1"), plain(), {}, {});
  CHECK(plan.eal_args == words{"--no-pci", "--vdev=net_af_xdp0,iface=eth1", "--no-huge", "-m",
                               "256", "--lcores=0@(0,1,4)", "--file-prefix=nd-eth1-4711"});
  CHECK(plan.reasons.size() == 3);
}

TEST_CASE("packet sockets are the last resort, and the reason is told", "[dev]") {
  machine_facts facts = plain();
  facts.no_xdp = "loading an XDP program: Operation not permitted";
  const device_plan plan = plan_device(ethernet("eth1"), facts, {}, {});
  CHECK(std::ranges::count(plan.eal_args, "--vdev=net_af_packet0,iface=eth1") == 1);
  CHECK_THAT(plan.reasons.front(), Catch::Contains(facts.no_xdp));

  facts.no_packet = "Operation not permitted";
  CHECK_THAT(refusal([&] { plan_device(ethernet("eth1"), facts, {}, {}); }, errc::no_device),
             Catch::Contains("run as root") && Catch::Contains("eth1"));
}

TEST_CASE("mlx5 runs by its PCI address", "[dev]") {
  netdev d = ethernet("ens1f0np0");
  d.driver = "mlx5_core";
  d.pci = "0000:81:00.0";
  d.cpus = "4-7,12";
  machine_facts facts = plain();
  facts.free_hugepage_bytes = std::uint64_t{1} << 30;
  CHECK(plan_device(d, facts, {}, std::array{1U, 5U}).eal_args ==
        words{"-a", "0000:81:00.0", "--in-memory", "--lcores=0@(4),1@(4),5@(4)",
              "--file-prefix=nd-ens1f0np0-4711"});
  // A subfunction has no PCI address of its own, and who forbids PCI gets none.
  CHECK(plan_device(d, facts, {"--no-pci"}, {}).eal_args[1] ==
        "--vdev=net_af_xdp0,iface=ens1f0np0");
  d.pci.clear();
  CHECK(plan_device(d, facts, {}, {}).eal_args[1] == "--vdev=net_af_xdp0,iface=ens1f0np0");
}

TEST_CASE("what is said by hand is not chosen again", "[dev]") {
  struct row {
    words by_hand;
    std::string_view not_chosen;  ///< no argument of ours starts so
  };
  const std::vector<row> rows{
      {{"--vdev=net_af_packet0,iface=eth1"}, "--vdev=net_af_xdp"},
      {{"--vdev", "net_tap0"}, "--no-pci"},
      {{"-a", "0000:03:00.0"}, "--vdev"},
      {{"-a0000:03:00.0"}, "--no-pci"},
      {{"--allow=0000:03:00.0"}, "--vdev"},
      {{"-m", "512"}, "--no-huge"},
      {{"-m512"}, "--no-huge"},
      {{"--no-huge"}, "-m"},
      {{"--socket-mem=512"}, "--no-huge"},
      {{"--in-memory"}, "--no-huge"},
      {{"-l", "2"}, "--lcores"},
      {{"-l2"}, "--lcores"},
      {{"-c3"}, "--lcores"},
      {{"--lcores=0@5"}, "--lcores=0@("},
      {{"--file-prefix=mine"}, "--file-prefix=nd"},
      {{"--file-prefix", "mine"}, "--file-prefix=nd"},
  };
  const std::size_t full = plan_device(ethernet("eth1"), plain(), {}, {}).eal_args.size();
  for (const row& r : rows) {
    CAPTURE(r.by_hand);
    const words args = plan_device(ethernet("eth1"), plain(), r.by_hand, {}).eal_args;
    CHECK(std::equal(r.by_hand.begin(), r.by_hand.end(), args.begin()));
    const auto ours = args.begin() + static_cast<std::ptrdiff_t>(r.by_hand.size());
    CHECK(std::none_of(ours, args.end(),
                       [&](const std::string& a) { return a.starts_with(r.not_chosen); }));
    CHECK(static_cast<std::size_t>(args.end() - ours) < full);  // and the rest is
  }
  // Others change nothing.
  CHECK(plan_device(ethernet("eth1"), plain(), {"--log-level=nd:error"}, {}).eal_args.size() ==
        full + 1);
}

TEST_CASE("an interface that can't be used is refused by what to do", "[dev]") {
  std::vector<netdev> all{ethernet("lo"), ethernet("eth0"), ethernet("wlan0")};
  all[0].ethernet = false;
  all[2].up = false;
  CHECK(&find_netdev(all, "eth0") == &all[1]);
  const auto find = [&all](const char* name) {
    return refusal([&] { find_netdev(all, name); }, errc::bad_option);
  };
  CHECK_THAT(find("eht0"),
             Catch::Contains("did you mean 'eth0'") && Catch::Contains("lo, eth0, wlan0"));
  CHECK_THAT(find("nothing-like-it"), !Catch::Contains("did you mean"));
  CHECK_THAT(find("lo"), Catch::Contains("not an Ethernet interface"));
  CHECK_THAT(find("wlan0"), Catch::Contains("is down: ip link set wlan0 up"));
}

TEST_CASE("the kernel's list has its loopback", "[dev]") {
  const std::vector<netdev> all = list_netdevs();
  const auto lo = std::ranges::find(all, "lo", &netdev::name);
  REQUIRE(lo != all.end());
  CHECK(lo->index > 0);
  CHECK_FALSE(lo->ethernet);
  if (lo->up) {
    CHECK(std::ranges::count(lo->addresses, netdev::address{0x7f000001, 8}) == 1);
  }
  const auto link = watch_netdev(*lo, true);
  CHECK(link->has_our_address());
  const auto first = link->next();
  REQUIRE(first);
  CHECK(first->what == (lo->running ? kernel_news::kind::link_up : kernel_news::kind::link_down));
}
