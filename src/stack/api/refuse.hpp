// How the runtime says no to what it was told.
#pragma once

#include <string>
#include <system_error>

#include "nd/error.hpp"

namespace nd::api {

/// Throws std::system_error(errc::bad_option): `message` says what is wrong, and what would be
/// right.
[[noreturn]] inline void refuse(const std::string& message) {
  throw std::system_error(make_error_code(errc::bad_option), message);
}

}  // namespace nd::api
