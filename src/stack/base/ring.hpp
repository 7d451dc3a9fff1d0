// rte_ring with a type, from any thread to one, in memory of its own (no memzone, no name).
#pragma once

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace nd {

struct ring_deleter {
  void operator()(rte_ring* r) const noexcept { std::free(r); }
};
using ring_ptr = std::unique_ptr<rte_ring, ring_deleter>;

/// For `capacity` elements of `element` bytes (a multiple of 4), at least, and one thread that
/// takes them. Throws std::bad_alloc.
inline ring_ptr make_ring(unsigned capacity, std::size_t element) {
  const unsigned slots = rte_align32pow2(capacity + 1);
  const auto bytes =
      static_cast<std::size_t>(rte_ring_get_memsize_elem(static_cast<unsigned>(element), slots));
  ring_ptr r(static_cast<rte_ring*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, bytes)));
  if (r == nullptr || rte_ring_init(r.get(), "nd", slots, RING_F_SC_DEQ) != 0)
    throw std::bad_alloc();
  return r;
}

/// A bounded FIFO of pointers between threads. What is enqueued before is seen after the dequeue
/// (rte_ring's release and acquire on its tail). For one thread in: spsc_ring.hpp.
template <class T>
class mpsc_ring {
 public:
  /// Holds `capacity` elements, at least. Throws std::bad_alloc.
  explicit mpsc_ring(unsigned capacity) : ring_(make_ring(capacity, sizeof(T*))) {}

  bool push(T* element) noexcept { return rte_ring_enqueue(ring_.get(), element) == 0; }

  /// All of them, or none.
  bool push(std::span<T* const> elements) noexcept {
    return rte_ring_enqueue_bulk(ring_.get(), reinterpret_cast<void* const*>(elements.data()),
                                 static_cast<unsigned>(elements.size()), nullptr) != 0;
  }

  /// The first ones, as many as fit; how many.
  std::size_t push_some(std::span<T* const> elements) noexcept {
    return rte_ring_enqueue_burst(ring_.get(), reinterpret_cast<void* const*>(elements.data()),
                                  static_cast<unsigned>(elements.size()), nullptr);
  }

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
  ring_ptr ring_;
};

/// The same for small values, which it copies.
template <class T>
class mpsc_value_ring {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);

 public:
  /// Holds `capacity` elements, at least. Throws std::bad_alloc.
  explicit mpsc_value_ring(unsigned capacity) : ring_(make_ring(capacity, sizeof(T))) {}

  bool push(const T& element) noexcept {
    return rte_ring_enqueue_elem(ring_.get(), const_cast<T*>(&element), sizeof(T)) == 0;
  }
  bool pop(T& element) noexcept {
    return rte_ring_dequeue_elem(ring_.get(), &element, sizeof(T)) == 0;
  }
  bool empty() const noexcept { return rte_ring_empty(ring_.get()) != 0; }
  unsigned size() const noexcept { return rte_ring_count(ring_.get()); }

 private:
  ring_ptr ring_;
};

}  // namespace nd
