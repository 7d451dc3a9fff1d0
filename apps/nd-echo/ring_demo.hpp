// nd-echo --demo=ring: all modes between two hosts of this process.
#pragma once

#include <string>
#include <vector>

#include "nd-echo/options.hpp"

namespace nd::apps::echo {

/// Runs the server on a thread of its own, and clients on this one; both check every byte.
/// `arguments` is the app's part of the command line. Returns an exit code.
int run_ring_demo(const options& o, const std::vector<std::string>& arguments);

}  // namespace nd::apps::echo
