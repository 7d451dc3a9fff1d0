// rte_ring with a type, from any thread to one, in memory of its own (no memzone, no name).
#pragma once

#include <rte_ring.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace nd {

/// A bounded FIFO of pointers between threads. What is enqueued before is seen after the dequeue
/// (rte_ring's release and acquire on its tail). For one thread in: spsc_ring.hpp.
template <class T>
class mpsc_ring {
 public:
  /// Holds `capacity` elements, at least. Throws std::bad_alloc.
  explicit mpsc_ring(unsigned capacity) {
    const unsigned slots = rte_align32pow2(capacity + 1);
    const auto bytes = static_cast<std::size_t>(rte_ring_get_memsize(slots));
    ring_.reset(static_cast<rte_ring*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, bytes)));
    if (ring_ == nullptr || rte_ring_init(ring_.get(), "nd", slots, RING_F_SC_DEQ) != 0)
      throw std::bad_alloc();
  }

  bool push(T* element) noexcept { return rte_ring_enqueue(ring_.get(), element) == 0; }

  T* pop() noexcept {
    void* element = nullptr;
    return rte_ring_dequeue(ring_.get(), &element) == 0 ? static_cast<T*>(element) : nullptr;
  }

  /// Takes up to `out.size()` elements and returns how many.
  std::size_t pop(std::span<T*> out) noexcept {
    return rte_ring_dequeue_burst(ring_.get(), reinterpret_cast<void**>(out.data()),
                                  static_cast<unsigned>(out.size()), nullptr);
  }

  bool empty() const noexcept { return rte_ring_empty(ring_.get()) != 0; }
  unsigned size() const noexcept { return rte_ring_count(ring_.get()); }
  unsigned free_slots() const noexcept { return rte_ring_free_count(ring_.get()); }

 private:
  struct release {
    void operator()(rte_ring* r) const noexcept { std::free(r); }
  };
  std::unique_ptr<rte_ring, release> ring_;
};

}  // namespace nd
