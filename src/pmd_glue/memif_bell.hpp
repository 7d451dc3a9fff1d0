// Wakes the lcore at the other end of a pair of memif queues: the driver has no rx interrupts.
//
// Who wants to sleep asks for it, in a frame, and says where it can be reached: a datagram socket.
// The other end sends a datagram there at once, and one more right after the next frame that it
// sends. So whatever is not in the ring when the sleeper has heard the first one, and has looked
// once more, is told of by the second one.
//
//        sleeper                            other end
//        asks     --- number, socket --->   owes
//        looks    <=== owes, number =====
//        sleeps
//        wakes    <--- a frame ----------
//                 <=== rang, number =====   owes nothing
//
// What asks wakes a sleeper too, but is no reason not to sleep again: else two idle ends would keep
// each other awake.
#pragma once

#include <rte_mbuf.h>
#include <rte_random.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/port.hpp"
#include "pmd_glue/descriptor.hpp"

namespace nd::pmd {

/// Of one pair of queues, by the thread that polls it. Both ends must be in one network namespace;
/// where they are not, or the other end does not know of bells, nothing is promised.
class memif_bell {
 public:
  memif_bell(const mac_address& mac, rte_mempool* pool) noexcept : mac_(mac), pool_(pool) {}

  /// The link is another one, or gone.
  void reset() noexcept;

  /// Takes what the other end asks out of what was received; returns how many frames are left. A
  /// frame ends the promise: the other end has rung, or has forgotten it.
  std::size_t on_received(std::span<rte_mbuf*> frames) noexcept {
    std::size_t left = frames.size();
    for (const rte_mbuf* m : frames) {
      if (!may_ask(m)) continue;
      left = without_questions(frames);
      break;
    }
    promised_ = promised_ && left == 0;
    return left;
  }
  /// The rings were empty, or what was in them has been taken.
  void looked() noexcept { looks_ += looks_ < enough_looks; }
  /// After each frame that was sent.
  void sent() noexcept {
    if (owes_) [[unlikely]]
      ring();
  }

  /// Whether the other end has promised to ring, and the rings were looked at since.
  bool promised() noexcept;
  /// A question for the other end; null: not now.
  rte_mbuf* question() noexcept;
  /// When that was sent.
  void asked() noexcept {
    if (owes_) [[unlikely]]
      nudge();
  }
  /// Readable when the other end has rung.
  int fd() const noexcept { return socket_ ? socket_->get() : -1; }
  /// Hears what has come there.
  void hear() noexcept;

  /// The name of a socket without a file: what the kernel gives one that is bound to no name.
  using socket_name = std::array<char, 6>;

 private:
  enum class sound : std::uint8_t { owes, rang, asks };

  /// The lanes of a pair are looked at one after the other, and the gate may be closed for one.
  static constexpr unsigned enough_looks = 2;
  static constexpr unsigned wait_for_answer = 32;  ///< short sleeps
  static constexpr unsigned most_unanswered = 4;
  static constexpr std::uint16_t question_size = 60;

  static bool may_ask(const rte_mbuf* m) noexcept { return m->data_len == question_size; }
  [[gnu::cold]] std::size_t without_questions(std::span<rte_mbuf*> frames) noexcept;
  [[gnu::cold]] void ring() noexcept;
  [[gnu::cold]] void nudge() noexcept;
  bool open() noexcept;
  void tell(sound what) noexcept;

  mac_address mac_;
  rte_mempool* pool_;
  std::optional<descriptor> socket_;
  socket_name name_{};

  // To sleep.
  std::uint32_t number_ = static_cast<std::uint32_t>(rte_rand());  ///< of the last question
  bool promised_ = false;                                          ///< to ring after the next frame
  unsigned looks_ = 0;                                             ///< since that was heard
  unsigned wait_ = 0;        ///< calls of question() before the next one
  unsigned unanswered_ = 0;  ///< questions

  // To wake the other end.
  bool owes_ = false;
  std::uint32_t other_number_ = 0;
  socket_name other_name_{};
};

}  // namespace nd::pmd
