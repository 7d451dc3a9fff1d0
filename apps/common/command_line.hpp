// The command line that all apps share: `prog [EAL options] -- [ND options and the app's own]`.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/text.hpp"

namespace nd::apps {

/// An app's exit codes.
inline constexpr int exit_good = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;

/// A command line cut at its first "--". Without one, all of it is the app's.
struct command_line {
  command_line(int argc, char** argv);

  bool separated = false;
  std::vector<std::string> eal;
  std::vector<std::string> app;
};

/// Options whose values are read by text.hpp. An error names the option and what would be right.
CLI::Option* add_duration(CLI::App& app, const std::string& name, std::chrono::nanoseconds& target,
                          const std::string& help);
CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& target,
                      std::uint64_t lowest, std::uint64_t highest, const std::string& help);
CLI::Option* add_host_port(CLI::App& app, const std::string& name, std::optional<host_port>& target,
                           const std::uint16_t& default_port, const std::string& help);

/// Declares the options that nd::runtime takes, for --help and so that a misspelt one is noticed.
/// Their values are the runtime's: it gets the whole command line.
void add_nd_options(CLI::App& app);

/// Gives the app's part to CLI11, before there is an EAL: --help must work and a wrong option must
/// fail without one. Returns nothing when the app shall go on, else its exit code; --help has then
/// been printed, or on stderr what is wrong and what would be right.
std::optional<int> parse(CLI::App& app, const command_line& arguments);

/// Prints "<program>: <message>" and how to get help on stderr. Returns exit_usage.
int usage_error(const CLI::App& app, const std::string& message);

/// Call before options are added: --help starts with `usage` in place of what CLI11 makes up, and
/// of two values for one option the last one counts.
void prepare(CLI::App& app, const std::string& usage);

}  // namespace nd::apps
