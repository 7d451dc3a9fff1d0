// Where the tests' NIC takes frames that come: flow rules, RSS, queues.
#define ALLOW_INTERNAL_API
#define ALLOW_EXPERIMENTAL_API
#include <rte_interrupts.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_thash.h>
#include <rte_udp.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "unit/support/fake_nic.hpp"

namespace nd::test {
namespace {

constexpr std::size_t ip_at = sizeof(rte_ether_hdr);
constexpr std::size_t l4_at = ip_at + sizeof(rte_ipv4_hdr);

template <class T>
T load(std::span<const std::byte> bytes, std::size_t at) {
  T out;
  REQUIRE(bytes.size() >= at + sizeof out);
  std::memcpy(&out, bytes.data() + at, sizeof out);
  return out;
}

bool is_ipv4(std::span<const std::byte> frame) {
  return frame.size() >= l4_at &&
         load<rte_ether_hdr>(frame, 0).ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
}

bool is_udp(std::span<const std::byte> frame) {
  return is_ipv4(frame) && frame.size() >= l4_at + sizeof(rte_udp_hdr) &&
         load<rte_ipv4_hdr>(frame, ip_at).next_proto_id == IPPROTO_UDP;
}

}  // namespace

std::uint16_t fake_nic::spread(std::span<const std::byte> frame,
                               std::span<const std::uint16_t> queues, std::uint64_t types,
                               std::span<const std::uint8_t> key,
                               std::span<const std::uint16_t> reta) const {
  if (queues.size() == 1 || !is_ipv4(frame)) return queues[0];
  const auto ip = load<rte_ipv4_hdr>(frame, ip_at);
  rte_ipv4_tuple tuple{};
  tuple.src_addr = rte_be_to_cpu_32(ip.src_addr);
  tuple.dst_addr = rte_be_to_cpu_32(ip.dst_addr);
  std::uint32_t words = 0;
  if (is_udp(frame) && (types & RTE_ETH_RSS_NONFRAG_IPV4_UDP) != 0) {
    const auto udp = load<rte_udp_hdr>(frame, l4_at);
    tuple.sport = rte_be_to_cpu_16(udp.src_port);
    tuple.dport = rte_be_to_cpu_16(udp.dst_port);
    words = RTE_THASH_V4_L4_LEN;
  } else if ((types & RTE_ETH_RSS_IPV4) != 0) {
    words = RTE_THASH_V4_L3_LEN;
  }
  if (words == 0) return queues[0];
  std::array<std::uint32_t, RTE_THASH_V4_L4_LEN> input{};
  std::memcpy(input.data(), &tuple, sizeof input);
  const std::uint32_t hash = rte_softrss(input.data(), words, key.data());
  if (!reta.empty()) return reta[hash % reta.size()];
  return queues[hash % queues.size()];
}

fake_nic::fate fake_nic::inject(std::span<const std::byte> frame, bool damaged) {
  if (!started_ || !link_up_) return {};
  const rule* best = nullptr;
  for (const rule& r : rules_) {
    const bool matches = std::ranges::all_of(r.bytes, [frame](const byte_match& b) {
      return b.offset < frame.size() &&
             ((static_cast<std::uint8_t>(frame[b.offset]) ^ b.value) & b.mask) == 0;
    });
    if (matches && (best == nullptr || r.priority < best->priority)) best = &r;
  }
  if (best != nullptr)
    return deliver(frame, spread(frame, best->queues, best->rss_types, best->rss_key, {}), damaged);
  const auto to = load<rte_ether_hdr>(frame, 0).dst_addr;
  const bool ours = std::ranges::equal(to.addr_bytes, mac_) || rte_is_broadcast_ether_addr(&to);
  if (isolated_ || !ours) {
    ++frames_to_kernel_;
    return {.to = fate::kernel};
  }
  std::vector<std::uint16_t> all(queues_.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  const bool rss = (conf_.rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) != 0;
  return deliver(frame, rss ? spread(frame, all, rss_types(), rss_key_, reta_) : all[0], damaged);
}

fake_nic::fate fake_nic::deliver(std::span<const std::byte> frame, std::uint16_t queue,
                                 bool damaged) {
  const std::lock_guard lock(receiving_);
  receive_queue& q = queues_[queue];
  if (frame.size() > sizeof(rte_ether_hdr) + mtu_ || q.frames.size() >= q.descriptors) return {};
  rte_mbuf* m = rte_pktmbuf_alloc(q.pool);
  if (m == nullptr) return {};
  m->port = port_id_;
  char* data = rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size()));
  REQUIRE(data != nullptr);
  std::memcpy(data, frame.data(), frame.size());
  if ((rx_offloads() & RTE_ETH_RX_OFFLOAD_UDP_CKSUM) != 0 && is_udp(frame)) {
    const auto* ip = rte_pktmbuf_mtod_offset(m, const rte_ipv4_hdr*, ip_at);
    const auto* udp = rte_pktmbuf_mtod_offset(m, const rte_udp_hdr*, l4_at);
    // Over a right checksum the sum is all ones.
    const bool good = !damaged && rte_ipv4_udptcp_cksum(ip, udp) == 0xffff;
    const bool open = traits_.virtual_wire && udp->dgram_cksum == rte_ipv4_phdr_cksum(ip, 0);
    // As some devices do: a datagram without a checksum counts as bad.
    m->ol_flags |= open                            ? RTE_MBUF_F_RX_L4_CKSUM_NONE
                   : good && udp->dgram_cksum != 0 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD
                                                   : RTE_MBUF_F_RX_L4_CKSUM_BAD;
  }
  q.frames.push_back(m);
  ++q.received;
  if (std::exchange(q.armed, false) ||
      traits_.rx_interrupts == fake_nic_traits::interrupts::readable)
    REQUIRE(eventfd_write(event_of(q), 1) == 0);
  return {.to = fate::queue, .index = queue};
}

}  // namespace nd::test
