#include "dcopy/request.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace nd::dcopy {

void copy_by_cpu(const request& r, const digest_functions& digests) noexcept {
  for_each_part(r, [&](rte_mbuf* m, std::byte* in_mbuf, std::byte* app, std::uint32_t n) {
    segment& s = segment_of(m);
    if (r.way == direction::from_mbufs)
      std::memcpy(app, in_mbuf, n);
    else if (digests.copy != nullptr)
      s.digest = digests.copy(s.digest, in_mbuf, {app, n});
    else
      std::memcpy(in_mbuf, app, n);
  });
}

namespace {

/// Calls `f(rte_mbuf*)` for each that is read to its end.
template <class F>
void for_each_finished(const request& r, F&& f) noexcept {
  std::uint32_t left = r.length, skip = r.skip;
  for (rte_mbuf* m = r.first; left > 0;) {
    rte_mbuf* const next = segment_of(m).next;
    const std::uint32_t n = std::min<std::uint32_t>(left, m->data_len - skip);
    left -= n;
    skip = 0;
    if (left > 0 || !r.keep_last) f(m);
    m = next;
  }
}

}  // namespace

void free_mbufs(const request& r) noexcept {
  for_each_finished(r, [](rte_mbuf* m) { rte_pktmbuf_free(m); });
}

void free_mbufs_uncached(const request& r) noexcept {
  std::array<void*, 64> together;
  unsigned n = 0;
  rte_mempool* pool = nullptr;
  const auto give_back = [&] {
    if (n > 0) rte_mempool_generic_put(pool, together.data(), std::exchange(n, 0), nullptr);
  };
  for_each_finished(r, [&](rte_mbuf* m) {
    if (m->nb_segs > 1) return rte_pktmbuf_free(m);
    m = rte_pktmbuf_prefree_seg(m);
    if (m == nullptr) return;
    if (m->pool != pool || n == together.size()) give_back();
    pool = m->pool;
    together[n++] = m;
  });
  give_back();
}

}  // namespace nd::dcopy
