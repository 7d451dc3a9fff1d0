// An ethdev port with one queue pair, configured by what the device says it can do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/port.hpp"
#include "base/settings.hpp"
#include "pmd_glue/mempool.hpp"

namespace nd::pmd {

/// Largest IP packet that the port takes with these settings, before it is configured. Throws
/// std::system_error(errc::no_device, errc::bad_option).
std::uint16_t port_mtu(const settings& values);

/// What the port asks of the pool it receives into.
struct rx_pool_needs {
  std::uint32_t data_room;  ///< bytes of an mbuf
  unsigned reserved = 0;    ///< mbufs that only the device uses
  unsigned kept = 0;        ///< of those, how many the driver does not give back when it is closed
};
rx_pool_needs port_rx_pool_needs(const settings& values, std::uint16_t mtu);

/// Mbufs in a device's queue that pools of the standard size count on.
inline constexpr unsigned standard_descriptors = 512;
/// How many mbufs the port may keep of what was sent, until more is sent: a driver frees them when
/// it needs their descriptors again.
unsigned port_tx_held(const settings& values);

/// NUMA node of the port's device; -1: unknown.
int port_node(const settings& values) noexcept;

/// Configures and starts the port that `values.port` names, with `rx_pool` to receive into. memif,
/// ring and af_xdp get what they need beyond ethdev's calls. The port is stopped and closed when
/// the object goes.
std::unique_ptr<port> open_port(const settings& values, std::uint16_t mtu, rte_mempool* rx_pool);

}  // namespace nd::pmd
