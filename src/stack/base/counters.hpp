// The counters of one lcore, made from counters.def.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace nd {

/// Written by its owner only, readable from any thread: relaxed, so an increment is a plain add.
class count {
 public:
  void operator+=(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void operator++() noexcept { *this += 1; }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct counters {
#define ND_COUNTER(name, unit, help) count name;
#include "base/counters.def"
#undef ND_COUNTER

  /// Calls `f(name, unit, help, value)` for each row, in the table's order.
  template <class F>
  void for_each(F&& f) const {
#define ND_COUNTER(name, unit, help) \
  f(std::string_view(#name), std::string_view(#unit), std::string_view(help), name.value());
#include "base/counters.def"
#undef ND_COUNTER
  }
};

}  // namespace nd
