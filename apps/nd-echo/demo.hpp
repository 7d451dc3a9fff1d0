// nd-echo --demo: the library at work, with nothing set up before.
#pragma once

#include <string>
#include <vector>

#include "nd-echo/options.hpp"

namespace nd::apps::echo {

/// Starts this program twice, as server and client over memif in a private folder, once for each
/// mode, with every byte checked. Neither root nor hugepages are needed. `arguments` are the app's
/// own: all but --demo is passed on, so that --encap udp or --fault can be shown. Returns the exit
/// code.
int run_demo(const options& o, const std::vector<std::string>& arguments);

}  // namespace nd::apps::echo
