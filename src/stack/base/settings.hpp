// The settings as values, made from settings.def.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.hpp"
#include "nd/config.hpp"
#include "nd/endpoint.hpp"

namespace nd {

struct settings {
#define ND_INTEGER(name, standard, lowest, highest, unit, help) std::int64_t name = 0;
#define ND_DURATION(name, standard, lowest, highest, help) duration name;
#define ND_CHOICE(name, standard, choices, help) std::string name;
#define ND_TEXT(name, unit, help) std::string name;
#include "base/settings.def"
#undef ND_INTEGER
#undef ND_DURATION
#undef ND_CHOICE
#undef ND_TEXT

  /// The defaults.
  settings();
  /// Defaults overridden by `values`. Throws as nd::config::set().
  explicit settings(const std::map<std::string, std::string, std::less<>>& values);

  /// Sets one field. Throws std::system_error(errc::bad_option); the message names the nearest
  /// right name or the bounds.
  void set(std::string_view name, std::string_view value);
  /// Throws likewise where there is no such setting.
  static void check_name(std::string_view name);

  /// The address of `ip` without its prefix; the runtime has checked it.
  nd::address own_address() const;
};

}  // namespace nd
