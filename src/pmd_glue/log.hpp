// How the library tells: the EAL's log, type "nd".
#pragma once

#include <cstdint>
#include <string>

namespace nd::pmd {

/// rte_log's levels of these names.
enum class log_level : std::uint8_t { error, warning, notice, info };

/// One line, to where the EAL's log goes (stderr). `notice` and above are shown unless the EAL's
/// --log-level=nd:LEVEL says otherwise. Any thread; not for what happens per packet.
void log(log_level level, const std::string& line);

}  // namespace nd::pmd
