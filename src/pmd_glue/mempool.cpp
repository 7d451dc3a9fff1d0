#include "pmd_glue/mempool.hpp"

#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <vector>

#include "base/mbuf.hpp"
#include "nd/error.hpp"
#include "pmd_glue/log.hpp"

namespace nd::pmd {
namespace {

constexpr std::uint64_t standard_bytes = 20 << 20;
constexpr std::uint64_t least_mbufs = 512;
constexpr unsigned cache_size = 256;

// Pools whose owners are gone.
std::mutex left_behind_mutex;
struct pool_left {
  rte_mempool* pool;
  unsigned kept;
};
std::vector<pool_left> left_behind;

void free_whole_pools() noexcept {
  std::erase_if(left_behind, [](const pool_left& p) {
    if (rte_mempool_in_use_count(p.pool) > p.kept) return false;
    rte_mempool_free(p.pool);
    return true;
  });
}

/// Names of pools are the EAL's, and one left behind keeps its own.
std::string unique_name(const std::string& name) {
  static std::atomic<unsigned> pools{0};
  return name + "-" + std::to_string(pools++);
}

}  // namespace

void free_pool::operator()(rte_mempool* p) const noexcept {
  const unsigned missing = rte_mempool_in_use_count(p);
  if (missing > kept)
    log(log_level::warning,
        std::to_string(missing - kept) + " mbufs are missing from pool " + p->name);
  const std::lock_guard lock(left_behind_mutex);
  left_behind.push_back({p, kept});
  free_whole_pools();
}

mempool_ptr make_mbuf_pool(const std::string& name, std::uint64_t count, std::uint32_t data_room,
                           unsigned reserved) {
  const std::uint64_t each = sizeof(rte_mbuf) + mbuf_private_size + data_room;
  const std::uint64_t least = least_mbufs + reserved;
  if (count != 0 && count < least) {
    throw std::system_error(make_error_code(errc::bad_option),
                            "mbuf pool '" + name + "': " + std::to_string(count) +
                                " mbufs are too few; " + std::to_string(least) +
                                " or more (settings rx_mbufs, tx_mbufs)");
  }
  if (count == 0) count = std::max<std::uint64_t>(standard_bytes / each, least_mbufs) + reserved;
  rte_mempool* pool = rte_pktmbuf_pool_create(
      unique_name(name).c_str(), static_cast<unsigned>(count),
      std::min(cache_size, static_cast<unsigned>(count) * 2 / 3), mbuf_private_size,
      static_cast<std::uint16_t>(data_room), SOCKET_ID_ANY);
  if (pool == nullptr) {
    throw std::system_error(
        make_error_code(errc::no_buffer_space),
        "mbuf pool '" + name + "' of " + std::to_string(count) + " mbufs, " +
            std::to_string(count * each >> 20) + " MiB: " + rte_strerror(rte_errno) +
            "; give the EAL more memory (-m MiB), or set rx_mbufs and tx_mbufs lower");
  }
  return mempool_ptr(pool);
}

std::uint32_t rx_data_room(std::uint16_t mtu, std::uint32_t headroom) noexcept {
  // Behind the headroom: a VLAN tag may precede the IP packet, a NIC may leave the CRC behind it,
  // and net_virtio counts its own header of 12 bytes, though it puts that into the headroom.
  constexpr std::uint32_t virtio_header = 12;
  const std::uint32_t frame = RTE_PKTMBUF_HEADROOM + headroom + virtio_header + RTE_ETHER_HDR_LEN +
                              RTE_VLAN_HLEN + mtu + RTE_ETHER_CRC_LEN;
  return RTE_ALIGN_CEIL(std::max<std::uint32_t>(frame, RTE_MBUF_DEFAULT_BUF_SIZE),
                        RTE_CACHE_LINE_SIZE);
}

std::uint32_t tx_data_room(std::uint16_t mtu) noexcept {
  return RTE_ALIGN_CEIL(std::uint32_t{tx_headroom} + mtu + tx_tailroom, RTE_CACHE_LINE_SIZE);
}

}  // namespace nd::pmd
