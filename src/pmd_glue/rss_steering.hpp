// Which queue RSS gives a UDP packet to.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace nd::pmd {

/// How a device spreads UDP over IPv4: Toeplitz over addresses and ports.
struct rss_facts {
  std::vector<std::uint8_t> key;    ///< 16 bytes or more
  std::vector<std::uint16_t> reta;  ///< the queue, by the hash modulo the table's size
};

/// Asks the device, which has been started. nullopt: it does not say, or does not hash UDP ports.
std::optional<rss_facts> ask_rss(std::uint16_t port_id);

/// Of packets as they arrive. Host order.
struct udp_flow {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
};

std::uint16_t queue_of(const rss_facts& rss, const udp_flow& arriving) noexcept;

}  // namespace nd::pmd
