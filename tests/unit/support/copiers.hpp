// The dcopy lcores of a host, which get their turns from the test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "dcopy/engine.hpp"
#include "lcore/dcopy_lcore.hpp"
#include "lcore/host.hpp"

namespace nd::test {

struct copiers : core::copy_service {
  /// `wait()` is called while the host's mailbox is full.
  template <class Wait>
  copiers(core::host& h, std::size_t count, Wait wait, stage_meter::clock cycle_clock = nullptr) {
    for (std::size_t i = 0; i < count; ++i)
      lcores.push_back(std::make_unique<core::dcopy_lcore>(
          dcopy::make_cpu_engine(core::copy_digests(h.digests())),
          [&h, wait](core::app_end& end, std::uint32_t requests) {
            core::post(h.mailbox(), end, requests, wait);
          },
          cycle_clock));
  }

  /// Until nothing is left to copy.
  void run() {
    for (const auto& lcore : lcores)
      while (lcore->poll({}) > 0) continue;
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& lcore : lcores)
      sum += lcore->stats().dcopy_bytes_written.value() + lcore->stats().dcopy_bytes_read.value();
    return sum;
  }
};

}  // namespace nd::test
