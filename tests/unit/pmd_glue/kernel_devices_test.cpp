// What is made of --vdev arguments before the EAL starts, on the loopback interface.
#include "pmd_glue/kernel_devices.hpp"

#include <catch2/catch.hpp>
#include <system_error>
#include <vector>

#include "nd/error.hpp"
#include "pmd_glue/netdev.hpp"

using nd::pmd::prepare_kernel_devices;

namespace {

std::string prepared(const std::string& vdev) {
  std::vector<std::string> args{"app", "--vdev=" + vdev};
  prepare_kernel_devices(args);
  return args[1].substr(7);
}

}  // namespace

TEST_CASE("net_af_packet gets slots for the interface's packets", "[kernel]") {
  const std::vector<nd::pmd::netdev> all = nd::pmd::list_netdevs();
  const nd::pmd::netdev* lo = nd::pmd::find_by_name(all, "lo");
  REQUIRE(lo != nullptr);
  CHECK(nd::pmd::find_by_index(all, lo->index) == lo);
  if (lo->mtu < 9000) {
    WARN("skipped: the loopback interface has an MTU of " << lo->mtu);
    return;
  }
  const std::string large = ",framesz=16384,blocksz=16384";
  CHECK(prepared("net_af_packet0,iface=lo") == "net_af_packet0,iface=lo" + large + ",framecnt=256");
  CHECK(prepared("eth_af_packet0,iface=lo,framecnt=64") ==
        "eth_af_packet0,iface=lo,framecnt=64" + large);
  for (const char* said : {"net_af_packet0,iface=lo,framesz=4096", "net_ring0,iface=nothing",
                           "net_af_packet0,iface=lo,blocksz=65536"})
    CHECK(prepared(said) == said);
}

TEST_CASE("net_af_xdp keeps the program that it is given", "[kernel]") {
  const std::string said = "net_af_xdp0,iface=lo,xdp_prog=/some/where.o";
  CHECK(prepared(said) == said);
}

TEST_CASE("An interface that is not there, or not named, is refused", "[kernel]") {
  for (const char* vdev :
       {"net_af_packet0,iface=no-such-if", "net_af_xdp0,iface=no-such-if", "net_af_packet0",
        "net_af_xdp0", "net_af_packet0,iface=", "net_af_packet0,iface=a-name-that-is-too-long"}) {
    CAPTURE(vdev);
    try {
      prepared(vdev);
      FAIL("was not refused");
    } catch (const std::system_error& e) {
      CHECK(e.code() == nd::errc::no_device);
      CHECK(std::string(e.what()).find(vdev) != std::string::npos);
    }
  }
}
