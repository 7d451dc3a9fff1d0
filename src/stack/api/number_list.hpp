// Lists of lcores and devices in settings.
#pragma once

#include <string_view>
#include <vector>

namespace nd::api {

/// Of `text` as "2,4-6", in its order; empty where it is. Throws
/// std::system_error(errc::bad_option), which names the setting.
std::vector<unsigned> parse_numbers(std::string_view setting, std::string_view text);

}  // namespace nd::api
