#include "dcopy/request.hpp"

#include <cstring>

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

void free_mbufs(const request& r) noexcept {
  std::uint32_t left = r.length, skip = r.skip;
  for (rte_mbuf* m = r.first; left > 0;) {
    rte_mbuf* const next = segment_of(m).next;
    const std::uint32_t n = std::min<std::uint32_t>(left, m->data_len - skip);
    left -= n;
    skip = 0;
    if (left > 0 || !r.keep_last) rte_pktmbuf_free(m);
    m = next;
  }
}

}  // namespace nd::dcopy
