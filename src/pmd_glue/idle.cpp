#include "pmd_glue/idle.hpp"

#include <linux/futex.h>
#include <poll.h>
#include <rte_pause.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <system_error>

namespace nd::pmd {
namespace {

timespec as_timespec(duration d) noexcept {
  constexpr std::int64_t second = 1'000'000'000;
  return {.tv_sec = d.ns() / second, .tv_nsec = d.ns() % second};
}

}  // namespace

idle_mode idle_mode_of(std::string_view setting) noexcept {
  if (setting == "spin") return idle_mode::spin;
  return setting == "pause" ? idle_mode::pause : idle_mode::sleep;
}

void pause() noexcept {
  for (int i = 0; i < 16; ++i) rte_pause();
}

polling_idle::polling_idle(idle_mode mode) : mode_(mode) {
  if (mode != idle_mode::sleep) return;
  bell_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (bell_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

polling_idle::~polling_idle() {
  if (bell_ >= 0) close(bell_);
}

void polling_idle::sleep(duration most, int source) noexcept {
  if (most.ns() <= 0) return;
  const timespec time = as_timespec(most);
  std::array<pollfd, 2> fds{pollfd{.fd = bell_, .events = POLLIN, .revents = 0},
                            pollfd{.fd = source, .events = POLLIN, .revents = 0}};
  if (ppoll(fds.data(), source < 0 ? 1 : 2, &time, nullptr) <= 0 || fds[0].revents == 0) return;
  eventfd_t rings = 0;
  eventfd_read(bell_, &rings);
}

void polling_idle::ring() noexcept {
  eventfd_write(bell_, 1);
}

void turn_signal::wait(std::uint32_t seen, duration most) noexcept {
  if (most.ns() <= 0) return;
  const timespec time = as_timespec(most);
  sleepers_.fetch_add(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Compares with `seen` once more, and sleeps only where that is still the value.
  syscall(SYS_futex, &turns_, FUTEX_WAIT_PRIVATE, seen, &time, nullptr, 0);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void turn_signal::wake_all() noexcept {
  syscall(SYS_futex, &turns_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace nd::pmd
