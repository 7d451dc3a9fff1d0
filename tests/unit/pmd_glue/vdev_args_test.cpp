#include "pmd_glue/vdev_args.hpp"

#include <catch2/catch.hpp>

using nd::pmd::for_each_vdev;
using nd::pmd::vdev_args;

TEST_CASE("A vdev's name and keys", "[vdev]") {
  const vdev_args v("net_af_packet0,iface=eth1,framesz=2048,framesz=4096,empty=,flag");
  CHECK(v.name() == "net_af_packet0");
  CHECK(v.is("net_af_packet"));
  CHECK_FALSE(v.is("net_af_xdp"));
  CHECK(v.find("iface") == "eth1");
  CHECK(v.find("framesz") == "4096");
  CHECK(v.find("empty") == "");
  CHECK_FALSE(v.find("flag"));
  CHECK_FALSE(v.find("face"));
  CHECK_FALSE(v.find("net_af_packet0"));
  CHECK_FALSE(vdev_args("").find("iface"));
  CHECK_FALSE(vdev_args("net_ring0,").find(""));
}

TEST_CASE("Both spellings of --vdev are found and changed, up to the application's arguments",
          "[vdev]") {
  std::vector<std::string> args{"app",           "-l",          "0",  "--vdev",       "net_a0,k=1",
                                "--vdev=net_b0", "--vdevice=x", "--", "--vdev=net_c0"};
  std::vector<std::string> seen;
  for_each_vdev(args, [&](vdev_args& v) {
    seen.emplace_back(v.name());
    v.add("added", "yes");
  });
  CHECK(seen == std::vector<std::string>{"net_a0", "net_b0"});
  CHECK(args[4] == "net_a0,k=1,added=yes");
  CHECK(args[5] == "--vdev=net_b0,added=yes");
  CHECK(args[6] == "--vdevice=x");
  CHECK(args[8] == "--vdev=net_c0");

  std::vector<std::string> cut_off{"app", "--vdev"};
  for_each_vdev(cut_off, [](vdev_args&) { FAIL("there is no value"); });
  CHECK(cut_off.size() == 2);
}
