// Frames from addresses that no host of a run has.
#pragma once

#include <cstddef>
#include <vector>

#include "base/rng.hpp"
#include "sim/scenario.hpp"

namespace nd::sim {

/// For host `to`: an INIT, a COOKIE_ECHO with a forged cookie, a packet of an unknown channel, an
/// ABORT of one, or bytes without sense. Its checksums are right.
std::vector<std::byte> stranger_frame(rng& random, const scenario& s, std::size_t to);

}  // namespace nd::sim
