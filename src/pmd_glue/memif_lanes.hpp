// Agrees with the other end of a memif on the pairs of queues that both may use.
//
// The client makes the rings, as many as it has queues; a server that has fewer refuses it. One
// that has more is not told, and may not touch the others: the driver would take the first ring
// for theirs. So the client says on the first pair what there is, and sends on the others once the
// server has answered; it receives from all of them from the start. A word is a frame of an
// EtherType for local experiments; who does not know it drops it.
//
//        client                              server
//        asking  --- lcores, lanes -------->  open
//        open    <-- lcores, lanes ---------  open
//                --- the same, settled ---->  settled
//
// An end that is older knows one lcore with two lanes, and does not look behind the text: its word
// has no numbers. To that one the answer comes on the second pair, and so does the last word.
#pragma once

#include <rte_mbuf.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/port.hpp"
#include "pmd_glue/memif_args.hpp"

namespace nd::pmd {

/// Pairs of queues at one end: lcore i has those from i * lanes on, for bulk data and, of two
/// lanes, for latency traffic.
struct memif_pairs {
  std::uint8_t lcores = 1;
  std::uint8_t lanes = 1;

  unsigned count() const noexcept { return unsigned{lcores} * lanes; }
  friend bool operator==(const memif_pairs&, const memif_pairs&) = default;
};
inline constexpr unsigned memif_lcores_max = 16;
inline constexpr unsigned memif_lanes_max = 2;

/// A client's, of a server that takes so many pairs: first both lanes, then as many lcores as can
/// have them.
constexpr memif_pairs within(memif_pairs wanted, unsigned pairs) noexcept {
  if (pairs < wanted.lanes) return {};
  return {static_cast<std::uint8_t>(std::min<unsigned>(wanted.lcores, pairs / wanted.lanes)),
          wanted.lanes};
}

/// What may be touched of a link, now.
struct memif_queues {
  memif_pairs receive{};
  memif_pairs send{};
  std::uint8_t stride = 1;  ///< from one lcore's first pair to the next one's: the client's lanes

  friend bool operator==(const memif_queues&, const memif_queues&) = default;
};

/// By the thread of the first lcore.
class memif_lanes {
 public:
  memif_lanes(memif_role role, const mac_address& mac, rte_mempool* pool) noexcept
      : role_(role), mac_(mac), pool_(pool) {}

  /// The link has come up. `own`: a client's pairs, which are in the rings; what a server could
  /// use.
  void start(instant now, memif_pairs own) noexcept;
  void stop() noexcept { *this = memif_lanes(role_, mac_, pool_); }

  const memif_queues& queues() const noexcept { return queues_; }
  /// The other end has said what it has.
  bool heard() const noexcept { return heard_; }

  /// Takes words out of what was received on the first lcore's first or second pair; returns how
  /// many frames are left. Costs a look at each frame until both ends have agreed, or this one has
  /// given up.
  std::size_t on_received(std::span<rte_mbuf*> frames, bool on_second) noexcept;

  /// A word that is to be said now, and where; null: none.
  struct word {
    rte_mbuf* frame = nullptr;
    bool on_second = false;
  };
  word next_word(instant now) noexcept {
    if (due_ == answer::none && now < next_try_) [[likely]]
      return {};
    return say(now);
  }

 private:
  enum class answer : std::uint8_t { none, with_numbers, to_older };

  void hear(memif_pairs other, bool settled, bool on_second) noexcept;
  [[gnu::cold]] word say(instant now) noexcept;

  memif_role role_;
  mac_address mac_;
  rte_mempool* pool_;
  memif_pairs own_{};
  memif_queues queues_{};
  bool listens_ = false;  ///< words may come
  bool heard_ = false;
  answer due_ = answer::none;
  unsigned tries_ = 0;
  instant next_try_ = instant::never();
};

}  // namespace nd::pmd
