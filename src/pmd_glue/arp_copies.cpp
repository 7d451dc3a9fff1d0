#include "pmd_glue/arp_copies.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <rte_mbuf.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace nd::pmd {

arp_copies::arp_copies(unsigned interface_index)
    : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ARP);
  address.sll_ifindex = static_cast<int>(interface_index);
  if (!fd_ || ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::system_error(errno, std::generic_category(), "packet socket for ARP");
}

std::size_t arp_copies::receive(std::span<rte_mbuf*> frames, rte_mempool* pool) noexcept {
  std::size_t n = 0;
  while (n < frames.size()) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool);
    if (m == nullptr) break;
    const ssize_t bytes = ::recv(fd_.get(), rte_pktmbuf_mtod(m, void*), rte_pktmbuf_tailroom(m), 0);
    if (bytes <= 0) {
      rte_pktmbuf_free(m);
      break;
    }
    m->data_len = static_cast<std::uint16_t>(bytes);
    m->pkt_len = static_cast<std::uint32_t>(bytes);
    frames[n++] = m;
  }
  return n;
}

}  // namespace nd::pmd
