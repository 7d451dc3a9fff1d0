#include "api/number_list.hpp"

#include <charconv>
#include <string>

#include "api/refuse.hpp"

namespace nd::api {

std::vector<unsigned> parse_numbers(std::string_view setting, std::string_view text) {
  constexpr unsigned largest = 1023;
  std::vector<unsigned> out;
  if (text.empty()) return out;
  const auto wrong = [&] {
    refuse("setting " + std::string(setting) + ": '" + std::string(text) +
           "' is not a list of numbers and ranges, as 2,4-6");
  };
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  const auto number = [&] {
    unsigned value = 0;
    const auto [behind, ec] = std::from_chars(at, end, value);
    if (ec != std::errc() || value > largest) wrong();
    at = behind;
    return value;
  };
  for (;;) {
    const unsigned first = number();
    unsigned last = first;
    if (at != end && *at == '-') {
      ++at;
      last = number();
      if (last < first) wrong();
    }
    for (unsigned i = first; i <= last; ++i) out.push_back(i);
    if (at == end) return out;
    if (*at++ != ',') wrong();
  }
}

}  // namespace nd::api
