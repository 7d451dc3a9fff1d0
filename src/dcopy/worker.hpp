// A dcopy lcore's work: requests out of its ring, through its engine, and back to who owns them.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>

#include "base/ring.hpp"
#include "dcopy/engine.hpp"

namespace nd::dcopy {

class worker {
 public:
  /// Requests that wait. With the usual `dcopy_min` the planner stops before it is full, by bytes.
  static constexpr unsigned ring_capacity = 255;

  explicit worker(std::unique_ptr<engine> copier)
      : engine_(std::move(copier)), ring_(ring_capacity) {}
  /// Nothing may be under way any more.
  ~worker() = default;
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Any thread. False when the ring is full.
  bool post(const request& r) noexcept {
    // Counted first: whoever takes it out must find the bytes there.
    queued_.fetch_add(r.length, std::memory_order_relaxed);
    if (ring_.push(r)) return true;
    queued_.fetch_sub(r.length, std::memory_order_relaxed);
    return false;
  }
  /// Bytes that were posted and are not copied yet. Any thread.
  std::uint64_t queued_bytes() const noexcept { return queued_.load(std::memory_order_relaxed); }

  /// One turn: begins what the engine takes, and returns what it has finished, at most
  /// `out.size()` requests. The mbufs of a from_mbufs request are freed by then.
  std::size_t poll(std::span<request> out, instant now) noexcept;
  /// Of the engine's device. The thread that polls.
  device_state device() const noexcept { return engine_->device(); }

 private:
  std::unique_ptr<engine> engine_;
  mpsc_value_ring<request> ring_;
  request refused_{};  ///< taken from the ring, and the engine was full
  bool has_refused_ = false;
  alignas(RTE_CACHE_LINE_SIZE) std::atomic<std::uint64_t> queued_{0};
};

}  // namespace nd::dcopy
