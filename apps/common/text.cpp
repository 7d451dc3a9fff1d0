#include "common/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <system_error>
#include <utility>
#include <vector>

namespace nd::apps {
namespace {

// Reads a number from the front of `text` and takes it off.
template <class T>
std::optional<T> take_number(std::string_view& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{}) return std::nullopt;
  text = std::string_view(rest, static_cast<std::size_t>(end - rest));
  return value;
}

template <class T>
std::optional<T> whole_number(std::string_view text) {
  const std::optional<T> value = take_number<T>(text);
  return text.empty() ? value : std::nullopt;
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const std::optional<double> number = take_number<double>(text);
  if (!number || !std::isfinite(*number) || *number < 0) return std::nullopt;
  constexpr std::array<std::pair<std::string_view, double>, 5> units{
      {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1.0}}};
  const auto* const unit = std::ranges::find(units, text, &decltype(units)::value_type::first);
  if (unit == units.end()) return std::nullopt;
  const double ns = *number * unit->second;
  constexpr double longest = 1e18;  // 31 years; what fits the type by far
  if (ns > longest) return std::nullopt;
  return std::chrono::nanoseconds(std::llround(ns));
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const std::optional<std::uint64_t> number = take_number<std::uint64_t>(text);
  if (!number) return std::nullopt;
  constexpr std::array<std::pair<std::string_view, unsigned>, 4> units{
      {{"", 0}, {"K", 10}, {"M", 20}, {"G", 30}}};
  const auto* const unit = std::ranges::find(units, text, &decltype(units)::value_type::first);
  if (unit == units.end() || *number > (UINT64_MAX >> unit->second)) return std::nullopt;
  return *number << unit->second;
}

std::optional<host_port> parse_host_port(std::string_view text, std::uint16_t default_port) {
  host_port result{0, default_port};
  if (const std::size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    const auto port = whole_number<std::uint16_t>(text.substr(colon + 1));
    if (!port || *port == 0) return std::nullopt;
    result.port = *port;
    text = text.substr(0, colon);
  }
  for (int part = 0; part < 4; ++part) {
    if (part != 0) {
      if (!text.starts_with('.')) return std::nullopt;
      text.remove_prefix(1);
    }
    const auto octet = take_number<std::uint8_t>(text);
    if (!octet) return std::nullopt;
    result.address = result.address << 8 | *octet;
  }
  return text.empty() ? std::optional(result) : std::nullopt;
}

std::string to_string(const host_port& value) {
  return fmt::format("{}.{}.{}.{}:{}", value.address >> 24, value.address >> 16 & 0xff,
                     value.address >> 8 & 0xff, value.address & 0xff, value.port);
}

std::string with_prefix(double value, std::string_view unit) {
  constexpr std::array<std::string_view, 5> prefixes{"", "k", "M", "G", "T"};
  std::size_t i = 0;
  // 999.5 would be rounded to four figures.
  for (; value >= 999.5 && i + 1 < prefixes.size(); ++i) value /= 1000;
  const int decimals = i == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}{}", value, decimals, prefixes[i], unit);
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  // Edit distance with one row of the table; words here are short.
  const auto distance = [word](std::string_view other) {
    std::vector<std::size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = std::exchange(row[0], i + 1);
      for (std::size_t j = 0; j < other.size(); ++j) {
        const std::size_t replaced = diagonal + (word[i] == other[j] ? 0U : 1U);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
      }
    }
    return row.back();
  };
  std::string best;
  std::size_t least = word.size() / 2 + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t d = distance(candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace nd::apps
