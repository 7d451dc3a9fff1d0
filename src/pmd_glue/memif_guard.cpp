// The handles that rte_intr_callback_register takes can be made only by calls that 22.11 still
// calls experimental. They are stable since.
#define ALLOW_EXPERIMENTAL_API

#include "pmd_glue/memif_guard.hpp"

#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

namespace nd::pmd {
namespace detail {

// Phase 1, nobody inside: the interrupt thread runs, as it does before the first guard exists.
constinit gate_word memif_gate{std::uint64_t{1} << gate_phase_shift};

}  // namespace detail

namespace {

// --- the gate ------------------------------------------------------------------------------------

constexpr std::uint64_t one_phase = std::uint64_t{1} << detail::gate_phase_shift;
constexpr std::uint64_t one_guard = 1;

constexpr std::uint64_t phase_of(std::uint64_t word) {
  return word >> detail::gate_phase_shift;
}
constexpr std::uint64_t guards_in(std::uint64_t word) {
  return word & (one_phase - 1);
}
constexpr bool asked(std::uint64_t word) {
  return (word & one_phase) != 0;
}
constexpr bool thread_runs(std::uint64_t word) {
  return asked(word) && guards_in(word) == 0;
}

std::atomic<std::uint64_t>& gate() {
  return detail::memif_gate.value;
}

/// Guards and pauses that want the thread held; while there are none it is not called at all.
constinit std::atomic<std::uint32_t> wanting{0};
/// Guards without a link. Theirs comes up only if the thread runs, so the others let it run often.
constinit std::atomic<std::uint32_t> without_link{0};

/// What is known of a port that guards look after.
struct watched_port {
  std::atomic<std::uint32_t> guards{0};
  std::atomic<std::uint32_t> link_number{0};
  std::atomic<std::int64_t> last_rx_ns{0};
};
constinit std::array<watched_port, RTE_MAX_ETHPORTS> watched_ports;

bool port_has_link(std::uint16_t id) noexcept {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/// On the interrupt thread, in each pass. The driver takes many passes to connect again, and until
/// all guards have seen that the link is down the line is raised: no loss goes by unseen.
void count_lost_links() noexcept {
  for (std::uint16_t id = 0; id < watched_ports.size(); ++id) {
    watched_port& port = watched_ports[id];
    if (port.guards.load(std::memory_order_relaxed) > 0 && !port_has_link(id))
      port.link_number.fetch_add(1, std::memory_order_relaxed);
  }
}

/// While it is raised, the interrupt thread calls us in every pass over its ready descriptors: a
/// descriptor that stays ready. One round is so one whole pass, however long it takes the thread;
/// an alarm that brings it back can be due before the pass has begun.
class interrupt_line {
 public:
  /// False if it cannot be had (no memory, no descriptor); the next call tries again.
  bool connected() noexcept { return registered_.load(std::memory_order_acquire) || connect(); }
  void raise() noexcept { eventfd_write(fd_, 1); }
  void lower() noexcept {
    eventfd_t raised = 0;
    eventfd_read(fd_, &raised);
  }

 private:
  bool connect() noexcept;

  std::mutex connecting_;
  std::atomic<bool> registered_{false};
  int fd_ = -1;
};

/// Never destroyed: at exit the interrupt thread may still look at it.
interrupt_line& line() {
  static auto* const the_line = new interrupt_line;
  return *the_line;
}

/// What the parked thread sleeps on. Posted once a round, by whoever makes thread_runs() true.
class round_signal {
 public:
  round_signal() noexcept { sem_init(&semaphore_, 0, 0); }
  void post() noexcept { sem_post(&semaphore_); }
  void wait() noexcept {
    while (sem_wait(&semaphore_) != 0 && errno == EINTR) continue;
  }

 private:
  sem_t semaphore_;  // never destroyed: at exit the interrupt thread may still sleep on it
};

round_signal& round_granted() {
  static round_signal signal;
  return signal;
}

/// The interrupt thread, once it was parked for the first time.
constinit std::atomic<pthread_t> interrupt_thread{0};

/// Lets the thread go, on the CPU of the caller. The EAL keeps it off our lcores, which on a
/// machine without a spare core puts it behind somebody else's busy loop, for 20 ms at times; here
/// the caller, who may not poll until it is back, makes way for it.
void let_go() noexcept {
  if (const pthread_t thread = interrupt_thread.load(std::memory_order_relaxed); thread != 0) {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &here);
    pthread_setaffinity_np(thread, sizeof here, &here);
  }
  round_granted().post();
}

/// Asks for a round; nothing to do if one was asked for already.
void ask() noexcept {
  std::uint64_t word = gate().load();
  do {
    if (asked(word)) return;
  } while (!gate().compare_exchange_weak(word, word + one_phase));
  if (guards_in(word) == 0) let_go();
}

/// Enters and returns the phase, unless the thread was asked to run. `insist` takes the asking back
/// if the thread has not been let go yet: then it never was away, and those inside just go on.
std::uint64_t enter_gate(bool insist, std::uint64_t otherwise) noexcept {
  std::uint64_t word = gate().load();
  for (;;) {
    if (asked(word) && (!insist || thread_runs(word))) return otherwise;
    const std::uint64_t parked = asked(word) ? word - one_phase : word;
    // Acquire: pairs with the release in park().
    if (gate().compare_exchange_weak(word, parked + one_guard)) return phase_of(parked);
  }
}

void leave_gate() noexcept {
  // Release: our bursts are over before the thread, which acquires through the semaphore, unmaps.
  const std::uint64_t before = gate().fetch_sub(one_guard);
  if (thread_runs(before - one_guard)) let_go();
}

/// On the interrupt thread: sleeps until a round is granted.
void park() noexcept {
  interrupt_thread.store(pthread_self(), std::memory_order_relaxed);
  // Release: pairs with the acquires in may_poll() and enter_gate().
  gate().fetch_add(one_phase);
  // Whoever stopped wanting us just before that found us running, and did not ask.
  if (wanting.load() == 0) ask();
  round_granted().wait();
}

/// The interrupt thread, in each pass while the line is raised. What became ready while parked
/// may come after us in the next pass, so that one goes by before it is parked again.
void on_pass(void*) noexcept {
  static bool was_parked = false;
  count_lost_links();
  if (wanting.load() != 0) {
    if (!was_parked) park();
    was_parked = !was_parked;
    return;
  }
  was_parked = false;
  line().lower();
  if (wanting.load() != 0) line().raise();  // it came in between
}

bool interrupt_line::connect() noexcept {
  const std::scoped_lock lock(connecting_);
  if (registered_.load(std::memory_order_relaxed)) return true;
  if (fd_ < 0) fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  rte_intr_handle* const handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
  const bool added = fd_ >= 0 && handle != nullptr && rte_intr_fd_set(handle, fd_) == 0 &&
                     rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT) == 0 &&
                     rte_intr_callback_register(handle, on_pass, nullptr) == 0;
  rte_intr_instance_free(handle);  // the EAL has made its own copy
  registered_.store(added, std::memory_order_release);
  return added;
}

/// False if the thread cannot be held.
bool want() noexcept {
  if (!line().connected()) return false;
  wanting.fetch_add(1);
  line().raise();
  return true;
}

void want_no_more() noexcept {
  wanting.fetch_sub(1);
  ask();
}

}  // namespace

// --- memif_guard ---------------------------------------------------------------------------------

memif_guard::memif_guard(std::uint16_t port_id) noexcept : port_id_(port_id) {
  without_link.fetch_add(1, std::memory_order_relaxed);
  watched_ports[port_id].guards.fetch_add(1, std::memory_order_relaxed);
}

void memif_guard::tell_others(instant now) noexcept {
  next_telling_ = now + silence / 16;
  watched_ports[port_id_].last_rx_ns.store(now.ns(), std::memory_order_relaxed);
}

bool memif_guard::look(instant now) noexcept {
  if (released_) return false;
  if (inside_phase_ == outside) return enter(now);

  if (phase_of(gate().load(std::memory_order_acquire)) == inside_phase_ && !round_is_due(now)) {
    // Only the time to look has come; received() does not move it, to stay a single store.
    next_look_ = (last_rx_ > entered_ ? last_rx_ : entered_) + silence;
    return true;
  }
  ask();
  leave();
  left_ = now;
  return false;
}

bool memif_guard::round_is_due(instant now) const noexcept {
  const duration inside = now - entered_;
  if (inside < silence) return false;
  const bool others_wait = without_link.load(std::memory_order_relaxed) != 0;
  if (others_wait || inside >= round_interval_max) return true;
  const instant told(watched_ports[port_id_].last_rx_ns.load(std::memory_order_relaxed));
  return now - std::max(last_rx_, told) >= silence;
}

bool memif_guard::enter(instant now) noexcept {
  // In a primary process this reads one word that the PMD keeps, and touches no ring.
  if (!port_has_link(port_id_)) {
    note_link(false);
    sched_yield();
    return false;
  }
  if (!set_wanting(true)) return false;
  if (left_.is_never()) left_ = now;
  inside_phase_ = enter_gate(now - left_ >= patience, outside);
  if (inside_phase_ == outside) {
    sched_yield();
    return false;
  }
  left_ = instant::never();
  // From here on the link cannot change; before, it could have.
  if (!port_has_link(port_id_)) {
    leave();
    note_link(false);
    return false;
  }
  note_link(true);
  link_number_ = watched_ports[port_id_].link_number.load(std::memory_order_relaxed);
  // Others were too slow to leave, and there was no round: soon once more.
  const bool away_in_vain = std::exchange(last_phase_, inside_phase_) == inside_phase_;
  if (!away_in_vain) entered_ = now;
  next_look_ = now + (away_in_vain ? patience * 10 : silence);
  return true;
}

void memif_guard::leave() noexcept {
  inside_phase_ = outside;
  leave_gate();
}

void memif_guard::note_link(bool up) noexcept {
  if (!up) set_wanting(false);
  if (up == link_up_) return;
  link_up_ = up;
  if (up) {
    without_link.fetch_sub(1, std::memory_order_relaxed);
  } else {
    without_link.fetch_add(1, std::memory_order_relaxed);
  }
}

bool memif_guard::set_wanting(bool wanting_now) noexcept {
  if (wanting_now == wanting_) return true;
  if (wanting_now) {
    wanting_ = want();
    return wanting_;
  }
  wanting_ = false;
  left_ = instant::never();
  want_no_more();
  return true;
}

void memif_guard::rest(instant now) noexcept {
  if (inside_phase_ == outside) return;
  if (round_is_due(now)) ask();
  leave();
}

void memif_guard::release() noexcept {
  if (released_) return;
  released_ = true;
  if (inside_phase_ != outside) leave();
  set_wanting(false);
  note_link(true);  // nobody need hurry for this port
  watched_ports[port_id_].guards.fetch_sub(1, std::memory_order_relaxed);
  link_up_ = false;
}

// --- interrupt_pause -----------------------------------------------------------------------------

interrupt_pause::interrupt_pause() noexcept {
  constexpr int patience_steps = 20'000;
  constexpr timespec step{.tv_sec = 0, .tv_nsec = 50'000};
  constexpr std::uint64_t not_entered = std::numeric_limits<std::uint64_t>::max();
  wanting_ = want();
  for (int i = 0; wanting_ && i < patience_steps && !held_; ++i) {
    held_ = enter_gate(true, not_entered) != not_entered;
    if (!held_) nanosleep(&step, nullptr);
  }
}

interrupt_pause::~interrupt_pause() {
  if (held_) leave_gate();
  if (wanting_) want_no_more();
}

// --- memif_redial --------------------------------------------------------------------------------

memif_redial::memif_redial(std::uint16_t port_id, memif_args args, unsigned pairs_wanted,
                           duration patience, std::function<bool(unsigned)> before_start)
    : inquiry_(args, pairs_wanted),
      before_start_(std::move(before_start)),
      patience_(patience),
      port_id_(port_id),
      is_client_(args.role == memif_role::client) {}

void memif_redial::poll(instant now) noexcept {
  if (!is_client_ || now < next_try_) return;
  switch (inquiry_.poll()) {
    case memif_inquiry::answer::none_yet: next_try_ = now + look_again; break;
    case memif_inquiry::answer::nobody_there: next_try_ = now + ask_again; break;
    case memif_inquiry::answer::pairs:
      next_try_ = now + (restart_port(inquiry_.pairs()) ? patience_ : ask_again);
      break;
  }
}

bool memif_redial::restart_port(unsigned pairs) noexcept {
  const interrupt_pause pause;
  if (!pause.held()) return false;
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(port_id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP) {
    return true;  // it came up meanwhile
  }
  // Stopping a stopped port is harmless, but ethdev logs it.
  if (port_is_started_ && rte_eth_dev_stop(port_id_) != 0) return false;
  port_is_started_ = (!before_start_ || before_start_(pairs)) && rte_eth_dev_start(port_id_) == 0;
  return port_is_started_;
}

}  // namespace nd::pmd
