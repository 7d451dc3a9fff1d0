#include "dcopy/dma_memory.hpp"

#include <rte_eal_memconfig.h>

#include <optional>

namespace nd::dcopy {
namespace {

/// While it lives, no thread registers memory with the EAL, or takes it away: lookups do not look
/// out for that.
class known_memory {
 public:
  known_memory() noexcept { rte_mcfg_mem_read_lock(); }
  ~known_memory() { rte_mcfg_mem_read_unlock(); }
  known_memory(const known_memory&) = delete;
  known_memory& operator=(const known_memory&) = delete;

  /// The IOVA of `n` bytes, if they lie one behind the other there as well. Pages may have their
  /// IOVAs in any order.
  std::optional<rte_iova_t> iova_of(const std::byte* p, std::size_t n) const noexcept {
    const rte_memseg_list* const list = rte_mem_virt2memseg_list(p);
    if (list == nullptr) return {};
    std::optional<rte_iova_t> first;
    for (std::size_t at = 0; at < n;) {
      const rte_memseg* const page = rte_mem_virt2memseg(p + at, list);
      if (page == nullptr || page->iova == RTE_BAD_IOVA) return {};
      const std::uintptr_t offset =
          reinterpret_cast<std::uintptr_t>(p + at) - reinterpret_cast<std::uintptr_t>(page->addr);
      if (offset >= page->len) return {};  // freed: all of it is 0
      const rte_iova_t here = page->iova + offset;
      if (!first) first = here;
      if (here != *first + at) return {};
      at += page->len - offset;
    }
    return first;
  }
};

/// `address(bytes, n)`: the device's name for them, or nothing.
template <class Address>
std::size_t list_copies(const request& r, std::span<dma_copy> out, Address&& address) {
  std::size_t n = 0;
  bool good = true;
  for_each_part(r, [&](rte_mbuf*, std::byte* in_mbuf, std::byte* app, std::uint32_t length) {
    if (!good) return;
    const std::optional<rte_iova_t> mbuf = address(in_mbuf, length), other = address(app, length);
    good = n < out.size() && mbuf && other;
    if (!good) return;
    if (r.way == direction::to_mbufs)
      out[n++] = {.from = *other, .to = *mbuf, .length = length};
    else
      out[n++] = {.from = *mbuf, .to = *other, .length = length};
  });
  return good ? n : 0;
}

}  // namespace

std::size_t dma_memory::copies_of(const request& r, std::span<dma_copy> out) const noexcept {
  if (all_)
    return list_copies(r, out, [](const std::byte* p, std::size_t) {
      return std::optional(reinterpret_cast<rte_iova_t>(p));
    });
  const known_memory known;
  return list_copies(r, out,
                     [&known](const std::byte* p, std::size_t n) { return known.iova_of(p, n); });
}

}  // namespace nd::dcopy
