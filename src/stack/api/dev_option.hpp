// The setting `dev`: from an interface's name to a whole configuration.
#pragma once

#include "nd/config.hpp"

namespace nd::api {

/// Fills in what `cfg` leaves open (address, EAL arguments) from the interface that it names, and
/// says on the log what was chosen and why. Throws std::system_error(errc::bad_option,
/// errc::no_device).
void apply_dev(config& cfg);

}  // namespace nd::api
