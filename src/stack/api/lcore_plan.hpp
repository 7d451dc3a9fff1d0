// Which EAL lcore does what: io lcores, which run the loop, and dcopy lcores.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "pmd_glue/eal.hpp"
#include "sched/placement.hpp"

namespace nd::api {

/// What the settings say; nullopt: auto.
struct lcore_wishes {
  std::optional<std::vector<unsigned>> io;
  std::optional<std::vector<unsigned>> dcopy;
};
/// Throws std::system_error(errc::bad_option) for all that is wrong whatever lcores there are.
lcore_wishes parse_lcores(const settings& values);

/// Which lcores an EAL needs beside its main one, 0, where nobody has said (--dev): those that are
/// named, and for auto one for each other of so many CPUs.
std::vector<unsigned> lcores_to_have(const lcore_wishes& wishes, std::size_t cpus);

/// What there is.
struct lcore_facts {
  std::vector<pmd::eal_lcore> lcores;
  int device_node = -1;  ///< NUMA node; -1: unknown, or the machine has one
};

struct lcore_plan {
  std::vector<unsigned> io;  ///< none: inline
  std::vector<unsigned> dcopy;
};
/// auto takes lcores that are neither the main one nor busy, those on the device's node first: both
/// auto, io gets the first half, rounded up, and dcopy the rest; else what the other leaves. Throws
/// std::system_error(errc::bad_option).
lcore_plan plan_lcores(const lcore_wishes& wishes, const lcore_facts& facts);

/// The plan as a table (role, lcore, NUMA node, what it does), line by line.
std::vector<std::string> describe_plan(const lcore_plan& plan, const lcore_facts& facts);

}  // namespace nd::api
