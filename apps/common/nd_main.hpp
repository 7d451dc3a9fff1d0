// What the main() of an app on libndstack does around its work.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <nd/error.hpp>
#include <string_view>
#include <system_error>

#include "common/command_line.hpp"

namespace nd::apps {

/// Calls `work()`, which returns an exit code, and turns exceptions into a message and one: what
/// the library or the EAL refuses of the command line is a usage error.
template <class Work>
int guarded(std::string_view program, Work work) {
  try {
    return work();
  } catch (const std::system_error& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    const bool usage = error.code() == errc::bad_option || error.code() == errc::eal_failed;
    return usage ? exit_usage : exit_failed;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return exit_failed;
  }
}

}  // namespace nd::apps
