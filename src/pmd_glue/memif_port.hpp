// net_memif, safe against the other process's death (memif_guard.hpp), with queues of its own for
// each io lcore.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/port.hpp"
#include "base/settings.hpp"
#include "pmd_glue/memif_args.hpp"

namespace nd::pmd {

/// What its vdev argument says, if the device is a memif.
std::optional<memif_args> memif_of(const rte_eth_dev_info& info);

/// A port for each lcore. The first is there from the start on; others send once the other end has
/// said that it has queues for them too (`port::sends`), and receive nothing before.
std::vector<std::unique_ptr<port>> open_memif_ports(const settings& values,
                                                    const rte_eth_dev_info& info,
                                                    const memif_args& arguments, std::uint16_t mtu,
                                                    rte_mempool* rx_pool, unsigned lcores);

}  // namespace nd::pmd
