#include "nd/config.hpp"

#include <toml++/toml.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/settings.hpp"
#include "nd/error.hpp"

namespace nd {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw std::system_error(make_error_code(errc::bad_option), message);
}

std::string text_of(const toml::node& node) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  refuse("a setting is a string or an integer");
}

}  // namespace

config& config::set(std::string_view name, std::string_view value) {
  settings().set(name, value);  // throws where it is wrong
  values_.insert_or_assign(std::string(name), std::string(value));
  return *this;
}

config& config::set(std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos)
    refuse("'" + std::string(assignment) + "' is not name=value");
  return set(assignment.substr(0, equals), assignment.substr(equals + 1));
}

config& config::load(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) refuse(path.string() + ": " + std::generic_category().message(errno));
  std::ostringstream text;
  text << file.rdbuf();
  try {
    const toml::table table = toml::parse(text.str(), path.string());
    for (const auto& [key, node] : table) {
      try {
        set(key.str(), text_of(node));
      } catch (const std::system_error& e) {
        refuse(path.string() + ":" + std::to_string(node.source().begin.line) + ": " + e.what());
      }
    }
  } catch (const toml::parse_error& e) {
    refuse(path.string() + ":" + std::to_string(e.source().begin.line) + ": " +
           std::string(e.description()));
  }
  return *this;
}

config& config::eal_args(std::vector<std::string> args) {
  eal_args_ = std::move(args);
  return *this;
}

std::string config::get(std::string_view name) const {
  settings::check_name(name);
  if (const auto found = values_.find(name); found != values_.end()) return found->second;
  for (const setting_info& row : settings_table())
    if (row.name == name) return std::string(row.default_value);
  return {};
}

}  // namespace nd
