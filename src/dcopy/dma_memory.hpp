// Which memory a DMA device can reach, and what the device calls it.
#pragma once

#include <rte_memory.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "dcopy/request.hpp"

namespace nd::dcopy {

/// One copy, as a device is told of it.
struct dma_copy {
  rte_iova_t from = 0;
  rte_iova_t to = 0;
  std::uint32_t length = 0;
};

class dma_memory {
 public:
  /// `all`: the device has shared virtual addressing (RTE_DMA_CAPA_SVA; the skeleton device, which
  /// is a thread, says so too). It reaches all memory of the process then, by its virtual
  /// addresses, whatever the EAL's IOVA mode. Else it reaches what the EAL knows an IOVA of: its
  /// own memory, and what was registered with one (rte_extmem_register(), nd::registered_memory).
  explicit dma_memory(bool all) noexcept : all_(all) {}

  /// The copies of `r`, one for each of its parts. Returns how many: 0 if the device cannot reach
  /// all of them, or they are more than `out.size()`.
  std::size_t copies_of(const request& r, std::span<dma_copy> out) const noexcept;

 private:
  bool all_;
};

}  // namespace nd::dcopy
