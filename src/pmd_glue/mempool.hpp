// The two mbuf pools of a host.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <memory>
#include <string>

namespace nd::pmd {

/// Frees a pool that is whole. Where mbufs are missing somebody may still use them (another host,
/// if net_ring joins them): it says so, and frees the pool when a later one goes and they are back.
struct free_pool {
  unsigned kept = 0;  ///< mbufs that a driver does not give back; they go with the pool
  void operator()(rte_mempool* p) const noexcept;
};
using mempool_ptr = std::unique_ptr<rte_mempool, free_pool>;

enum class pool_layout {
  standard,     ///< mbufs don't cross pages: there may be gaps between them
  without_gaps  ///< from the start of a page on, 2^n bytes each
};

/// A pool of `count` mbufs with room for `data_room` bytes and our private area; `count` 0: as many
/// as fit 20 MiB, and `reserved` more. Throws
/// std::system_error(errc::no_buffer_space) that says what would help, or errc::bad_option.
mempool_ptr make_mbuf_pool(const std::string& name, std::uint64_t count, std::uint32_t data_room,
                           unsigned reserved = 0, pool_layout layout = pool_layout::standard);

/// Data room for receiving, and for sending, IP packets of `mtu` bytes. `headroom` is what a driver
/// wants in front of a frame beyond the mbuf's own.
std::uint32_t rx_data_room(std::uint16_t mtu, std::uint32_t headroom = 0) noexcept;
std::uint32_t tx_data_room(std::uint16_t mtu) noexcept;

}  // namespace nd::pmd
