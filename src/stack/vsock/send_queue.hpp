// The send side of a socket: written bytes, sorted by offset, until the channel says they arrived.
#pragma once

#include <cstdint>

#include "base/mbuf.hpp"

namespace nd::core {

/// Holds segments in offset order: first what is in flight or lost (the retransmit queue), then
/// what was never sent (the write queue). Dcopy lcores finish in any order: what comes before the
/// bytes in front of it is kept aside until they are there.
class send_queue {
 public:
  /// A segment that may still grow takes later ones of at most this many bytes by copy.
  static constexpr std::uint32_t merge_limit = 512;

  ~send_queue();
  /// The stream starts at `first_offset`.
  explicit send_queue(std::uint64_t first_offset = 0) noexcept : end_(first_offset) {}
  send_queue(const send_queue&) = delete;
  send_queue& operator=(const send_queue&) = delete;

  /// Takes a segment whose offset, length and digest are set; its bytes were not there before.
  /// `max_payload` bounds merging.
  void insert(rte_mbuf* m, std::uint32_t max_payload, bool digests) noexcept;

  /// What to send now: a lost segment, else new bytes up to offset `grant`. Null when there is
  /// none. The caller sends it: it is `in_channel` from here on. One longer than `max_payload` or
  /// the grant is cut; for that a second mbuf comes from its pool, or from `reserve` (may be null):
  /// what was written may hold all of its pool, and leave only by being cut. Without one it waits.
  rte_mbuf* next(std::uint64_t grant, std::uint32_t max_payload, bool digests,
                 rte_mempool* reserve) noexcept;
  bool has_next(std::uint64_t grant) const noexcept {
    return first_lost_ != nullptr || may_send_new(grant);
  }
  bool has_lost() const noexcept { return first_lost_ != nullptr; }
  /// New bytes wait, and only credit is missing.
  bool blocked(std::uint64_t grant) const noexcept {
    return first_unsent_ != nullptr && !may_send_new(grant);
  }

  void on_acked(rte_mbuf* m) noexcept;
  void on_lost(rte_mbuf* m) noexcept;
  /// The connection has failed: nothing is sent any more. What channels have is freed when they say
  /// what became of it.
  void abandon() noexcept;

  /// Offset up to which all bytes are there.
  std::uint64_t end() const noexcept { return end_; }
  /// Offset of the first byte never sent.
  std::uint64_t unsent_offset() const noexcept {
    return first_unsent_ != nullptr ? segment_of(first_unsent_).offset : end_;
  }
  std::uint64_t acked_bytes() const noexcept { return acked_; }
  bool all_sent() const noexcept { return first_unsent_ == nullptr; }
  bool empty() const noexcept { return list_.empty(); }

 private:
  bool may_send_new(std::uint64_t grant) const noexcept;
  void append(rte_mbuf* m, std::uint32_t max_payload, bool digests) noexcept;
  void keep_aside(rte_mbuf* m) noexcept;
  bool cut(rte_mbuf* m, std::uint32_t length, bool digests, rte_mempool* reserve) noexcept;
  void find_next_lost(rte_mbuf* from) noexcept;

  segment_list list_;
  segment_list aside_;  ///< sorted; begins behind end_
  rte_mbuf* first_unsent_ = nullptr;
  rte_mbuf* first_lost_ = nullptr;
  std::uint64_t end_;
  std::uint64_t acked_ = 0;
  unsigned lost_ = 0;
  bool abandoned_ = false;
};

}  // namespace nd::core
