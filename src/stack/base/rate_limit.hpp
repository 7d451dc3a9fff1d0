// So many a millisecond, and no more: bounds what strangers can make this host send.
#pragma once

#include <cstdint>
#include <vector>

#include "base/time.hpp"

namespace nd {

class rate_limit {
 public:
  rate_limit(std::uint32_t per_millisecond, instant now) noexcept
      : per_millisecond_(per_millisecond), left_(per_millisecond), refilled_(now) {}

  /// Whether one more may pass now.
  bool allow(instant now) noexcept {
    if (now - refilled_ >= duration::milliseconds(1)) {
      refilled_ = now;
      left_ = per_millisecond_;
    }
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  std::uint32_t per_millisecond_;
  std::uint32_t left_;
  instant refilled_;
};

/// The same, of which one source may use a share only: who floods leaves the others theirs. Sources
/// are told apart by 64 shares, and nobody outside knows who has which.
class source_limit {
 public:
  source_limit(std::uint32_t per_millisecond, std::uint32_t per_source, std::uint64_t secret,
               instant now)
      : all_(per_millisecond, now),
        shares_(count, rate_limit(per_source, now)),
        secret_(secret | 1) {}

  bool allow(instant now, std::uint32_t source) noexcept {
    return shares_[(source * secret_) >> 58].allow(now) && all_.allow(now);
  }

 private:
  static constexpr std::size_t count = 64;
  rate_limit all_;
  std::vector<rate_limit> shares_;
  std::uint64_t secret_;
};

}  // namespace nd
