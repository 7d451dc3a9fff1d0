// Queues of a device for the latency class alone, beside those of each port.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>

#include "base/settings.hpp"

namespace nd::pmd {

struct class_queues {
  bool tx = false;
  bool rx = false;
  /// Flow rules bring frames with this DSCP to the queues for receiving; 0: the other end does.
  std::uint8_t tos = 0;
};

/// Setting class_queues. With several queues by RSS, which are the same to all traffic, it has
/// none.
bool wants_class_queues(const settings& values) noexcept;

/// What a NIC with so many ports may have, before it is configured. `tos`: of latency traffic; 0:
/// it is not told from other traffic.
class_queues class_queues_of_nic(const settings& values, const rte_eth_dev_info& info,
                                 unsigned ports, std::uint8_t tos);

}  // namespace nd::pmd
