// When the outstanding messages of a connection were written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nd-echo/turn_clock.hpp"

namespace nd::apps::echo {

/// Messages written together share one time. A ring of batches: with `depth` messages outstanding
/// there are at most `depth` batches.
class batches {
 public:
  explicit batches(std::size_t depth) : ring_(depth) {}

  void push(std::uint64_t count, turn_clock::time_point when) noexcept {
    ring_[tail_] = {count, when};
    tail_ = next(tail_);
  }

  /// The `count` oldest messages are done: calls `done(when, how_many)` for each batch they are of.
  template <class F>
  void pop(std::uint64_t count, F done) {
    while (count != 0) {
      batch& oldest = ring_[head_];
      const std::uint64_t n = oldest.count < count ? oldest.count : count;
      done(oldest.when, n);
      count -= n;
      oldest.count -= n;
      if (oldest.count == 0) head_ = next(head_);
    }
  }

 private:
  struct batch {
    std::uint64_t count = 0;
    turn_clock::time_point when;
  };
  std::size_t next(std::size_t i) const noexcept { return i + 1 == ring_.size() ? 0 : i + 1; }

  std::vector<batch> ring_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

}  // namespace nd::apps::echo
