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

/// Configures and starts the port that `values.port` names, with `rx_pool` to receive into. memif
/// and ring get what they need beyond ethdev's calls. The port is stopped and closed when the
/// object goes.
std::unique_ptr<port> open_port(const settings& values, std::uint16_t mtu, rte_mempool* rx_pool);

}  // namespace nd::pmd
