// Asks a memif server how many pairs of queues it takes, before the driver connects to it.
//
// The driver's server refuses a client with more queues than it has itself, and the driver's client
// does not tell anybody: its link just stays down. So a socket of our own goes through the
// beginning of the protocol, as a client would, with no memory behind it, and hangs up.
//
//        we                                   server
//           ---- connect() ------------------>
//           <--- HELLO -----------------------
//           ---- INIT, of this interface ---->   not started yet, or taken: DISCONNECT
//           <--- ACK -------------------------
//           ---- ADD_RING, one of a pair ---->   no such queue: DISCONNECT
//           <--- ACK -------------------------
#pragma once

#include "pmd_glue/memif_args.hpp"

namespace nd::pmd {

class memif_inquiry {
 public:
  enum class answer { none_yet, nobody_there, pairs };

  memif_inquiry(memif_args args, unsigned wanted);
  /// May wait for the answer to what was just sent: a server must not meet a closed socket.
  ~memif_inquiry() { hang_up(); }
  memif_inquiry(const memif_inquiry&) = delete;
  memif_inquiry& operator=(const memif_inquiry&) = delete;

  /// Goes on without waiting; begins anew after an answer other than `none_yet`.
  answer poll() noexcept;
  /// After answer::pairs: how many it takes, at most as many as are wanted, at least one.
  unsigned pairs() const noexcept { return acks_ > 0 ? (acks_ - 1) / 2 : 0; }

 private:
  bool dial() noexcept;
  bool say_init() const noexcept;
  bool say_ring() const noexcept;
  answer end(answer a) noexcept;
  void hang_up() noexcept;

  memif_args args_;
  unsigned wanted_;
  unsigned acks_ = 0;  ///< of INIT, then two for each pair
  int socket_ = -1;
};

}  // namespace nd::pmd
