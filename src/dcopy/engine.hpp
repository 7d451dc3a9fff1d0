// What copies: the CPU, or a DMA device.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "dcopy/request.hpp"

namespace nd::dcopy {

/// Belongs to one lcore.
class engine {
 public:
  virtual ~engine() = default;

  /// Begins a copy. False when it takes no more until collect() has returned one; nothing was done
  /// then.
  virtual bool start(const request& r) noexcept = 0;
  /// Finished requests, in any order: at most `out.size()`. Returns how many.
  virtual std::size_t collect(std::span<request> out) noexcept = 0;
};

/// Copies in start(), and takes the CRC32C meanwhile. Without `digests.copy`: copies only.
std::unique_ptr<engine> make_cpu_engine(const digest_functions& digests);

/// Copies by the DMA device `device` (rte_dmadev: idxd, ioat, skeleton and so on), which it
/// configures, starts and stops. What the device cannot reach or fails to copy, the CPU copies.
/// Throws std::runtime_error with what is missing.
std::unique_ptr<engine> make_dma_engine(std::int16_t device, const digest_functions& digests);

}  // namespace nd::dcopy
