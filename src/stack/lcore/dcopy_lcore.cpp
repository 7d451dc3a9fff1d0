#include "lcore/dcopy_lcore.hpp"

#include <array>
#include <cassert>
#include <utility>

#include "wire/checksum.hpp"

namespace nd::core {

dcopy_lcore::dcopy_lcore(std::unique_ptr<dcopy::engine> copier,
                         std::function<void(app_end&, std::uint32_t)> post,
                         stage_meter::clock cycle_clock)
    : worker_(std::move(copier)), post_(std::move(post)), clock_(cycle_clock) {}

std::size_t dcopy_lcore::poll(instant now) {
  const std::uint64_t began = clock_ != nullptr ? clock_() : 0;
  std::array<dcopy::request, 8> done;
  const bool worked = device() == dcopy::device_state::working;
  const std::size_t n = worker_.poll(done, now);
  if (worked && device() != dcopy::device_state::working) ++stats_.dcopy_dma_lost;
  for (std::size_t i = 0; i < n; ++i) finish(done[i]);
  if (clock_ != nullptr && n > 0) stats_.cycles_dcopy += clock_() - began;
  return n;
}

void dcopy_lcore::finish(const dcopy::request& r) {
  ++stats_.dcopy_requests;
  if (r.by_dma) stats_.dcopy_bytes_dma += r.length;
  auto& link = *static_cast<socket_link*>(r.owner);
  if (r.way == dcopy::direction::from_mbufs) {
    stats_.dcopy_bytes_read += r.length;
    link.copying_in.fetch_sub(r.length, std::memory_order_release);
    return;
  }
  stats_.dcopy_bytes_written += r.length;
  push_responses(link, r);
  post_(link, request_send);
  link.copying_out.fetch_sub(r.length, std::memory_order_release);
}

copy_service::copy_service(const settings& values)
    : policy(values.dcopy_policy == "compact" ? copy_policy::compact : copy_policy::round_robin) {
  writes.smallest = reads.smallest = static_cast<std::uint64_t>(values.dcopy_min);
  writes.in_flight = static_cast<std::uint64_t>(values.dcopy_tx_inflight_max);
  reads.in_flight = static_cast<std::uint64_t>(values.dcopy_rx_inflight_max);
}

void push_responses(socket_link& link, const dcopy::request& r) noexcept {
  std::array<rte_mbuf*, most_piece_segments> segments;
  std::size_t n = 0;
  for (rte_mbuf* m = r.first; m != nullptr;) {
    segments[n++] = m;
    m = std::exchange(segment_of(m).next, nullptr);
  }
  [[maybe_unused]] const bool pushed =
      link.responses.load(std::memory_order_relaxed)->push(std::span(segments).first(n));
  assert(pushed);  // app_stream::put_pieces has counted
}

dcopy::digest_functions copy_digests(bool digests) noexcept {
  if (!digests) return {};
  return {.copy = &wire::copy_crc32c, .read = &wire::crc32c};
}

}  // namespace nd::core
