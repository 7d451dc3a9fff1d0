// The ARP packets that the kernel gets on an interface that it keeps.
#pragma once

#include <cstddef>
#include <span>

#include "pmd_glue/descriptor.hpp"

struct rte_mbuf;
struct rte_mempool;

namespace nd::pmd {

/// Copies of the ARP frames that come in on an interface, beside the kernel's.
class arp_copies {
 public:
  /// Throws std::system_error.
  explicit arp_copies(unsigned interface_index);

  /// Readable when some have come.
  int fd() const noexcept { return fd_.get(); }

  /// Fills `frames` with what has come, in mbufs of `pool`; returns how many. Does not wait.
  std::size_t receive(std::span<rte_mbuf*> frames, rte_mempool* pool) noexcept;

 private:
  descriptor fd_;
};

}  // namespace nd::pmd
