// The tables of docs/usage.md, from the one source of settings and the one of counters.
//
//   settings-doc                 prints both tables
//   settings-doc --check FILE    exit 1, and what differs, where FILE's sections are not these
//   settings-doc --write FILE    puts them into FILE's sections
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/counters.hpp"
#include "nd/config.hpp"

namespace {

constexpr int exit_good = 0;
constexpr int exit_differs = 1;
constexpr int exit_usage = 2;

/// A cell must not end its column.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string code(std::string_view text) {
  return text.empty() ? std::string() : "`" + cell(text) + "`";
}

std::string settings_table() {
  std::string out =
      "| setting | default | bounds | unit | what it is |\n"
      "| --- | --- | --- | --- | --- |\n";
  for (const nd::setting_info& s : nd::settings_table()) {
    const std::string standard = s.default_value.empty() ? "(empty)" : code(s.default_value);
    out += "| " + code(s.name) + " | " + standard + " | " + code(s.bounds) + " | " + cell(s.unit) +
           " | " + cell(s.help) + " |\n";
  }
  return out;
}

std::string counters_table() {
  std::string out =
      "| counter | unit | what it counts |\n"
      "| --- | --- | --- |\n";
  const nd::counters none;
  none.for_each(
      [&](std::string_view name, std::string_view unit, std::string_view help, std::uint64_t) {
        out += "| " + code(name) + " | " + cell(unit) + " | " + cell(help) + " |\n";
      });
  return out;
}

struct section {
  const char* name;
  std::string (*make)();
};
constexpr std::array<section, 2> sections{
    {{"settings", settings_table}, {"counters", counters_table}}};

/// Where the text between a section's markers stands; `size` is npos where there are no markers.
struct extent {
  std::size_t begin = 0;
  std::size_t size = std::string::npos;
};

extent find_section(const std::string& text, const std::string& name) {
  const std::string begin = "<!-- " + name + ":begin -->\n";
  const std::string end = "<!-- " + name + ":end -->\n";
  const std::size_t from = text.find(begin);
  if (from == std::string::npos) return {};
  const std::size_t first = from + begin.size();
  const std::size_t last = text.find(end, first);
  if (last == std::string::npos) return {};
  return {first, last - first};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What differs, without the lines at both ends that do not.
void print_difference(const std::string& file, const std::string& name, const std::string& found,
                      const std::string& wanted) {
  const std::vector<std::string> old_lines = lines_of(found);
  const std::vector<std::string> new_lines = lines_of(wanted);
  const std::size_t shorter = std::min(old_lines.size(), new_lines.size());
  std::size_t head = 0;
  while (head < shorter && old_lines[head] == new_lines[head]) ++head;
  std::size_t tail = 0;
  while (tail < shorter - head &&
         old_lines[old_lines.size() - 1 - tail] == new_lines[new_lines.size() - 1 - tail])
    ++tail;
  std::cout << file << ": section " << name << " is not what the source says\n";
  for (std::size_t i = head; i < old_lines.size() - tail; ++i)
    std::cout << "- " << old_lines[i] << '\n';
  for (std::size_t i = head; i < new_lines.size() - tail; ++i)
    std::cout << "+ " << new_lines[i] << '\n';
}

int usage() {
  std::cerr << "usage: settings-doc [--check FILE | --write FILE]\n";
  return exit_usage;
}

int work_on(const std::string& file, bool write) {
  std::ifstream in(file);
  if (!in) {
    std::cerr << "settings-doc: cannot read " << file << '\n';
    return exit_usage;
  }
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  bool differs = false;
  for (const section& s : sections) {
    const extent place = find_section(text, s.name);
    if (place.size == std::string::npos) {
      std::cerr << "settings-doc: " << file << " has no section <!-- " << s.name
                << ":begin --> ... <!-- " << s.name << ":end -->\n";
      return exit_differs;
    }
    const std::string found = text.substr(place.begin, place.size);
    const std::string wanted = "\n" + s.make() + "\n";
    if (found == wanted) continue;
    differs = true;
    if (write)
      text.replace(place.begin, place.size, wanted);
    else
      print_difference(file, s.name, found, wanted);
  }
  if (!differs) return exit_good;
  if (!write) {
    std::cout << "settings-doc --write " << file << " puts it right\n";
    return exit_differs;
  }
  std::ofstream out(file, std::ios::trunc);
  out << text << std::flush;
  if (out) return exit_good;
  std::cerr << "settings-doc: cannot write " << file << '\n';
  return exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (arguments.empty()) {
    for (const section& s : sections) std::cout << s.make() << '\n';
    return exit_good;
  }
  if (arguments.size() != 2 || (arguments[0] != "--check" && arguments[0] != "--write"))
    return usage();
  return work_on(arguments[1], arguments[0] == "--write");
}
