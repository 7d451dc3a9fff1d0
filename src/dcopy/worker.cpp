#include "dcopy/worker.hpp"

namespace nd::dcopy {

std::size_t worker::poll(std::span<request> out, instant now) noexcept {
  // No more than can be told of: with an engine that copies at once none is left waiting for a
  // turn.
  for (std::size_t begun = 0; begun < out.size(); ++begun) {
    if (!has_refused_ && !ring_.pop(refused_)) break;
    has_refused_ = !engine_->start(refused_);
    if (has_refused_) break;
  }
  const std::size_t n = engine_->collect(out, now);
  for (const request& r : out.first(n)) {
    if (r.way == direction::from_mbufs) free_mbufs_uncached(r);
    queued_.fetch_sub(r.length, std::memory_order_relaxed);
  }
  return n;
}

}  // namespace nd::dcopy
