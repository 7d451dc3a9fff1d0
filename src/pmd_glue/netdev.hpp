// The kernel's network interfaces: what rtnetlink and sysfs say of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/kernel_link.hpp"
#include "base/port.hpp"

namespace nd::pmd {

struct netdev {
  struct address {
    std::uint32_t ip = 0;
    std::uint8_t prefix = 0;
    bool operator==(const address&) const = default;
  };

  std::string name;
  unsigned index = 0;
  mac_address mac{};
  std::uint32_t mtu = 0;
  bool ethernet = false;
  bool up = false;                 ///< "ip link set NAME up" was done
  bool running = false;            ///< and there is a link
  std::vector<address> addresses;  ///< IPv4, the primary one first
  std::uint32_t gateway = 0;  ///< of the default route through it with the least metric; 0: none
  std::string driver;         ///< kernel module of the device behind it; empty: none
  std::string pci;            ///< its PCI address, where it has one
  std::string cpus;           ///< those near it ("0-7,16-23"), where that is known
};

/// All interfaces of this network namespace. Throws std::system_error(errc::no_device).
std::vector<netdev> list_netdevs();

/// Watches the interface with this index. Throws std::system_error(errc::no_device).
std::unique_ptr<kernel_link> watch_netdev(const netdev& device, bool has_our_address);

}  // namespace nd::pmd
