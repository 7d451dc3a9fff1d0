// The EAL and the mbufs of a fuzz program: made once, for all of its inputs.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "unit/support/eal.hpp"
#include "unit/support/host_pools.hpp"

namespace nd::fuzz {

inline void start_eal(const std::string& program) {
  static const test::eal started(program);
  if (started.started()) return;
  std::fputs("fuzz: rte_eal_init failed\n", stderr);
  std::exit(2);
}

}  // namespace nd::fuzz
