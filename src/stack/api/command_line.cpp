#include "api/command_line.hpp"

#include <algorithm>
#include <array>
#include <system_error>

#include "nd/error.hpp"

namespace nd::api {
namespace {

constexpr std::array<std::string_view, 8> options{
    "--dev", "--ip", "--encap", "--fault", "--config", "--set", "--io-lcores", "--dcopy-lcores"};

/// The setting that an option is short for.
std::string setting_of(std::string_view option) {
  std::string name(option.substr(2));
  std::ranges::replace(name, '-', '_');
  return name;
}

}  // namespace

command_line parse_command_line(const std::vector<std::string>& words) {
  command_line out;
  // Files are read first: what is said on the command line wins over them, in any order.
  std::vector<std::string> files;
  std::vector<std::pair<std::string_view, std::string>> said;
  const auto take = [&](std::string_view option, const std::string& value) {
    if (option == "--config")
      files.push_back(value);
    else
      said.emplace_back(option, value);
  };
  const auto dashes = std::ranges::find(words, "--");
  auto word = words.begin();
  if (dashes != words.end()) {
    out.cfg.eal_args(std::vector<std::string>(words.begin(), dashes));
    word = dashes + 1;
  }
  for (; word != words.end(); ++word) {
    const std::string_view text = *word;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::ranges::find(options, name) == options.end()) {
      out.args.push_back(*word);
    } else if (name.size() < text.size()) {
      take(name, std::string(text.substr(name.size() + 1)));
    } else if (word + 1 == words.end()) {
      throw std::system_error(make_error_code(errc::bad_option),
                              std::string(name) + " needs a value");
    } else {
      take(name, *++word);
    }
  }
  for (const std::string& file : files) out.cfg.load(file);
  for (const auto& [option, value] : said) {
    if (option == "--set")
      out.cfg.set(value);
    else
      out.cfg.set(setting_of(option), value);
  }
  return out;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  constexpr std::string_view blanks = " \t\n";
  for (auto start = text.find_first_not_of(blanks); start != std::string_view::npos;
       start = text.find_first_not_of(blanks, start)) {
    const auto end = std::min(text.find_first_of(blanks, start), text.size());
    words.emplace_back(text.substr(start, end - start));
    start = end;
  }
  return words;
}

}  // namespace nd::api
