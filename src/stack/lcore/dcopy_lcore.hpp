// A dcopy lcore: copies between applications and mbufs, and says so to the sockets' links.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/counters.hpp"
#include "base/settings.hpp"
#include "base/stage_meter.hpp"
#include "base/time.hpp"
#include "dcopy/worker.hpp"
#include "sched/copy_policy.hpp"
#include "vsock/link.hpp"

namespace nd::core {

class dcopy_lcore {
 public:
  /// `post` hands a request of a link to its stack. It is called by the thread that polls.
  dcopy_lcore(std::unique_ptr<dcopy::engine> copier,
              std::function<void(app_end&, std::uint32_t)> post,
              stage_meter::clock cycle_clock = nullptr);

  /// Any thread: `r.owner` is a socket_link, whose count of copied bytes holds those of `r`, and
  /// which has a response ring with room. False when too much waits here; nothing was done then.
  bool post(const dcopy::request& r) noexcept {
    if (!worker_.post(r)) return false;
    if (wake) wake();
    return true;
  }
  std::uint64_t queued_bytes() const noexcept { return worker_.queued_bytes(); }

  /// One turn, on the lcore. Returns how many copies are done.
  std::size_t poll(instant now);
  /// Of the DMA device, where there is one. The thread that polls.
  dcopy::device_state device() const noexcept { return worker_.device(); }

  const counters& stats() const noexcept { return stats_; }

  std::function<void()> wake;  ///< where the lcore sleeps; set before it is used

 private:
  void finish(const dcopy::request& r);

  dcopy::worker worker_;
  std::function<void(app_end&, std::uint32_t)> post_;
  counters stats_;
  stage_meter::clock clock_;
};

/// The dcopy lcores of a runtime, and which copies are theirs.
struct copy_service {
  copy_service() = default;
  /// As the settings `dcopy_*` say, without lcores yet.
  explicit copy_service(const settings& values);

  std::vector<std::unique_ptr<dcopy_lcore>> lcores;
  copy_policy policy = copy_policy::round_robin;
  copy_limits writes;
  copy_limits reads;
  /// Bytes of calls large enough that the callers copied themselves.
  std::atomic<std::uint64_t> by_callers{0};
};

/// Segments of a piece, at most.
inline constexpr std::size_t most_piece_segments = 256;
/// Puts the segments of a finished piece into the response ring, which has room for them.
void push_responses(socket_link& link, const dcopy::request& r) noexcept;

/// What dcopy lcores and callers copy with, where segments carry their CRC32C.
dcopy::digest_functions copy_digests(bool digests) noexcept;

}  // namespace nd::core
