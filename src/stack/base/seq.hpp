// Sequence numbers: 32 bits on the wire, 64 bits inside.
#pragma once

#include <cstdint>

namespace nd {

/// The low 32 bits of a stream offset or packet number, as they travel. Wrap-around order is not
/// transitive, so there is no operator<: comparisons have names, and hold for values less than 2^31
/// apart (RFC 1982).
class seq32 {
 public:
  constexpr seq32() noexcept = default;
  constexpr explicit seq32(std::uint32_t v) noexcept : value_(v) {}
  static constexpr seq32 low_bits_of(std::uint64_t v) noexcept {
    return seq32(static_cast<std::uint32_t>(v));
  }

  constexpr std::uint32_t raw() const noexcept { return value_; }
  constexpr bool operator==(const seq32&) const noexcept = default;

  constexpr bool is_before(seq32 o) const noexcept {
    return static_cast<std::int32_t>(value_ - o.value_) < 0;
  }

  /// The 64-bit number with these low bits that is nearest to `reference` (RFC 9000, A.3). Numbers
  /// below zero do not exist: near the start the candidate above is taken.
  constexpr std::uint64_t widen(std::uint64_t reference) const noexcept {
    const auto delta = static_cast<std::int32_t>(value_ - static_cast<std::uint32_t>(reference));
    if (delta < 0 && reference < static_cast<std::uint64_t>(-std::int64_t{delta}))
      return reference + static_cast<std::uint32_t>(delta);
    return reference + static_cast<std::uint64_t>(std::int64_t{delta});
  }

 private:
  std::uint32_t value_ = 0;
};

}  // namespace nd
