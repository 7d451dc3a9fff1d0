// So many a millisecond, and no more: bounds what strangers can make this host send.
#pragma once

#include <cstdint>

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

}  // namespace nd
