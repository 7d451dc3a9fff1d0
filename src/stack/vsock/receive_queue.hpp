// The receive side of a socket: bytes by offset in, bytes in order out.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/mbuf.hpp"
#include "base/spsc_ring.hpp"

namespace nd::core {

/// Memory that out-of-order bytes take beyond what they were granted with, twice their number: what
/// a peer, and within `whole` all of them together, may claim.
struct memory_budget {
  std::uint64_t limit = 0;
  memory_budget* whole = nullptr;
  std::uint64_t used = 0;

  bool has_room(std::uint64_t bytes) const noexcept {
    return used + bytes <= limit && (whole == nullptr || whole->has_room(bytes));
  }
  void take(std::uint64_t bytes) noexcept {
    used += bytes;
    if (whole != nullptr) whole->take(bytes);
  }
  void give_back(std::uint64_t bytes) noexcept {
    used -= bytes;
    if (whole != nullptr) whole->give_back(bytes);
  }
};

class receive_queue {
 public:
  enum class result : std::uint8_t {
    in_order,      ///< kept; next_offset() has moved
    out_of_order,  ///< kept, waits for what is before it
    duplicate,     ///< nothing new in it
    no_memory,     ///< not kept: must not be acknowledged
  };

  /// `socket_limit`: bytes of that memory for this socket alone. `pool`: for bytes that must
  /// be copied out of a packet that holds several records.
  /// The stream starts at `first_offset`.
  receive_queue(rte_mempool* pool, memory_budget& budget, std::uint64_t socket_limit,
                std::uint64_t first_offset = 0) noexcept
      : pool_(pool), budget_(budget), socket_limit_(socket_limit), next_offset_(first_offset) {}
  ~receive_queue();
  receive_queue(const receive_queue&) = delete;
  receive_queue& operator=(const receive_queue&) = delete;

  /// Takes `payload`, which lies in `packet`, as the bytes at `offset`. With `alone` (no other
  /// record is in the packet) the packet itself may be kept: then it is null afterwards.
  result insert(mbuf_ptr& packet, std::span<std::byte> payload, std::uint64_t offset, bool alone);

  /// All bytes below have arrived.
  std::uint64_t next_offset() const noexcept { return next_offset_; }
  /// Offset behind the last byte that has arrived.
  std::uint64_t end_offset() const noexcept;

  /// Moves in-order bytes to the application. A mbuf that may still be filled by small records is
  /// kept back while the application has others to read: returns false while something was kept.
  bool hand_over(ring_view<rte_mbuf> to_app);
  /// Bytes that were handed over so far.
  std::uint64_t handed_over() const noexcept { return handed_over_; }
  /// In-order bytes that the application has not got yet.
  bool has_ready() const noexcept { return open_ != nullptr || !ready_.empty(); }
  std::uint64_t out_of_order_memory() const noexcept { return memory_; }

 private:
  bool move_to(ring_view<rte_mbuf> to_app) noexcept;
  bool deliver(mbuf_ptr& packet, std::span<std::byte> payload, bool alone);
  void deliver_waiting();
  result keep_out_of_order(mbuf_ptr& packet, std::span<std::byte> payload, std::uint64_t offset,
                           bool alone);
  void drop_waiting(rte_mbuf* m) noexcept;
  void take(std::uint32_t bytes) noexcept;
  void give_back(std::uint32_t bytes) noexcept;
  bool extend(rte_mbuf* before, rte_mbuf* behind, std::span<const std::byte> payload,
              std::uint64_t offset) noexcept;
  static bool covered(rte_mbuf* from, std::uint64_t offset, std::uint64_t end) noexcept;
  rte_mbuf* position_for(std::uint64_t offset) const noexcept;

  rte_mempool* pool_;
  memory_budget& budget_;
  std::uint64_t socket_limit_;
  std::uint64_t next_offset_;
  std::uint64_t handed_over_ = 0;
  std::uint64_t memory_ = 0;  ///< of waiting_, beyond credit
  bool lagging_ = false;      ///< the application has more to read than it took
  rte_mbuf* open_ = nullptr;  ///< the last in-order mbuf, while small records may still be added
  segment_list ready_;        ///< in order, complete
  segment_list waiting_;      ///< the out-of-order queue, sorted, without overlaps
};

}  // namespace nd::core
