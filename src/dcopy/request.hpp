// One order to copy: bytes between an application's buffer and mbufs (nd_dcopy_request).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/mbuf.hpp"

namespace nd::dcopy {

enum class direction : std::uint8_t {
  to_mbufs,    ///< send: into the payload of segments, whose `length` and first `digest` are set
  from_mbufs,  ///< receive: out of the mbufs' data
};

/// Travels by value. Until it is finished, the mbufs and the application's bytes are the copier's.
struct request {
  void* owner = nullptr;       ///< whom to tell; the copier does not look at it
  rte_mbuf* first = nullptr;   ///< the mbufs, linked by segment::next
  std::byte* bytes = nullptr;  ///< the application's: only read by to_mbufs
  std::uint32_t length = 0;    ///< of them
  std::uint32_t skip = 0;      ///< from_mbufs: bytes of the first mbuf that were read before
  direction way = direction::to_mbufs;
  /// from_mbufs: the last mbuf has more bytes and is not to be freed.
  bool keep_last = false;
  bool by_dma = false;  ///< finished: a DMA device has copied it, not a CPU
};
static_assert(std::is_trivially_copyable_v<request> && sizeof(request) == 40);

/// How payload is copied and summed, from wire/checksum.hpp where segments carry a digest.
struct digest_functions {
  /// Copies; returns the state behind the bytes.
  std::uint32_t (*copy)(std::uint32_t state, std::byte* to,
                        std::span<const std::byte> from) noexcept = nullptr;
  /// The state behind bytes that a DMA device has copied.
  std::uint32_t (*read)(std::uint32_t state, std::span<const std::byte> bytes) noexcept = nullptr;
};

/// Calls `f(rte_mbuf*, std::byte* of the mbuf, std::byte* of the application, std::uint32_t bytes)`
/// for each contiguous part of the copy.
template <class F>
void for_each_part(const request& r, F&& f) {
  std::byte* app = r.bytes;
  std::uint32_t left = r.length, skip = r.skip;
  for (rte_mbuf* m = r.first; left > 0; m = segment_of(m).next) {
    const bool sending = r.way == direction::to_mbufs;
    std::byte* const in_mbuf =
        sending ? tx_payload(m) : rte_pktmbuf_mtod_offset(m, std::byte*, skip);
    const std::uint32_t n = std::min(left, sending ? segment_of(m).length : m->data_len - skip);
    f(m, in_mbuf, app, n);
    app += n;
    left -= n;
    skip = 0;
  }
}

/// The copy itself.
void copy_by_cpu(const request& r, const digest_functions& digests) noexcept;
/// Frees the mbufs of a finished from_mbufs request, but the one that has more.
void free_mbufs(const request& r) noexcept;
/// The same past this lcore's mempool cache: for one that never allocates, and whose cache would
/// keep what others need.
void free_mbufs_uncached(const request& r) noexcept;

}  // namespace nd::dcopy
