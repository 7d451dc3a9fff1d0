// Keeps a memif port safe to poll while the process at its other end may die.
//
// net_memif unmaps its rings on the EAL's interrupt thread, in the callback that notices that the
// other process is gone. A burst that runs on an lcore at that moment reads unmapped memory. The
// PMD offers no lock, but the interrupt thread runs its callbacks one after the other: while it is
// inside one of ours, it is in none of the PMD's. So ours holds it (it sleeps, it does not spin)
// whenever a port is being polled, and lets it go for a *round* now and then:
//
//            a guard asks                 the last guard inside has left
//   parked ----------------> asked for ----------------------------------> running
//     ^                          |                                            |
//     |   nobody left in time    |            our callback is entered again   |
//     +--------------------------+                                            |
//     +-----------------------------------------------------------------------+
//
// A guard may poll while parked or asked for. It leaves when it sees that a round was asked for,
// and while the thread runs its port has no packets and takes none: nobody waits. There is one
// interrupt thread, so there is one such gate a process, shared by all guards.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>

#include "base/time.hpp"
#include "pmd_glue/memif_args.hpp"
#include "pmd_glue/memif_inquiry.hpp"

struct rte_intr_handle;

namespace nd::pmd {

namespace detail {

/// The phase (even: parked; odd: asked for or running) above the number of guards inside.
/// One word, so that "the last guard left, and a round was asked for" is seen exactly once.
/// Read by every poll, written at most some hundred times a second: a cache line of its own.
struct alignas(64) gate_word {
  std::atomic<std::uint64_t> value;
};
extern constinit gate_word memif_gate;
inline constexpr unsigned gate_phase_shift = 16;

}  // namespace detail

/// One for each pair of memif port and thread that polls it (all members but the destructor are for
/// that thread). Create it before the port is started, release it before the port is stopped.
class memif_guard {
 public:
  /// A dead peer is silent: after this much silence the interrupt thread may look for a hang-up.
  /// Longer than our peers' keepalive: one that lives causes no round.
  static constexpr duration silence = duration::milliseconds(150);
  /// And after this long under traffic, for everybody else's interrupts.
  static constexpr duration round_interval_max = duration::seconds(1);
  /// How long a guard that has left waits for the others before it goes back to polling: a thread
  /// that has stopped polling (its application is busy) must not silence the other threads.
  static constexpr duration patience = duration::milliseconds(1);

  explicit memif_guard(std::uint16_t port_id) noexcept;
  ~memif_guard() { release(); }
  memif_guard(const memif_guard&) = delete;
  memif_guard& operator=(const memif_guard&) = delete;

  /// Call before each round of bursts. True: the port may be polled and sent on until the next
  /// call. False: leave it alone, it has no packets and takes none; ask again in the next round.
  bool may_poll(instant now) noexcept {
    // The acquire pairs with the release in park(): what the PMD's callbacks did is visible.
    const std::uint64_t phase =
        detail::memif_gate.value.load(std::memory_order_acquire) >> detail::gate_phase_shift;
    if (phase == inside_phase_ && now < next_look_) [[likely]]
      return true;
    return look(now);
  }

  /// Packets were received at `now`. Other threads' guards of the port hear of it now and then.
  void received(instant now) noexcept {
    last_rx_ = now;
    if (now >= next_telling_) [[unlikely]]
      tell_others(now);
  }

  /// The link as of the last may_poll().
  bool link_up() const noexcept { return link_up_; }
  /// Tells one link from those before it, also where it went and came while this thread was away.
  std::uint32_t link_number() const noexcept { return link_number_; }

  /// This thread will not poll for a while: no round waits for it. may_poll() resumes.
  void rest(instant now) noexcept;

  /// This thread will not poll again; may_poll() is false from here on. Then stop the port under an
  /// interrupt_pause.
  void release() noexcept;

 private:
  static constexpr std::uint64_t outside = std::numeric_limits<std::uint64_t>::max();

  [[gnu::cold]] bool look(instant now) noexcept;
  [[gnu::cold]] void tell_others(instant now) noexcept;
  bool round_is_due(instant now) const noexcept;
  bool enter(instant now) noexcept;
  void leave() noexcept;
  void note_link(bool up) noexcept;
  bool set_wanting(bool wanting) noexcept;

  std::uint64_t inside_phase_ = outside;
  instant next_look_;
  instant last_rx_;
  instant next_telling_;
  instant entered_;
  instant left_ = instant::never();
  std::uint64_t last_phase_ = outside;  ///< in which it was inside
  std::uint32_t link_number_ = 0;
  std::uint16_t port_id_;
  bool wanting_ = false;
  bool link_up_ = false;
  bool released_ = false;
};

/// Holds the interrupt thread for as long as it lives, for calls that must not meet the PMD's
/// callbacks: rte_eth_dev_stop and rte_eth_dev_close of a memif port tear down, on the calling
/// thread, what a hang-up tears down on the interrupt thread. Waits for the thread (100 to 200
/// microseconds). Not for the interrupt thread itself.
class interrupt_pause {
 public:
  interrupt_pause() noexcept;
  ~interrupt_pause();
  interrupt_pause(const interrupt_pause&) = delete;
  interrupt_pause& operator=(const interrupt_pause&) = delete;

  /// False if the thread has not come within a second: another callback holds it.
  bool held() const noexcept { return held_; }

 private:
  bool wanting_ = false;
  bool held_ = false;
};

/// Connects a memif client, and connects it again when its server has gone and come back. The PMD
/// tries once, in rte_eth_dev_start, and never again; that connect() blocks for as long as the
/// server's backlog is full, which with a hung server is for ever; and a server that is about to
/// start, or has fewer queues, refuses, of which the PMD tells nobody. So a socket of our own asks
/// first (memif_inquiry.hpp), and the port is started again only once the server has said how many
/// pairs of queues it takes. The port must have its queues set up. It need not have been started:
/// for a client whose server is not there yet, rte_eth_dev_start fails, and poll() does it when the
/// server is.
class memif_redial {
 public:
  static constexpr duration ask_again = duration::milliseconds(20);
  /// For the next answer of a server that is there.
  static constexpr duration look_again = duration::microseconds(100);
  /// For the PMD's handshake, about ten messages, which a server with another port under traffic
  /// answers at one a round.
  static constexpr duration handshake = duration::milliseconds(250);

  /// `patience`: for the PMD's handshake. `before_start`: told how many pairs the server takes, of
  /// those wanted; returns whether the port, which is stopped, may be started. Nobody else polls it
  /// then: the link is down, and stays so while the interrupt thread is held, so no guard lets its
  /// thread in.
  memif_redial(std::uint16_t port_id, memif_args args, unsigned pairs_wanted = 1,
               duration patience = handshake, std::function<bool(unsigned)> before_start = {});
  memif_redial(const memif_redial&) = delete;
  memif_redial& operator=(const memif_redial&) = delete;

  /// Call while the guard says that the link is down, from the thread that owns the port. Does
  /// nothing for a server. Stops and starts the port when its server is there.
  void poll(instant now) noexcept;

 private:
  bool restart_port(unsigned pairs) noexcept;

  memif_inquiry inquiry_;
  std::function<bool(unsigned)> before_start_;
  instant next_try_;
  duration patience_;
  std::uint16_t port_id_;
  bool is_client_;
  bool port_is_started_ = false;
};

/// Mends what the PMD's listener does when a client dies between its connect() and the greeting.
/// The PMD (22.11) closes the accepted descriptor but leaves it in the EAL's list, and the EAL
/// panics when it next builds its epoll set. Our callback on the same listener runs right after the
/// PMD's, and puts a descriptor that is never ready in the place of the closed one. One for each
/// memif server, from rte_eal_init on. Does nothing for a client.
class memif_listener_mend {
 public:
  explicit memif_listener_mend(const memif_args& args);
  /// After rte_eth_dev_close, which leaves the listener open with a callback on freed memory: the
  /// listener is replaced as well, so that the next client is refused.
  ~memif_listener_mend();
  memif_listener_mend(const memif_listener_mend&) = delete;
  memif_listener_mend& operator=(const memif_listener_mend&) = delete;

  /// False if the listener was not found, or there is no memory: then nothing is mended.
  bool active() const noexcept { return handle_ != nullptr; }

 private:
  rte_intr_handle* handle_ = nullptr;
};

}  // namespace nd::pmd
