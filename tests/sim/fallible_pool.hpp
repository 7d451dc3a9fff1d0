// Mbuf pools whose allocations can be made to fail, by mempool operations of the simulator's own.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <string>

#include "base/rng.hpp"
#include "pmd_glue/mempool.hpp"

namespace nd::sim {

/// Which allocations of a pool fail although it has mbufs.
struct allocation_faults {
  std::uint64_t countdown = 0;  ///< the n-th from now; 0: none
  std::uint64_t one_in = 0;     ///< each with this chance; 0: none
  rng random{0};
  std::uint64_t failed = 0;
};

/// Without a cache, last in, first out. For host_pools.
pmd::mempool_ptr make_fallible_pool(const std::string& name, unsigned mbufs,
                                    std::uint32_t data_room);
allocation_faults& faults_of(rte_mempool* pool);

}  // namespace nd::sim
