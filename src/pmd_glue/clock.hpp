// The TSC as a clock in nanoseconds.
#pragma once

#include <rte_cycles.h>

#include "base/time.hpp"

namespace nd::pmd {

/// The TSC itself, for cycles.
inline std::uint64_t read_cycles() noexcept {
  return rte_rdtsc();
}

/// Starts at one second, so that zero never is a time of it. Reading takes some 25 ns in a virtual
/// machine; any thread.
class tsc_clock {
 public:
  tsc_clock() noexcept
      : start_(rte_rdtsc()),
        scale_(static_cast<std::uint64_t>(1e9 / static_cast<double>(rte_get_tsc_hz()) *
                                          static_cast<double>(std::uint64_t{1} << shift))) {}

  instant now() const noexcept {
    __extension__ using wide = unsigned __int128;
    const auto ns = static_cast<wide>(rte_rdtsc() - start_) * scale_ >> shift;
    return instant(1'000'000'000 + static_cast<std::int64_t>(ns));
  }

 private:
  static constexpr int shift = 32;
  std::uint64_t start_;
  std::uint64_t scale_;
};

}  // namespace nd::pmd
