#include "pmd_glue/shared_interface.hpp"

#include <rte_ethdev.h>

#include <string_view>

#include "pmd_glue/netdev.hpp"

namespace nd::pmd {

shared_interface find_shared_interface(std::uint16_t port, std::uint32_t ip) {
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(port, &info) != 0 || info.if_index == 0) return {};
  const std::vector<netdev> all = list_netdevs();
  const netdev* device = find_by_index(all, info.if_index);
  if (device == nullptr) return {};
  // With net_tap the kernel is not beside us on the wire, but at its other end.
  const bool shared = std::string_view(info.driver_name) != "net_tap" && kernel_has(all, ip);
  return {.link = watch_netdev(*device, shared), .gateway = shared ? device->gateway : 0};
}

}  // namespace nd::pmd
