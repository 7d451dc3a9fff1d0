// Settings: one table, three sources (defaults, a TOML file, name=value).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nd {

/// One row of the settings table, as text, for help and documentation.
struct setting_info {
  std::string_view name;
  std::string_view unit;           ///< "bytes", "ns", "ip/prefix", ... or empty
  std::string_view default_value;  ///< as it would be written
  std::string_view bounds;         ///< "1 .. 65535" or "ip|udp"
  std::string_view help;
};

/// Every setting, in the order of docs/usage.md. Thread-safe.
std::span<const setting_info> settings_table();

/// What a runtime is started with. A plain value; not thread-safe.
///
/// Names and values are checked when they are set: a wrong one throws
/// std::system_error(errc::bad_option), and the message names the nearest right one.
class config {
 public:
  /// Sets one setting from text: integers may end in K, M or G (powers of 1024), times in ns, us,
  /// ms or s. A later set() wins over an earlier one, and over a file.
  config& set(std::string_view name, std::string_view value);
  /// The same from "name=value".
  config& set(std::string_view assignment);
  /// Reads a TOML file of `name = value` lines. Throws as set() does, with file and line; also
  /// where the file can't be read.
  config& load(const std::filesystem::path& toml);

  /// Arguments for rte_eal_init(), without the program's name. Default: none.
  config& eal_args(std::vector<std::string> args);

  /// The text of a setting: what was set, or its default. Throws on a wrong name.
  std::string get(std::string_view name) const;
  /// Settings that differ from their defaults, by name.
  const std::map<std::string, std::string, std::less<>>& values() const noexcept { return values_; }
  const std::vector<std::string>& eal_args() const noexcept { return eal_args_; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::vector<std::string> eal_args_;
};

}  // namespace nd
