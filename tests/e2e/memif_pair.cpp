#include "memif_pair.hpp"

#include <sched.h>

namespace nd::e2e {

std::string cpu_list(bool server) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) cpus.push_back(cpu);
  return std::to_string(server ? cpus.front() : cpus.back());
}

}  // namespace nd::e2e
