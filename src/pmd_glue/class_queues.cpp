#include "pmd_glue/class_queues.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "pmd_glue/steering.hpp"

namespace nd::pmd {

bool wants_class_queues(const settings& values) noexcept {
  return values.class_queues == "auto" && values.rx_queues == 1;
}

class_queues class_queues_of_nic(const settings& values, const rte_eth_dev_info& info,
                                 unsigned ports, std::uint8_t tos) {
  // No NICs: their queues come in pairs, of which the other end has to poll each.
  constexpr std::array<std::string_view, 9> without{"net_memif",       "net_ring",  "net_af_packet",
                                                    "net_af_xdp",      "net_tap",   "net_virtio",
                                                    "net_virtio_user", "net_vhost", "net_pcap"};
  if (!wants_class_queues(values) ||
      std::ranges::find(without, std::string_view(info.driver_name)) != without.end())
    return {};
  const unsigned queues = 2 * ports;
  return {.tx = info.max_tx_queues >= queues,
          .rx = tos != 0 && wants_isolation(values, info) && info.max_rx_queues >= queues,
          .tos = tos};
}

}  // namespace nd::pmd
