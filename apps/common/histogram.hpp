// Latencies in nanoseconds, kept in buckets whose width grows with the value.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace nd::apps {

/// A log-linear histogram (the idea of HdrHistogram): each power of two is cut into 128 buckets of
/// the same width, and a bucket answers with its middle, so a value read back is off by at most
/// 1/256. Below 256 ns it is exact. Values from 2^40 ns (18 minutes) on share the last bucket;
/// count, min, max and mean are exact everywhere.
///
/// Recording is a shift and two increments, without branches on the value's size.
class histogram {
 public:
  histogram() : buckets_(std::make_unique<counts>()) {}

  void record(std::uint64_t ns) noexcept {
    ++(*buckets_)[index_of(ns)];
    ++count_;
    sum_ += ns;
    min_ = ns < min_ ? ns : min_;
    max_ = ns > max_ ? ns : max_;
  }

  /// Adds all that `other` has recorded.
  void merge(const histogram& other) noexcept;
  void clear() noexcept;

  std::uint64_t count() const noexcept { return count_; }
  /// 0 when nothing was recorded, as max(), mean() and percentile().
  std::uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
  std::uint64_t max() const noexcept { return max_; }
  double mean() const noexcept;

  /// The smallest recorded value that at least `percent` percent of all values do not exceed
  /// (nearest rank), within the error above. `percent` is 0 to 100.
  std::uint64_t percentile(double percent) const noexcept;

 private:
  static constexpr unsigned steps_bits = 7;
  static constexpr std::size_t steps = std::size_t{1} << steps_bits;
  static constexpr unsigned value_bits = 40;
  static constexpr std::size_t bucket_count = (value_bits - steps_bits + 1) * steps;
  using counts = std::array<std::uint64_t, bucket_count>;

  // The first 2 * steps values have a bucket each. Above, `shift` drops all but the top 8 bits;
  // the first of these is always set, so each shift fills `steps` buckets.
  static std::size_t index_of(std::uint64_t ns) noexcept {
    constexpr std::uint64_t top = (std::uint64_t{1} << value_bits) - 1;
    const std::uint64_t v = ns < top ? ns : top;
    const unsigned shift = static_cast<unsigned>(std::bit_width(v | steps)) - (steps_bits + 1);
    return shift * steps + static_cast<std::size_t>(v >> shift);
  }
  static std::uint64_t middle_of(std::size_t index) noexcept;

  std::unique_ptr<counts> buckets_;
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t min_ = UINT64_MAX;
  std::uint64_t max_ = 0;
};

}  // namespace nd::apps
