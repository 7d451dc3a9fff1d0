#include "pmd_glue/kernel_interface.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <rte_mbuf.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

namespace nd::pmd {

std::optional<std::uint32_t> interface_mtu(const std::string& name) noexcept {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) return std::nullopt;
  std::ranges::copy(name, request.ifr_name);
  const descriptor fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || ::ioctl(fd.get(), SIOCGIFMTU, &request) != 0) return std::nullopt;
  return static_cast<std::uint32_t>(request.ifr_mtu);
}

std::string interface_name(unsigned index) {
  char name[IF_NAMESIZE] = "";
  return if_indextoname(index, name) != nullptr ? name : "";
}

bool kernel_has_address(std::uint32_t ip) noexcept {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(all, &freeifaddrs);
  for (const ifaddrs* a = all; a != nullptr; a = a->ifa_next) {
    if (a->ifa_addr == nullptr || a->ifa_addr->sa_family != AF_INET) continue;
    if (reinterpret_cast<const sockaddr_in*>(a->ifa_addr)->sin_addr.s_addr == htonl(ip))
      return true;
  }
  return false;
}

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
