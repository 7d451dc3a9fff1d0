// Which packet numbers of the other end have arrived.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "wire/nd_header.hpp"

namespace nd::core {

struct number_range {
  std::uint64_t first;
  std::uint64_t last;  ///< inclusive
};

/// A sliding window of one bit a number: recognises duplicates exactly, and gives the ranges of an
/// acknowledgement (RFC 9000, section 19.3). Numbers below `next_expected()` have all arrived or
/// were given up by their sender, whose `floor` says so; they need no memory.
class received_numbers {
 public:
  static constexpr std::uint64_t window = 8192;

  enum class verdict : std::uint8_t { fresh, duplicate, beyond_window };

  /// The first number that will ever come.
  void start_at(std::uint64_t number) noexcept { next_expected_ = end_ = number; }

  verdict classify(std::uint64_t number) const noexcept {
    if (number < next_expected_) return verdict::duplicate;
    if (number >= next_expected_ + window) return verdict::beyond_window;
    return test(number) ? verdict::duplicate : verdict::fresh;
  }

  /// Remembers a fresh number.
  void insert(std::uint64_t number) noexcept {
    word(number) |= mask(number);
    if (number >= end_) end_ = number + 1;
    if (number == next_expected_) skip_arrived();
  }

  /// The sender will not send, or not miss, anything below `floor` any more.
  void forget_below(std::uint64_t floor) noexcept {
    if (floor <= next_expected_) return;
    if (floor >= next_expected_ + window) {
      bits_.fill(0);
    } else {
      for (std::uint64_t n = next_expected_; n != floor; ++n) word(n) &= ~mask(n);
    }
    next_expected_ = floor;
    if (end_ < floor) end_ = floor;
    skip_arrived();
  }

  /// All numbers below arrived or were given up.
  std::uint64_t next_expected() const noexcept { return next_expected_; }
  /// One more than the largest number that arrived.
  std::uint64_t end() const noexcept { return end_; }
  bool has_gaps() const noexcept { return end_ != next_expected_; }

  /// Fills `out` with the ranges at and above next_expected(), highest first, as many as fit.
  std::size_t ranges(std::span<number_range> out) const noexcept {
    std::size_t n = 0;
    std::uint64_t top = end_;  // exclusive
    while (n < out.size() && top > next_expected_) {
      const std::uint64_t last = highest_below<true>(top);
      if (last == none) break;
      const std::uint64_t gap = highest_below<false>(last);
      const std::uint64_t first = gap == none ? next_expected_ : gap + 1;
      out[n++] = {first, last};
      top = first;
    }
    return n;
  }

 private:
  static constexpr std::uint64_t none = ~std::uint64_t{0};

  std::uint64_t& word(std::uint64_t n) noexcept { return bits_[(n % window) / 64]; }
  std::uint64_t word(std::uint64_t n) const noexcept { return bits_[(n % window) / 64]; }
  static std::uint64_t mask(std::uint64_t n) noexcept { return std::uint64_t{1} << (n % 64); }
  bool test(std::uint64_t n) const noexcept { return (word(n) & mask(n)) != 0; }

  void skip_arrived() noexcept {
    while (next_expected_ < end_ && test(next_expected_)) {
      word(next_expected_) &= ~mask(next_expected_);
      ++next_expected_;
    }
  }

  /// The highest number in [next_expected_, top) whose bit is `Set`; none when there is none.
  template <bool Set>
  std::uint64_t highest_below(std::uint64_t top) const noexcept {
    while (top > next_expected_) {
      const std::uint64_t n = top - 1;
      const unsigned position = static_cast<unsigned>(n % 64);
      std::uint64_t w = Set ? word(n) : ~word(n);
      w &= ~std::uint64_t{0} >> (63 - position);
      if (w != 0) {
        const auto found = n - position + (63 - static_cast<unsigned>(std::countl_zero(w)));
        return found >= next_expected_ ? found : none;
      }
      top = n - position;
    }
    return none;
  }

  std::array<std::uint64_t, window / 64> bits_{};
  std::uint64_t next_expected_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace nd::core
