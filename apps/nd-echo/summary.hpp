// The results of a run, as text and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "nd-echo/bench.hpp"
#include "nd-echo/options.hpp"

namespace nd::apps::echo {

struct summary {
  std::string tool;
  std::string mode;  ///< of a server: what its last client asked for; "none" without one
  std::uint64_t size = 0;
  std::uint64_t connections = 0;  ///< of a server: how many it has served
  std::uint64_t depth = 0;
  std::string encap;
  std::string checksum;  ///< for the text: how packets are protected, where that can be chosen
  double duration_s = 0;
  sums total;
  std::uint64_t errors = 0;
  std::uint64_t verify_failures = 0;
  bool verified = false;
  std::vector<std::pair<std::string, std::uint64_t>> counters;

  double goodput_gbps() const noexcept {
    return duration_s > 0 ? static_cast<double>(total.bytes) * 8e-9 / duration_s : 0;
  }
  double messages_per_s() const noexcept {
    return duration_s > 0 ? static_cast<double>(total.messages) / duration_s : 0;
  }
  bool good() const noexcept { return errors == 0 && verify_failures == 0; }
};

/// For people, several lines.
std::string to_text(const summary& s);

/// One line of JSON and a newline. Latencies are in microseconds, null where there is none.
std::string to_json(const summary& s);

/// Where the results go: text to stdout, or to stderr when stdout is for JSON.
class output {
 public:
  /// `stdout_fd` is the real stdout; `json` as the option.
  output(int stdout_fd, std::string json) : stdout_fd_(stdout_fd), json_(std::move(json)) {}

  /// A line of text (without its newline) at once, for whoever watches.
  void line(const std::string& text) const;
  /// The end: text, and JSON where it was asked for. False (and a message) if that cannot be
  /// written.
  bool results(const summary& s) const;

 private:
  int stdout_fd_;
  std::string json_;
};

}  // namespace nd::apps::echo
