// What the drivers on kernel interfaces (net_af_packet, net_af_xdp) need and do not say.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pmd_glue/mempool.hpp"

namespace nd::pmd {

/// Completes `--vdev` arguments before the EAL starts: rings of net_af_packet that hold the
/// interface's packets, and our XDP program for net_af_xdp, unless the arguments say otherwise.
/// Throws std::system_error(errc::no_device).
void prepare_kernel_devices(std::vector<std::string>& eal_args);

/// Of one port that such a driver has made.
struct kernel_device {
  enum class driver { af_packet, af_xdp };
  driver made_by;
  std::uint16_t mtu;         ///< the largest that interface and driver take
  std::uint32_t buffer;      ///< bytes of an mbuf that the driver may write; 0: a frame of the MTU
  unsigned buffer_headroom;  ///< bytes in front of a frame, beyond the mbuf's headroom
  unsigned kept;             ///< mbufs that the driver takes and does not give back
  pool_layout layout;        ///< what it counts on of the pool it receives into
};
std::optional<kernel_device> kernel_device_of(const rte_eth_dev_info& info);

}  // namespace nd::pmd
