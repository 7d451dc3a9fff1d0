// A net_af_xdp port on an interface that the kernel keeps.
#pragma once

#include <memory>

#include "base/port.hpp"
#include "base/settings.hpp"

namespace nd::pmd {

/// `inner` is the configured ethdev port. Tells the XDP program which packets are ours, and reads
/// the ARP that goes to the kernel. Where the interface has another program (`xdp_prog=` was
/// given), what comes is what that one redirects. Throws std::system_error.
std::unique_ptr<port> make_af_xdp_port(std::unique_ptr<port> inner, const settings& values,
                                       unsigned interface_index, rte_mempool* rx_pool);

}  // namespace nd::pmd
