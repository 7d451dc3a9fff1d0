// What the io lcores of a host hand each other: frames, packets whose records are for sockets of
// another lcore, and records for another lcore's channels. Rings, one that is read an lcore and
// kind; no lock.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/ring.hpp"
#include "base/time.hpp"
#include "nd/error.hpp"
#include "sched/placement.hpp"
#include "wire/record.hpp"

namespace nd::core {

/// A packet for the sockets of another lcore, and the same on its way back: it is acknowledged when
/// all lcores that have records in it have kept them.
struct handoff {
  rte_mbuf* packet = nullptr;  ///< a reference that goes with it; null on the way back
  std::uint64_t epoch = 0;     ///< of the peer that sent it
  instant known_since;         ///< that peer, to the lcore that received it
  std::uint32_t peer_ip = 0;
  std::uint32_t ticket = 0;  ///< whose packet it is, at the lcore that received it
  std::uint16_t at = 0;      ///< of the records, behind the start of the mbuf's data
  std::uint16_t length = 0;
  std::uint8_t from = 0;      ///< lcore
  std::uint8_t latency = 0;   ///< of the latency class
  std::uint8_t kept = 0;      ///< on the way back
  std::uint8_t reserved = 0;  ///< a ring takes whole words
};
static_assert(sizeof(handoff) == 40);

/// What one lcore has found out about a peer, for all: it has a new life, or was given up. A peer
/// is lost to the whole host, or connections would go on at one end whose other end has gone.
struct peer_news {
  std::uint64_t epoch = 0;
  instant when;
  std::uint32_t ip = 0;
  std::uint16_t error = 0;     ///< an errc; 0: it lives, in this epoch
  std::uint8_t reconnect = 0;  ///< connections that were being opened try again
  std::uint8_t reserved = 0;
};
static_assert(sizeof(peer_news) == 24);

/// A record that a socket's lcore gives to another one, whose channels carry it, and the same on
/// its way back, when it is known what became of it.
struct forwarded_record {
  wire::record record;
  std::uint64_t epoch = 0;    ///< of the peer that it is for
  std::uint32_t peer_ip = 0;  ///< also on the way back, as what follows
  std::uint16_t payload = 0;  ///< bytes that a record may have there; 0: nothing can be carried now
  std::uint8_t carrier = 0;   ///< lcore
  std::uint8_t arrived = 0;   ///< else it is lost
};
static_assert(sizeof(forwarded_record) == 80);

class lcore_exchange {
 public:
  /// Records of one lcore that others may have, and those of them that wait at one for a channel:
  /// what waits there, others overtake.
  static constexpr std::uint32_t most_forwarded = 1024;
  static constexpr std::uint32_t most_waiting = 32;
  /// Packets of one lcore that others may be at work on.
  static constexpr std::uint32_t tickets = 512;
  /// Frames of one kind that may wait for an lcore.
  static constexpr unsigned frames = 1023;

  /// Throws std::bad_alloc.
  explicit lcore_exchange(unsigned lcores);
  /// All lcores have ended: what is still under way is freed.
  ~lcore_exchange();
  lcore_exchange(const lcore_exchange&) = delete;
  lcore_exchange& operator=(const lcore_exchange&) = delete;

  unsigned lcores() const noexcept { return static_cast<unsigned>(inboxes_.size()); }
  /// Called with the number of an lcore that has been given something; set before the lcores run.
  std::function<void(unsigned)> wake;

  /// What waits for one lcore. Everything is put in by any lcore, and taken out by this one.
  struct inbox {
    explicit inbox(unsigned lcores);

    bool has_frames() const noexcept {
      return !received.empty() || !received_urgent.empty() || !to_send.empty() ||
             !to_send_urgent.empty();
    }
    bool has_packets() const noexcept {
      return !packets.empty() || !answers.empty() || !news.empty() || !forwarded.empty() ||
             !returned.empty();
    }

    mpsc_ring<rte_mbuf> received;         ///< frames for it that came to another one
    mpsc_ring<rte_mbuf> received_urgent;  ///< on the second lane
    mpsc_ring<rte_mbuf> to_send;  ///< frames of lcores without a device, for the first one's
    mpsc_ring<rte_mbuf> to_send_urgent;
    mpsc_value_ring<handoff> packets;
    mpsc_value_ring<handoff> answers;  ///< has room for all that can be under way
    mpsc_value_ring<peer_news> news;
    mpsc_value_ring<forwarded_record> forwarded;  ///< both have room for all that can be under way
    mpsc_value_ring<forwarded_record> returned;
    /// Records of each other lcore that have left `forwarded` and the queue behind it. Written
    /// here.
    std::array<std::atomic<std::uint64_t>, most_io_lcores> taken{};
  };
  inbox& of(unsigned lcore) noexcept { return *inboxes_[lcore]; }

  void tell(unsigned lcore) const {
    if (wake) wake(lcore);
  }

 private:
  std::vector<std::unique_ptr<inbox>> inboxes_;
};

}  // namespace nd::core
