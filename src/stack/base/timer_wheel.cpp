#include "base/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace nd {

timer_wheel::timer_wheel(instant start) noexcept
    : tick_(start.ns() <= 0 ? 0 : static_cast<std::uint64_t>(start.ns()) >> tick_shift) {
  for (level& l : levels_)
    for (link& list : l.lists) list.next = list.prev = &list;
}

// Rounded up, so that a timer never fires early.
std::uint64_t timer_wheel::tick_at_or_after(instant t) noexcept {
  constexpr std::uint64_t tick_ns = std::uint64_t{1} << tick_shift;
  return t.ns() <= 0 ? 0 : (static_cast<std::uint64_t>(t.ns()) + tick_ns - 1) >> tick_shift;
}

void timer_wheel::arm_no_later(timer& t, instant deadline) noexcept {
  if (deadline.is_never()) return;
  if (t.armed()) {
    if (t.deadline_ <= deadline) return;
    unlink(t);
  }
  t.deadline_ = deadline;
  place(t);
}

void timer_wheel::disarm(timer& t) noexcept {
  if (t.armed()) unlink(t);
}

// The lowest level whose 64 slots, counted from the current tick, reach the deadline. What is due
// already goes into the current slot; what is beyond the last level waits in its farthest slot and
// is placed again from there.
void timer_wheel::place(timer& t) noexcept {
  std::uint64_t at = std::max(tick_at_or_after(t.deadline_), tick_);
  int l = 0;
  while (l < levels - 1 && (at >> (slot_bits * l)) - (tick_ >> (slot_bits * l)) >= slots) ++l;
  const int shift = slot_bits * l;
  at = std::min(at >> shift, (tick_ >> shift) + slots - 1);

  level& lv = levels_[static_cast<std::size_t>(l)];
  link& list = lv.lists[at % slots];
  t.prev = list.prev;
  t.next = &list;
  list.prev->next = &t;
  list.prev = &t;
  lv.occupied |= std::uint64_t{1} << (at % slots);
  next_due_ = std::min(next_due_, at << shift);
}

void timer_wheel::unlink(timer& t) noexcept {
  t.next->prev = t.prev;
  t.prev->next = t.next;
  t.next = t.prev = nullptr;
}

// Higher levels first among equals: their timers must be spread over the lower slots before those
// are looked at.
timer_wheel::due_slot timer_wheel::earliest() const noexcept {
  due_slot first{-1, 0};
  for (int l = levels - 1; l >= 0; --l) {
    const level& lv = levels_[static_cast<std::size_t>(l)];
    if (lv.occupied == 0) continue;
    const std::uint64_t current = tick_ >> (slot_bits * l);
    const int ahead = std::countr_zero(std::rotr(lv.occupied, static_cast<int>(current % slots)));
    const std::uint64_t tick =
        std::max((current + static_cast<std::uint64_t>(ahead)) << (slot_bits * l), tick_);
    if (first.level < 0 || tick < first.tick) first = {l, tick};
  }
  return first;
}

timer* timer_wheel::expire_slots(std::uint64_t target) noexcept {
  for (;;) {
    const due_slot due = earliest();
    if (due.level < 0 || due.tick > target) {
      tick_ = std::max(tick_, target);
      next_due_ = due.level < 0 ? ~std::uint64_t{0} : due.tick;
      return nullptr;
    }
    tick_ = due.tick;
    level& lv = levels_[static_cast<std::size_t>(due.level)];
    const std::uint64_t slot = (due.tick >> (slot_bits * due.level)) % slots;
    link& list = lv.lists[slot];
    if (due.level == 0 && list.next != &list) {
      timer& t = static_cast<timer&>(*list.next);
      unlink(t);
      return &t;
    }
    lv.occupied &= ~(std::uint64_t{1} << slot);
    while (list.next != &list) {
      timer& t = static_cast<timer&>(*list.next);
      unlink(t);
      place(t);
    }
  }
}

instant timer_wheel::next_expiry() const noexcept {
  const due_slot due = earliest();
  return due.level < 0 ? instant::never()
                       : instant(static_cast<std::int64_t>(due.tick << tick_shift));
}

}  // namespace nd
