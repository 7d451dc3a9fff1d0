// What all made hosts have in common: addresses by number, and the configuration from them.
#pragma once

#include <string>

#include "lcore/host.hpp"
#include "unit/support/host_pools.hpp"

namespace nd::test {

/// Host 0 is 10.0.0.1, host 1 is 10.0.0.2.
constexpr std::uint32_t made_ip(std::size_t i) noexcept {
  return 0x0a000001 + static_cast<std::uint32_t>(i);
}
inline mac_address made_mac(std::size_t i) noexcept {
  return {2, 0, 0, 0, 0, static_cast<std::uint8_t>(i + 1)};
}

inline core::host_address made_address(std::size_t i, bool udp) noexcept {
  return {.ip = made_ip(i),
          .prefix = 24,
          .mac = made_mac(i),
          .udp = udp,
          .ip_protocol = 19,
          .udp_port = 9019};
}

/// Without neighbours, epoch, key and seed.
inline core::host_config made_config(std::size_t i, const settings& values, host_pools& pools) {
  core::host_config c;
  c.name = "made" + std::to_string(i);
  c.values = values;
  c.address = made_address(i, values.encap == "udp");
  c.rx_pool = pools.rx();
  c.tx_pool = pools.tx();
  c.packet_pool = pools.packets();
  return c;
}

}  // namespace nd::test
