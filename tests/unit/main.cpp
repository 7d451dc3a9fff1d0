// The unit tests' main: one EAL for all of them, without root, hugepages or a device.
#include <cstdio>

#include "catch_main.hpp"
#include "unit/support/eal.hpp"

int main(int argc, char** argv) {
  const nd::test::eal eal("unit");
  if (!eal.started()) {
    std::fputs("unit: rte_eal_init failed\n", stderr);
    return 2;
  }
  return run_catch(argc, argv);
}
