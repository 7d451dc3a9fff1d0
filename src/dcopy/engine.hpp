// What copies: the CPU, or a DMA device.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/time.hpp"
#include "dcopy/request.hpp"

namespace nd::dcopy {

/// A DMA device that has copies and finishes none of them for so long is given up: the CPU copies
/// from then on. A copy of 64 KiB takes one some 10 us.
inline constexpr duration dma_patience = duration::seconds(1);
/// Of the time between two looks, more does not count: this lcore was away, and so may the device
/// have been (a virtual machine that was stopped).
inline constexpr duration dma_longest_look = duration::milliseconds(10);

enum class device_state : std::uint8_t {
  working,   ///< or there is none
  given_up,  ///< it has nothing of ours any more
  stuck,     ///< given up, but it does not stop: requests that it has wait, as it may still write
};

/// Belongs to one lcore.
class engine {
 public:
  virtual ~engine() = default;

  /// Begins a copy. False when it takes no more until collect() has returned one; nothing was done
  /// then.
  virtual bool start(const request& r) noexcept = 0;
  /// Finished requests, in any order: at most `out.size()`. Returns how many.
  virtual std::size_t collect(std::span<request> out, instant now) noexcept = 0;
  virtual device_state device() const noexcept { return device_state::working; }
};

/// Copies in start(), and takes the CRC32C meanwhile. Without `digests.copy`: copies only.
std::unique_ptr<engine> make_cpu_engine(const digest_functions& digests);

/// Copies by the DMA device `device` (rte_dmadev: idxd, ioat, skeleton and so on), which it
/// configures, starts and stops. What the device cannot reach, fails to copy or does not finish,
/// the CPU copies. Throws std::runtime_error with what is missing.
std::unique_ptr<engine> make_dma_engine(std::int16_t device, const digest_functions& digests);

}  // namespace nd::dcopy
