#include "common/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>

namespace nd::apps {
namespace {

// Those of rte_eal_init() that people use; what is missed here is still an unknown option.
constexpr std::array<std::string_view, 36> eal_options{"-a",
                                                       "-b",
                                                       "-c",
                                                       "-d",
                                                       "-l",
                                                       "-m",
                                                       "-n",
                                                       "-r",
                                                       "-s",
                                                       "-S",
                                                       "-v",
                                                       "--allow",
                                                       "--base-virtaddr",
                                                       "--block",
                                                       "--file-prefix",
                                                       "--force-max-simd-bitwidth",
                                                       "--huge-dir",
                                                       "--huge-unlink",
                                                       "--in-memory",
                                                       "--iova-mode",
                                                       "--lcores",
                                                       "--legacy-mem",
                                                       "--log-level",
                                                       "--main-lcore",
                                                       "--match-allocations",
                                                       "--no-hpet",
                                                       "--no-huge",
                                                       "--no-pci",
                                                       "--no-shconf",
                                                       "--no-telemetry",
                                                       "--proc-type",
                                                       "--single-file-segments",
                                                       "--socket-limit",
                                                       "--socket-mem",
                                                       "--syslog",
                                                       "--vdev"};

std::string_view name_of(std::string_view argument) {
  return argument.substr(0, argument.find('='));
}

bool is_eal_option(std::string_view argument) {
  return std::ranges::find(eal_options, name_of(argument)) != eal_options.end();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// An option on the wrong side of "--", or an empty text.
std::string misplaced(const CLI::App& app, const command_line& arguments) {
  const std::vector<std::string> own = option_names(app);
  const auto is_own = [&own](std::string_view argument) {
    return std::ranges::find(own, name_of(argument)) != own.end();
  };
  for (const std::string& argument : arguments.eal) {
    if (is_own(argument) && !is_eal_option(argument)) {
      return fmt::format("{} is not an EAL option: it goes behind \"--\"", name_of(argument));
    }
  }
  for (const std::string& argument : arguments.app) {
    if (is_eal_option(argument) && !is_own(argument)) {
      return fmt::format(
          "{} is an EAL option: EAL options go before \"--\", as in {} {} ... -- ...",
          name_of(argument), app.get_name(), argument);
    }
  }
  return {};
}

std::string unknown(const CLI::App& app, std::string_view argument) {
  if (!argument.starts_with('-')) return fmt::format("'{}' does not belong here", argument);
  const std::string near = nearest(name_of(argument), option_names(app));
  const std::string hint = near.empty() ? "" : fmt::format("; did you mean {}?", near);
  return fmt::format("no option {}{}", name_of(argument), hint);
}

class formatter final : public CLI::Formatter {
 public:
  explicit formatter(std::string usage) : usage_(std::move(usage)) { column_width(34); }
  std::string make_usage(const CLI::App*, std::string) const override { return usage_ + "\n"; }

 private:
  std::string usage_;
};

}  // namespace

command_line::command_line(int argc, char** argv) {
  const std::vector<std::string> all(argv + std::min(argc, 1), argv + argc);
  const auto cut = std::ranges::find(all, "--");
  separated = cut != all.end();
  if (!separated) {
    app = all;
    return;
  }
  eal.assign(all.begin(), cut);
  app.assign(cut + 1, all.end());
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::chrono::nanoseconds& target,
                          const std::string& help) {
  const auto take = [&target, name](const std::string& text) {
    const auto value = parse_duration(text);
    if (!value) {
      throw CLI::ValidationError(
          name, fmt::format("'{}' is not a time; write seconds (2, 0.5) or 500ms, 20us", text));
    }
    target = *value;
  };
  return app.add_option_function<std::string>(name, take, help)->type_name("TIME");
}

CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& target,
                      std::uint64_t lowest, std::uint64_t highest, const std::string& help) {
  const auto take = [&target, name, lowest, highest](const std::string& text) {
    const auto value = parse_size(text);
    if (!value || *value < lowest || *value > highest) {
      throw CLI::ValidationError(
          name, fmt::format("'{}' is not a number from {} to {} (K, M, G: powers of 1024)", text,
                            lowest, highest));
    }
    target = *value;
  };
  return app.add_option_function<std::string>(name, take, help)->type_name("N");
}

CLI::Option* add_host_port(CLI::App& app, const std::string& name, std::optional<host_port>& target,
                           const std::uint16_t& default_port, const std::string& help) {
  // CLI11 hands values on in the order of declaration: the option behind `default_port` comes
  // first.
  const auto take = [&target, &default_port, name](const std::string& text) {
    target = parse_host_port(text, default_port);
    if (!target) {
      throw CLI::ValidationError(
          name, fmt::format("'{}' is not an address; write A.B.C.D or A.B.C.D:PORT", text));
    }
  };
  return app.add_option_function<std::string>(name, take, help)->type_name("ADDR[:PORT]");
}

void add_nd_options(CLI::App& app) {
  struct row {
    const char* name;
    const char* type;
    const char* help;
  };
  constexpr std::array<row, 8> rows{
      {{"--dev", "INTERFACE", "run on this kernel interface; the EAL options are chosen by it"},
       {"--ip", "A.B.C.D/N",
        "this host's address and prefix length; with --dev the interface's is taken"},
       {"--encap", "ip|udp", "what carries packets: IP protocol 19, or UDP"},
       {"--fault", "SPEC", "impair what is sent: loss=P,dup=P,reorder=P,corrupt=P,ecn=P,seed=N"},
       {"--io-lcores", "LIST", "EAL lcores that run the stack, as 2,4-6, or auto; else inline"},
       {"--dcopy-lcores", "LIST", "EAL lcores that copy for large reads and writes, or auto"},
       {"--config", "FILE", "settings from a TOML file"},
       {"--set", "NAME=VALUE", "one setting (may be repeated); they are listed in docs/usage.md"}}};
  for (const row& r : rows) {
    app.add_option_function<std::vector<std::string>>(
           r.name, [](const std::vector<std::string>&) {}, r.help)
        ->type_name(r.type)
        ->type_size(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false)
        ->group("ND options, the same in every libndstack app");
  }
}

std::optional<int> parse(CLI::App& app, const command_line& arguments) {
  app.allow_extras();
  if (const std::string message = misplaced(app, arguments); !message.empty()) {
    return usage_error(app, message);
  }
  try {
    app.parse(std::vector<std::string>(arguments.app.rbegin(), arguments.app.rend()));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return exit_good;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error.what());
  }
  if (const std::vector<std::string> rest = app.remaining(); !rest.empty()) {
    return usage_error(app, unknown(app, rest.front()));
  }
  return std::nullopt;
}

int usage_error(const CLI::App& app, const std::string& message) {
  fmt::print(stderr, "{0}: {1}\n{0} --help lists the options.\n", app.get_name(), message);
  return exit_usage;
}

void prepare(CLI::App& app, const std::string& usage) {
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.formatter(std::make_shared<formatter>(usage));
}

}  // namespace nd::apps
