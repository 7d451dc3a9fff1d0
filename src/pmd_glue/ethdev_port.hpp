// The ports of an ethdev, configured by what the device says it can do.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/port.hpp"
#include "base/settings.hpp"
#include "pmd_glue/mempool.hpp"
#include "pmd_glue/rss_steering.hpp"

namespace nd::pmd {

/// Largest IP packet that the port takes with these settings, before it is configured. Throws
/// std::system_error(errc::no_device, errc::bad_option).
std::uint16_t port_mtu(const settings& values);

/// How many ports open_ports() makes of the device: one, or as many as there are io lcores.
unsigned count_ports(const settings& values, unsigned lcores);

/// What the device asks of the pool it receives into, with so many ports.
struct rx_pool_needs {
  std::uint32_t data_room;  ///< bytes of an mbuf
  unsigned reserved = 0;    ///< mbufs that only the device uses
  unsigned kept = 0;        ///< of those, how many the driver does not give back when it is closed
  pool_layout layout = pool_layout::standard;
};
rx_pool_needs port_rx_pool_needs(const settings& values, std::uint16_t mtu, unsigned ports = 1);

/// Mbufs in a device's queue that pools of the standard size count on.
inline constexpr unsigned standard_descriptors = 512;
/// How many mbufs the device may keep of what was sent, until more is sent: a driver frees them
/// when it needs their descriptors again.
unsigned port_tx_held(const settings& values, unsigned ports = 1);

/// NUMA node of the port's device; -1: unknown.
int port_node(const settings& values) noexcept;

/// Configures and starts the device that `values.port` names, with `rx_pool` to receive into.
/// memif, ring and af_xdp get what they need beyond ethdev's calls.
///
/// Where the device has a pair of queues for each of `lcores` and RSS for our packets, there is a
/// port for each lcore: the i-th is polled by the i-th lcore, without a lock, and has its pair of
/// queues alone (`rx_queues` counts with one lcore only). A frame may come to any of them; ARP and
/// what has no RSS comes to the first. Else there is one port, for one lcore to poll, and the log
/// says why. The device is stopped and closed when its last port goes, after all lcores have ended.
/// `rss` gets how UDP packets come to several ports, where that is known. Each port has queues of
/// its own for the latency class (class_queues.hpp), whose frames have this TOS; 0: they can't be
/// told from others that come.
std::vector<std::unique_ptr<port>> open_ports(const settings& values, std::uint16_t mtu,
                                              rte_mempool* rx_pool, unsigned lcores,
                                              std::optional<rss_facts>* rss = nullptr,
                                              std::uint8_t latency_tos = 0);
std::unique_ptr<port> open_port(const settings& values, std::uint16_t mtu, rte_mempool* rx_pool);

}  // namespace nd::pmd
