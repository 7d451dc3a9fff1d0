// What the tests' NIC does with frames that are sent.
#include <rte_errno.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include <cstring>

#include "unit/support/fake_nic.hpp"

namespace nd::test {
namespace {

constexpr std::size_t ip_at = sizeof(rte_ether_hdr);
constexpr std::size_t l4_at = ip_at + sizeof(rte_ipv4_hdr);

}  // namespace

std::uint16_t fake_nic::prepare(rte_mbuf** frames, std::uint16_t count) {
  ++prepares_;
  for (std::uint16_t i = 0; i < count; ++i) {
    if (traits_.refuses && traits_.refuses(*frames[i])) {
      rte_errno = EINVAL;
      return i;
    }
    prepared_.insert(frames[i]);
  }
  return count;
}

void fake_nic::transmit(rte_mbuf* m) {
  if (m->nb_segs != 1) violated("several segments");
  const bool udp_checksum = (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM;
  const std::uint64_t asked = m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK &
                              ~std::uint64_t{RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4};
  if (asked != 0) violated("an offload that the port was not configured for");
  if (m->pkt_len > sizeof(rte_ether_hdr) + mtu_) violated("a frame larger than the MTU");
  std::vector<std::byte> frame(m->pkt_len);
  std::memcpy(frame.data(), rte_pktmbuf_mtod(m, const void*), frame.size());
  if (udp_checksum) {
    if ((tx_offloads() & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) == 0)
      violated("UDP checksum asked for, but not configured");
    if ((m->ol_flags & RTE_MBUF_F_TX_IPV4) == 0 || m->l2_len != ip_at ||
        m->l3_len != sizeof(rte_ipv4_hdr))
      violated("UDP checksum without the headers' lengths");
    if (!prepared_.contains(m)) violated("UDP checksum asked for without rte_eth_tx_prepare()");
    ++checksums_filled_;
  }
  if (udp_checksum && !traits_.virtual_wire) {
    // The sum of the pseudo-header is where the checksum goes.
    std::uint16_t sum = rte_raw_cksum(frame.data() + l4_at, frame.size() - l4_at);
    sum = static_cast<std::uint16_t>(~sum);
    if (sum == 0) sum = 0xffff;
    std::memcpy(frame.data() + l4_at + offsetof(rte_udp_hdr, dgram_cksum), &sum, sizeof sum);
  }
  prepared_.erase(m);
  rte_pktmbuf_free(m);
  if (other_ != nullptr) {
    other_->inject(frame);
  } else {
    sent_.push_back(std::move(frame));
  }
}

}  // namespace nd::test
