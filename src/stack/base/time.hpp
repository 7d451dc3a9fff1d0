// Time as a value. Nothing below pmd_glue reads a clock: `now` is an argument.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace nd {

/// A span of time in nanoseconds; may be negative.
class duration {
 public:
  constexpr duration() noexcept = default;
  constexpr explicit duration(std::int64_t ns) noexcept : ns_(ns) {}
  static constexpr duration nanoseconds(std::int64_t n) noexcept { return duration(n); }
  static constexpr duration microseconds(std::int64_t n) noexcept { return duration(n * 1'000); }
  static constexpr duration milliseconds(std::int64_t n) noexcept {
    return duration(n * 1'000'000);
  }
  static constexpr duration seconds(std::int64_t n) noexcept { return duration(n * 1'000'000'000); }

  constexpr std::int64_t ns() const noexcept { return ns_; }

  constexpr auto operator<=>(const duration&) const noexcept = default;
  constexpr duration operator+(duration o) const noexcept { return duration(ns_ + o.ns_); }
  constexpr duration operator-(duration o) const noexcept { return duration(ns_ - o.ns_); }
  constexpr duration operator*(std::int64_t n) const noexcept { return duration(ns_ * n); }
  constexpr duration operator/(std::int64_t n) const noexcept { return duration(ns_ / n); }
  constexpr duration& operator+=(duration o) noexcept { return *this = *this + o; }

 private:
  std::int64_t ns_ = 0;
};

/// A point on the clock that the caller passes in (TSC in production, made in tests).
class instant {
 public:
  constexpr instant() noexcept = default;
  constexpr explicit instant(std::int64_t ns) noexcept : ns_(ns) {}
  /// Later than every real instant: "no deadline".
  static constexpr instant never() noexcept {
    return instant(std::numeric_limits<std::int64_t>::max());
  }

  constexpr std::int64_t ns() const noexcept { return ns_; }
  constexpr bool is_never() const noexcept { return *this == never(); }

  constexpr auto operator<=>(const instant&) const noexcept = default;
  constexpr instant operator+(duration d) const noexcept { return instant(ns_ + d.ns()); }
  /// The same, for what a caller asks for: never, where that is later than there is time.
  constexpr instant after(duration d) const noexcept {
    return d.ns() > never().ns() - ns_ ? never() : *this + d;
  }
  constexpr instant operator-(duration d) const noexcept { return instant(ns_ - d.ns()); }
  constexpr duration operator-(instant o) const noexcept { return duration(ns_ - o.ns_); }

 private:
  std::int64_t ns_ = 0;
};

constexpr instant earlier(instant a, instant b) noexcept {
  return a < b ? a : b;
}

}  // namespace nd
