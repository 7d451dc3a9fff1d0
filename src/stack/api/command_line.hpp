// What a program's command line says to the runtime.
#pragma once

#include <string>
#include <vector>

#include "nd/config.hpp"

namespace nd::api {

struct command_line {
  config cfg;                     ///< EAL arguments and settings
  std::vector<std::string> args;  ///< the program's own, behind its name
};

/// Splits `words` (without the program's name) at "--"; takes --dev, --ip, --encap, --fault,
/// --io-lcores, --dcopy-lcores, --config and --set ("--name value" or "--name=value") out of what
/// follows it. Throws std::system_error(errc::bad_option).
command_line parse_command_line(const std::vector<std::string>& words);

/// Splits at blanks; no quoting.
std::vector<std::string> split_words(std::string_view text);

}  // namespace nd::api
