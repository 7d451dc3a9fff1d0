// From an interface's name to EAL arguments (option --dev).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pmd_glue/netdev.hpp"

namespace nd::pmd {

/// What the machine lets this process do.
struct machine_facts {
  std::string no_xdp;     ///< why there can be no AF_XDP socket on the interface; empty: there can
  std::string no_packet;  ///< the same of a packet socket
  std::uint64_t free_hugepage_bytes = 0;
  std::vector<unsigned> cpus;  ///< that this process may use
  int process = 0;             ///< id
};

/// Tries things out, and undoes them.
machine_facts examine_machine(const netdev& device);

struct device_plan {
  std::vector<std::string> eal_args;  ///< those by hand, and behind them what they leave open
  std::vector<std::string> reasons;   ///< a line for each choice
};

/// Those of the process that are near the device; all, where that is not known.
std::vector<unsigned> near_cpus(const netdev& device, const machine_facts& facts);

/// Pure. `lcores`: what runs beside the application's, lcore 0. Arguments by hand win, each over
/// what would be chosen for the same thing. Throws std::system_error(errc::no_device) where the
/// interface can't be used.
device_plan plan_device(const netdev& device, const machine_facts& facts,
                        const std::vector<std::string>& by_hand, std::span<const unsigned> lcores);

/// The interface of that name. Throws std::system_error(errc::bad_option), with the nearest name.
const netdev& find_netdev(std::span<const netdev> all, std::string_view name);

}  // namespace nd::pmd
