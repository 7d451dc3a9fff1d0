#include "pmd_glue/mempool.hpp"

#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_memzone.h>

#include <algorithm>
#include <atomic>
#include <bit>
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

void free_zone(rte_mempool_memhdr*, void* zone) {
  rte_memzone_free(static_cast<const rte_memzone*>(zone));
}

/// Null, with rte_errno, if there is not enough memory.
rte_mempool* create_without_gaps(const std::string& name, unsigned count, unsigned cache,
                                 std::uint16_t data_room) {
  constexpr unsigned flags = RTE_MEMPOOL_F_NO_SPREAD;
  std::uint32_t element =
      static_cast<std::uint32_t>(sizeof(rte_mbuf)) + mbuf_private_size + data_room;
  const std::uint32_t least = rte_mempool_calc_obj_size(element, flags, nullptr);
  const std::uint32_t size = std::bit_ceil(least);
  element += size - least;
  rte_mempool* const pool = rte_mempool_create_empty(
      name.c_str(), count, element, cache, sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);
  if (pool == nullptr) return nullptr;
  rte_pktmbuf_pool_private about{};
  about.mbuf_data_room_size = data_room;
  about.mbuf_priv_size = mbuf_private_size;
  rte_pktmbuf_pool_init(pool, &about);
  const std::size_t bytes = std::size_t{count} * size;
  const rte_memzone* const zone =
      rte_memzone_reserve_aligned(name.c_str(), bytes, SOCKET_ID_ANY, 0, size);
  if (zone == nullptr ||
      rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr) != 0 ||
      rte_mempool_populate_iova(pool, static_cast<char*>(zone->addr), zone->iova, bytes, free_zone,
                                const_cast<rte_memzone*>(zone)) != static_cast<int>(count)) {
    if (pool->nb_mem_chunks == 0) rte_memzone_free(zone);
    rte_mempool_free(pool);
    rte_errno = ENOMEM;
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
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
                           unsigned reserved, pool_layout layout) {
  const std::uint64_t each = sizeof(rte_mbuf) + mbuf_private_size + data_room;
  const std::uint64_t least = least_mbufs + reserved;
  if (count != 0 && count < least) {
    throw std::system_error(make_error_code(errc::bad_option),
                            "mbuf pool '" + name + "': " + std::to_string(count) +
                                " mbufs are too few; " + std::to_string(least) +
                                " or more (settings rx_mbufs, tx_mbufs)");
  }
  if (count == 0) count = std::max<std::uint64_t>(standard_bytes / each, least_mbufs) + reserved;
  const auto mbufs = static_cast<unsigned>(count);
  const unsigned cache = std::min(cache_size, mbufs * 2 / 3);
  const auto room = static_cast<std::uint16_t>(data_room);
  rte_mempool* const pool = layout == pool_layout::without_gaps
                                ? create_without_gaps(unique_name(name), mbufs, cache, room)
                                : rte_pktmbuf_pool_create(unique_name(name).c_str(), mbufs, cache,
                                                          mbuf_private_size, room, SOCKET_ID_ANY);
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
