// A FIFO whose elements keep their number.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <utility>
#include <vector>

namespace nd {

/// Elements are numbered from 0 in the order they were pushed; those in [begin(), end()) are there.
/// Grows by doubling; popping releases nothing, so the steady state allocates nothing.
template <class T>
class index_queue {
 public:
  explicit index_queue(std::size_t initial_capacity = 64) : slots_(initial_capacity) {
    assert((initial_capacity & (initial_capacity - 1)) == 0);  // 0: nothing until the first push
  }

  std::uint64_t begin() const noexcept { return begin_; }
  std::uint64_t end() const noexcept { return end_; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - begin_); }
  bool empty() const noexcept { return begin_ == end_; }

  T& operator[](std::uint64_t number) noexcept { return slots_[number & (slots_.size() - 1)]; }
  const T& operator[](std::uint64_t number) const noexcept {
    return slots_[number & (slots_.size() - 1)];
  }
  T& front() noexcept { return (*this)[begin_]; }

  /// Starts numbering at `number`; only while empty.
  void start_at(std::uint64_t number) noexcept {
    assert(empty());
    begin_ = end_ = number;
  }

  T& push(T value) {  // by value: it may be one of our own, and those move
    if (size() == slots_.size()) grow();
    T& slot = (*this)[end_++];
    slot = std::move(value);
    return slot;
  }
  void pop() noexcept { ++begin_; }

 private:
  [[gnu::cold]] void grow() {
    std::vector<T> larger(std::max<std::size_t>(slots_.size() * 2, 1));
    for (std::uint64_t i = begin_; i != end_; ++i)
      larger[i & (larger.size() - 1)] = std::move((*this)[i]);
    slots_ = std::move(larger);
  }

  std::vector<T> slots_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace nd
