#include "base/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <system_error>

#include "base/nearest.hpp"
#include "nd/error.hpp"

namespace nd {
namespace {

// The rows as text.
constexpr std::array table{
#define ND_INTEGER(name, standard, lowest, highest, unit, help) \
  setting_info{#name, unit, #standard, #lowest " .. " #highest, help},
#define ND_DURATION(name, standard, lowest, highest, help) \
  setting_info{#name, "time", #standard, #lowest " .. " #highest, help},
#define ND_CHOICE(name, standard, choices, help) setting_info{#name, "", standard, choices, help},
#define ND_TEXT(name, unit, help) setting_info{#name, unit, "", "", help},
#include "base/settings.def"
#undef ND_INTEGER
#undef ND_DURATION
#undef ND_CHOICE
#undef ND_TEXT
};

[[noreturn]] void refuse_value(const std::string& message) {
  throw std::system_error(make_error_code(errc::bad_option), message);
}

struct suffix {
  std::string_view text;
  std::int64_t factor;
};
constexpr std::array integer_suffixes{suffix{"", 1}, suffix{"K", 1 << 10}, suffix{"M", 1 << 20},
                                      suffix{"G", 1 << 30}};
constexpr std::array duration_suffixes{suffix{"ns", 1}, suffix{"us", 1'000},
                                       suffix{"ms", 1'000'000}, suffix{"s", 1'000'000'000}};

/// A number with one of the suffixes; false when the text is anything else. One that is too large
/// for 64 bits is out of every row's bounds: it becomes the largest.
bool parse(std::string_view text, std::span<const suffix> suffixes, std::int64_t& out) {
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool too_large = ec == std::errc::result_out_of_range;
  if (ec != std::errc() && !too_large) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  for (const suffix& s : suffixes) {
    if (text != s.text) continue;
    if (too_large || __builtin_mul_overflow(number, s.factor, &out))
      out = std::numeric_limits<std::int64_t>::max();
    return true;
  }
  return false;
}

std::int64_t parse_number(std::string_view name, std::string_view value, std::string_view lowest,
                          std::string_view highest, std::span<const suffix> suffixes,
                          std::string_view form) {
  std::int64_t low = 0, high = 0, number = 0;
  parse(lowest, suffixes, low);
  parse(highest, suffixes, high);
  if (!parse(value, suffixes, number))
    refuse_value("setting " + std::string(name) + ": '" + std::string(value) + "' is not " +
                 std::string(form));
  if (number < low || number > high)
    refuse_value("setting " + std::string(name) + ": " + std::string(value) + " is outside " +
                 std::string(lowest) + " .. " + std::string(highest));
  return number;
}

std::string parse_choice(std::string_view name, std::string_view value, std::string_view choices) {
  for (std::string_view rest = choices; !rest.empty();) {
    const auto bar = rest.find('|');
    if (rest.substr(0, bar) == value) return std::string(value);
    rest = bar == std::string_view::npos ? std::string_view() : rest.substr(bar + 1);
  }
  refuse_value("setting " + std::string(name) + ": '" + std::string(value) + "' is not one of " +
               std::string(choices));
}

[[noreturn]] void refuse_name(std::string_view name) {
  const auto nearest = std::ranges::min_element(
      table, {}, [&](const setting_info& s) { return edit_distance(name, s.name); });
  refuse_value("no setting '" + std::string(name) + "'; did you mean '" +
               std::string(nearest->name) + "'?");
}

}  // namespace

std::span<const setting_info> settings_table() {
  return table;
}

settings::settings() {
  for (const setting_info& row : table)
    if (!row.default_value.empty()) set(row.name, row.default_value);
}

settings::settings(const std::map<std::string, std::string, std::less<>>& values) : settings() {
  for (const auto& [name, value] : values) set(name, value);
}

void settings::check_name(std::string_view name) {
  if (std::ranges::find(table, name, &setting_info::name) == table.end()) refuse_name(name);
}

void settings::set(std::string_view setting_name, std::string_view value) {
#define ND_INTEGER(name, standard, lowest, highest, unit, help)            \
  if (setting_name == #name) {                                             \
    name = parse_number(#name, value, #lowest, #highest, integer_suffixes, \
                        "an integer (K, M, G allowed)");                   \
    return;                                                                \
  }
#define ND_DURATION(name, standard, lowest, highest, help)                           \
  if (setting_name == #name) {                                                       \
    name = duration(parse_number(#name, value, #lowest, #highest, duration_suffixes, \
                                 "a time such as 200us, 10ms or 3s"));               \
    return;                                                                          \
  }
#define ND_CHOICE(name, standard, choices, help) \
  if (setting_name == #name) {                   \
    name = parse_choice(#name, value, choices);  \
    return;                                      \
  }
#define ND_TEXT(name, unit, help) \
  if (setting_name == #name) {    \
    name = value;                 \
    return;                       \
  }
#include "base/settings.def"
#undef ND_INTEGER
#undef ND_DURATION
#undef ND_CHOICE
#undef ND_TEXT
  refuse_name(setting_name);
}

nd::address settings::own_address() const {
  return nd::address(std::string_view(ip).substr(0, ip.find('/')));
}

}  // namespace nd
