// The kernel interface behind an ethdev port, where there is one.
#pragma once

#include <cstdint>
#include <memory>

#include "base/kernel_link.hpp"

namespace nd::pmd {

struct shared_interface {
  std::unique_ptr<kernel_link> link;  ///< null: no kernel interface
  std::uint32_t gateway = 0;          ///< the kernel's, where our address is also its own; 0: none
};

/// `ip` is this host's address. Throws std::system_error(errc::no_device).
shared_interface find_shared_interface(std::uint16_t port, std::uint32_t ip);

}  // namespace nd::pmd
