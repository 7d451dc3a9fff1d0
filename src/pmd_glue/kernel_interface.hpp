// What the kernel knows of an interface that it keeps, and the ARP packets that it gets there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "pmd_glue/descriptor.hpp"

struct rte_mbuf;
struct rte_mempool;

namespace nd::pmd {

/// Bytes of an IP packet; nothing where this network namespace has no such interface.
std::optional<std::uint32_t> interface_mtu(const std::string& name) noexcept;
std::string interface_name(unsigned index);

/// Any interface of this network namespace has the address.
bool kernel_has_address(std::uint32_t ip) noexcept;

/// Copies of the ARP frames that come in on an interface, beside the kernel's.
class arp_copies {
 public:
  /// Throws std::system_error.
  explicit arp_copies(unsigned interface_index);

  /// Fills `frames` with what has come, in mbufs of `pool`; returns how many. Does not wait.
  std::size_t receive(std::span<rte_mbuf*> frames, rte_mempool* pool) noexcept;

 private:
  descriptor fd_;
};

}  // namespace nd::pmd
