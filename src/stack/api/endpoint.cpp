#include "nd/endpoint.hpp"

#include <array>
#include <charconv>
#include <system_error>

#include "nd/error.hpp"

namespace nd {

address::address(std::string_view dotted) {
  const char* at = dotted.data();
  const char* const end = at + dotted.size();
  bool good = true;
  for (int i = 0; i < 4 && good; ++i) {
    std::uint8_t part = 0;
    const auto [next, ec] = std::from_chars(at, end, part);
    good = ec == std::errc() && (i == 3 ? next == end : next != end && *next == '.');
    value_ = value_ << 8 | part;
    at = next + 1;
  }
  if (!good) {
    throw std::system_error(make_error_code(errc::invalid_argument),
                            "'" + std::string(dotted) + "' is not an IPv4 address A.B.C.D");
  }
}

std::string address::to_string() const {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text += std::to_string((value_ >> shift) & 0xff) + (shift > 0 ? "." : "");
  return text;
}

std::string endpoint::to_string() const {
  return address_.to_string() + ":" + std::to_string(port_);
}

}  // namespace nd
