// The kernel's network interfaces: what rtnetlink and sysfs say of them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
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

  // By read_hardware().
  std::string driver;  ///< kernel module of the device behind it; empty: none
  std::string pci;     ///< its PCI address, where it has one
  std::string cpus;    ///< those near it ("0-7,16-23"), where that is known
};

/// All interfaces of this network namespace. Throws std::system_error(errc::no_device).
std::vector<netdev> list_netdevs();
/// What sysfs says of the device behind it.
void read_hardware(netdev& d);

/// The one with this name, or index; null where there is none.
const netdev* find_by_name(std::span<const netdev> all, std::string_view name) noexcept;
const netdev* find_by_index(std::span<const netdev> all, unsigned index) noexcept;
/// The kernel has the address, on whichever interface: it answers ARP for it on all of them.
bool kernel_has(std::span<const netdev> all, std::uint32_t ip) noexcept;

/// Watches the interface with this index. Throws std::system_error(errc::no_device).
std::unique_ptr<kernel_link> watch_netdev(const netdev& device, bool has_our_address);

}  // namespace nd::pmd
