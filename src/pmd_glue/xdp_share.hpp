// The XDP program (nd_xdp.bpf.c) that shares an interface with the kernel: getting it there,
// telling it what is ours, and removing what a killed process has left.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "pmd_glue/nd_xdp.h"

namespace nd::pmd {

/// The program as an ELF object; empty where the build had no clang.
std::span<const std::byte> xdp_program() noexcept;

/// Takes the interface for this process, as long as it lives, and removes the program if a dead
/// process of ours has left it there. Returns the path of the program for the driver's `xdp_prog`.
/// Throws std::system_error(errc::no_device): another process has the interface, or it has an XDP
/// program that isn't ours.
std::string prepare_xdp_interface(const std::string& interface);

/// Tells the program on an interface which packets are ours; until then it passes all to the
/// kernel. False where the interface has no program of ours. Throws std::system_error.
bool tell_xdp_program(unsigned interface_index, const nd_xdp_config& config);

}  // namespace nd::pmd
