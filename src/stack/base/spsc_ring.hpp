// A bounded FIFO of pointers from one thread to another, that has no slots before they are needed.
#pragma once

#include <rte_common.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace nd {

namespace detail {

/// Slots follow it. Elements from number `first` on lie in it, up to the next one's first.
struct ring_block {
  std::atomic<ring_block*> next{nullptr};
  std::uint32_t first = 0;
  std::uint32_t slots = 0;

  void*& at(std::uint32_t number) noexcept {
    return reinterpret_cast<void**>(this + 1)[number & (slots - 1)];
  }
};

}  // namespace detail

/// The two ends of a ring are apart, so that each can lie among what else its thread writes:
/// hundreds of thousands of rings must be small. They are joined by a ring_view, and make sense in
/// pairs only.
struct ring_in {
  std::atomic<std::uint32_t> tail{0};  ///< release; the reader acquires it
  detail::ring_block* block = nullptr;
  std::atomic<detail::ring_block*> first{nullptr};  ///< the first block ever
};
struct ring_out {
  std::atomic<std::uint32_t> head{0};  ///< release; the writer acquires it
  detail::ring_block* block = nullptr;
};

/// What is pushed before is seen after the pop. Slots are 8 at first, and eight times as many each
/// time they do not suffice; a ring that is as large as its use needs allocates nothing.
template <class T>
class ring_view {
 public:
  /// `capacity` is a power of 2, and always the same.
  ring_view(ring_in& in, ring_out& out, std::uint32_t capacity) noexcept
      : in_(in), out_(out), capacity_(capacity) {}

  // The writer's.

  /// False when the ring is full, or there is no memory to make it larger.
  bool push(T* element) noexcept {
    const std::uint32_t tail = in_.tail.load(std::memory_order_relaxed);
    const std::uint32_t used = tail - out_.head.load(std::memory_order_acquire);
    if (in_.block == nullptr || used >= in_.block->slots) [[unlikely]]
      if (!grow(tail)) return false;
    in_.block->at(tail) = element;
    in_.tail.store(tail + 1, std::memory_order_release);
    return true;
  }

  // The reader's.

  T* pop() noexcept {
    const std::uint32_t head = out_.head.load(std::memory_order_relaxed);
    if (head == in_.tail.load(std::memory_order_acquire)) return nullptr;
    if (out_.block == nullptr) [[unlikely]]
      out_.block = in_.first.load(std::memory_order_relaxed);  // before tail moved
    detail::ring_block* const next = out_.block->next.load(std::memory_order_acquire);
    if (next != nullptr && next->first == head) [[unlikely]]
      std::free(std::exchange(out_.block, next));
    T* const element = static_cast<T*>(out_.block->at(head));
    out_.head.store(head + 1, std::memory_order_release);
    return element;
  }

  // Of both; the other side may be further already.

  std::uint32_t size() const noexcept {
    const std::uint32_t head = out_.head.load(std::memory_order_acquire);
    return in_.tail.load(std::memory_order_acquire) - head;
  }
  bool empty() const noexcept { return size() == 0; }
  std::uint32_t free_slots() const noexcept { return capacity_ - size(); }

  /// When both sides are done.
  void release() noexcept {
    detail::ring_block* b = out_.block != nullptr ? out_.block : in_.first.load();
    while (b != nullptr) std::free(std::exchange(b, b->next.load()));
  }

 private:
  [[gnu::cold]] bool grow(std::uint32_t tail) noexcept {
    detail::ring_block* const old = in_.block;
    if (old != nullptr && old->slots == capacity_) return false;
    const std::uint32_t slots = std::min(capacity_, old == nullptr ? 8 : old->slots * 8);
    void* const memory = std::malloc(sizeof(detail::ring_block) + slots * sizeof(void*));
    if (memory == nullptr) return false;
    auto* const block = new (memory) detail::ring_block;
    block->first = tail;
    block->slots = slots;
    in_.block = block;
    (old == nullptr ? in_.first : old->next).store(block, std::memory_order_release);
    return true;
  }

  ring_in& in_;
  ring_out& out_;
  std::uint32_t capacity_;
};

/// Both ends in one object.
template <class T>
class spsc_ring {
 public:
  /// Holds `capacity` elements, at least.
  explicit spsc_ring(std::uint32_t capacity) noexcept : capacity_(std::bit_ceil(capacity)) {}
  ~spsc_ring() { view().release(); }
  spsc_ring(const spsc_ring&) = delete;
  spsc_ring& operator=(const spsc_ring&) = delete;

  ring_view<T> view() noexcept { return {in_, out_, capacity_}; }
  bool push(T* element) noexcept { return view().push(element); }
  T* pop() noexcept { return view().pop(); }
  std::uint32_t size() noexcept { return view().size(); }
  bool empty() noexcept { return view().empty(); }
  std::uint32_t free_slots() noexcept { return view().free_slots(); }

 private:
  const std::uint32_t capacity_;
  alignas(RTE_CACHE_LINE_SIZE) ring_in in_;
  alignas(RTE_CACHE_LINE_SIZE) ring_out out_;
};

}  // namespace nd
