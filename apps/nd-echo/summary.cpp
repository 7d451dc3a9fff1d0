#include "nd-echo/summary.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "common/text.hpp"

namespace nd::apps::echo {
namespace {

double us(double ns) {
  return ns / 1000;
}
double us(std::uint64_t ns) {
  return us(static_cast<double>(ns));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

std::string to_text(const summary& s) {
  std::string out = fmt::format("{}: {}, {} B, {} connection{}", s.tool, s.mode, s.size,
                                s.connections, s.connections == 1 ? "" : "s");
  if (s.depth > 1) out += fmt::format(", {} messages outstanding on each", s.depth);
  out += fmt::format(", {}", s.encap);
  if (!s.checksum.empty()) out += fmt::format(" with checksum {}", s.checksum);
  out += fmt::format(", {:.2f} s\n", s.duration_s);
  out += fmt::format("  goodput   {:.3f} Gbit/s (received by the other side), {} in all\n",
                     s.goodput_gbps(), with_prefix(static_cast<double>(s.total.bytes), "B"));
  out += fmt::format("  messages  {}, {} in all\n", with_prefix(s.messages_per_s(), "msg/s"),
                     s.total.messages);
  if (const histogram& h = s.total.latency; h.count() != 0) {
    out += fmt::format(
        "  latency   round trip in us: min {:.2f}, mean {:.2f}, p50 {:.2f}, p90 {:.2f}, p99 "
        "{:.2f}, "
        "p99.9 {:.2f}, max {:.2f}\n",
        us(h.min()), us(h.mean()), us(h.percentile(50)), us(h.percentile(90)), us(h.percentile(99)),
        us(h.percentile(99.9)), us(h.max()));
  }
  out += fmt::format("  errors    {}", s.errors);
  if (s.verified) out += fmt::format(", wrong bytes {}", s.verify_failures);
  return out + "\n";
}

std::string to_json(const summary& s) {
  using json = nlohmann::ordered_json;
  const histogram& h = s.total.latency;
  const auto latency = [&h](double ns) { return h.count() == 0 ? json(nullptr) : json(us(ns)); };
  const auto percentile = [&](double p) { return latency(static_cast<double>(h.percentile(p))); };
  json counters = json::object();
  for (const auto& [name, value] : s.counters) counters[name] = value;
  const json all = {
      {"tool", s.tool},
      {"mode", s.mode},
      {"size", s.size},
      {"connections", s.connections},
      {"depth", s.depth},
      {"encap", s.encap},
      {"duration_s", s.duration_s},
      {"messages", s.total.messages},
      {"bytes", s.total.bytes},
      {"goodput_gbps", s.goodput_gbps()},
      {"messages_per_s", s.messages_per_s()},
      {"latency_us",
       {{"count", h.count()},
        {"min", latency(static_cast<double>(h.min()))},
        {"mean", latency(h.mean())},
        {"p50", percentile(50)},
        {"p90", percentile(90)},
        {"p99", percentile(99)},
        {"p99_9", percentile(99.9)},
        {"max", latency(static_cast<double>(h.max()))}}},
      {"errors", s.errors},
      {"verify_failures", s.verify_failures},
      {"counters", counters},
  };
  return all.dump() + "\n";
}

void output::line(const std::string& text) const {
  write_all(json_ == "-" ? STDERR_FILENO : stdout_fd_, text + "\n");
}

bool output::results(const summary& s) const {
  const std::string text = to_text(s);
  const bool json_only = json_ == "-";
  const auto complain = [&s](std::string_view where) {
    const std::string why = std::generic_category().message(errno);
    fmt::print(stderr, "{}: {}: {}\n", s.tool, where, why);
    return false;
  };
  if (!write_all(json_only ? STDERR_FILENO : stdout_fd_, text) && !json_only) {
    return complain("stdout");
  }
  if (json_.empty()) return true;
  if (json_only) return write_all(stdout_fd_, to_json(s)) || complain("stdout");
  const int fd = ::open(json_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return complain("--json " + json_);
  const bool written = write_all(fd, to_json(s));
  const bool good = written || complain("--json " + json_);
  return ::close(fd) == 0 && good;
}

}  // namespace nd::apps::echo
