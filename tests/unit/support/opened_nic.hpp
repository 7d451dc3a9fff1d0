// A port on a fake NIC, opened as the runtime does it, and frames for it.
#pragma once

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "pmd_glue/ethdev_port.hpp"
#include "unit/support/fake_nic.hpp"
#include "unit/support/pool.hpp"

namespace nd::test {

inline constexpr std::uint32_t ours = 0x0a000001;    // 10.0.0.1
inline constexpr std::uint32_t others = 0x0a000005;  // 10.0.0.5

using fate = fake_nic::fate;
using texts = std::vector<std::string>;

inline const fate to_kernel{.to = fate::kernel};
inline fate to_queue(std::uint16_t index) {
  return {.to = fate::queue, .index = index};
}

/// The loopback interface: a kernel interface that is always there, with 127.0.0.1.
inline constexpr unsigned loopback = 1;

inline settings settings_for(const fake_nic& nic,
                             std::map<std::string, std::string, std::less<>> more) {
  more.try_emplace("ip", "10.0.0.1/24");
  if (more.contains("rx_queues")) more.try_emplace("rx_descriptors", "256");
  more.try_emplace("port", std::to_string(nic.port_id()));
  return settings(more);
}

/// A port on a NIC, opened as the runtime does.
struct opened {
  opened(fake_nic& nic, std::map<std::string, std::string, std::less<>> more)
      : values(settings_for(nic, std::move(more))),
        mtu(pmd::port_mtu(values)),
        mbufs(2048, static_cast<std::uint16_t>(pmd::rx_data_room(mtu))),
        port(pmd::open_port(values, mtu, mbufs.get())) {}

  std::size_t drain() {
    std::array<rte_mbuf*, 32> frames{};
    std::size_t n = 0;
    while (const std::size_t more = port->rx_burst(instant{}, frames)) {
      rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(more));
      n += more;
    }
    return n;
  }

  settings values;
  std::uint16_t mtu;
  pool mbufs;
  std::unique_ptr<nd::port> port;
};

struct frame_kind {
  std::uint8_t protocol = 19;
  std::uint32_t to = ours;
  std::uint16_t source_port = 1;
  std::uint16_t port = 0;
  std::uint32_t from = others;
  std::uint8_t tos = 0;
};

inline std::vector<std::byte> frame_for(const fake_nic& nic, const frame_kind& kind) {
  std::vector<std::byte> frame(sizeof(rte_ether_hdr) + sizeof(rte_ipv4_hdr) + 64);
  rte_ether_hdr eth{};
  const auto mac = nic.mac();
  std::ranges::copy(mac, eth.dst_addr.addr_bytes);
  eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
  rte_ipv4_hdr ip{};
  ip.version_ihl = RTE_IPV4_VHL_DEF;
  ip.total_length = rte_cpu_to_be_16(sizeof ip + 64);
  ip.time_to_live = 64;
  ip.next_proto_id = kind.protocol;
  ip.type_of_service = kind.tos;
  ip.src_addr = rte_cpu_to_be_32(kind.from);
  ip.dst_addr = rte_cpu_to_be_32(kind.to);
  ip.hdr_checksum = rte_ipv4_cksum(&ip);
  rte_udp_hdr udp{};  // TCP's ports are in the same place
  udp.src_port = rte_cpu_to_be_16(kind.source_port);
  udp.dst_port = rte_cpu_to_be_16(kind.port);
  udp.dgram_len = rte_cpu_to_be_16(64);
  std::memcpy(frame.data(), &eth, sizeof eth);
  std::memcpy(frame.data() + sizeof eth, &ip, sizeof ip);
  std::memcpy(frame.data() + sizeof eth + sizeof ip, &udp, sizeof udp);
  return frame;
}

inline std::vector<std::byte> arp_frame() {
  std::vector<std::byte> frame(60);
  rte_ether_hdr eth{};
  std::ranges::fill(eth.dst_addr.addr_bytes, std::uint8_t{0xff});
  eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP);
  std::memcpy(frame.data(), &eth, sizeof eth);
  return frame;
}

inline constexpr frame_kind ssh{.protocol = IPPROTO_TCP, .port = 22};
inline constexpr frame_kind ping{.protocol = IPPROTO_ICMP};

template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const std::system_error& e) {
    return e.what();
  }
  return "";
}

}  // namespace nd::test
