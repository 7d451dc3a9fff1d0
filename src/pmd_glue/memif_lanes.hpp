// Agrees with the other end of a memif on a second pair of queues.
//
// The client makes the rings, as many as it has queues; a server that has fewer refuses it. One
// that has more is not told, and may not touch the others: the driver would take the first ring
// for theirs. So the client says on the first pair that there is a second one, and uses that once
// the server's answer has come on it. The word is a frame of an EtherType for local experiments;
// who does not know it drops it.
//
//        client                       server
//        asking  --- word, pair 1 -->  closed
//        open    <-- word, pair 2 ---  open
//                --- word, pair 2 -->  settled
#pragma once

#include <rte_mbuf.h>

#include <span>

#include "base/port.hpp"
#include "pmd_glue/memif_args.hpp"

namespace nd::pmd {

class memif_lanes {
 public:
  memif_lanes(memif_role role, const mac_address& mac, rte_mempool* pool) noexcept
      : role_(role), mac_(mac), pool_(pool) {}

  /// The link has come up, with or without a second pair of queues at this end.
  void start(instant now, bool second) noexcept;
  void stop() noexcept { *this = memif_lanes(role_, mac_, pool_); }

  /// The second pair may be received from, and sent to.
  bool can_receive() const noexcept { return can_receive_; }
  bool can_send() const noexcept { return can_send_; }

  /// Takes words out of what was received on a pair; returns how many frames are left. Costs a
  /// look at each frame until both ends have agreed, or this one has given up.
  std::size_t on_received(std::span<rte_mbuf*> frames, bool on_second) noexcept;

  /// A word that is to be said now, and where; null: none.
  struct word {
    rte_mbuf* frame = nullptr;
    bool on_second = false;
  };
  word next_word(instant now) noexcept {
    if (!answer_due_ && now < next_try_) [[likely]]
      return {};
    return say(now);
  }

 private:
  [[gnu::cold]] word say(instant now) noexcept;

  memif_role role_;
  mac_address mac_;
  rte_mempool* pool_;
  bool can_receive_ = false;
  bool can_send_ = false;
  bool listens_ = false;  ///< words may come
  bool answer_due_ = false;
  unsigned tries_ = 0;
  instant next_try_ = instant::never();
};

}  // namespace nd::pmd
