// Counters of a runtime.
#pragma once

#include <cstdint>
#include <string_view>

namespace nd {

/// One counter's name, unit and meaning with its value at the time of the call. The texts live as
/// long as the program.
struct counter {
  std::string_view name;
  std::string_view unit;  ///< "packets", "bytes", "records", ...
  std::string_view help;
  std::uint64_t value = 0;
};

}  // namespace nd
