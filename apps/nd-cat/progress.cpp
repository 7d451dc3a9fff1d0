#include "nd-cat/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "common/text.hpp"

namespace nd::apps::cat {
namespace {

// To the left edge, and clear the line.
constexpr const char* rewrite = "\r\x1b[K";

double gbps(const moved& m, std::chrono::nanoseconds elapsed) {
  const double s = seconds(elapsed);
  return s > 0 ? static_cast<double>(m.sent + m.received) * 8e-9 / s : 0;
}

}  // namespace

std::string summary_line(const moved& m, std::chrono::nanoseconds elapsed) {
  return fmt::format("sent {} bytes, received {} bytes in {:.3f} s, {:.3f} Gbit/s", m.sent,
                     m.received, seconds(elapsed), gbps(m, elapsed));
}

std::string progress_line(const moved& m, std::chrono::nanoseconds elapsed,
                          std::optional<std::uint64_t> total) {
  std::string line;
  if (total && *total != 0) {
    constexpr std::size_t width = 30;
    const double done = std::min(1.0, static_cast<double>(m.sent) / static_cast<double>(*total));
    const auto full = static_cast<std::size_t>(done * width);
    line = fmt::format("[{:.<{}}] {:3.0f} %  ", std::string(full, '#'), width, done * 100);
  }
  const auto bytes = static_cast<double>(m.sent + m.received);
  return line + fmt::format("{}  {:.2f} Gbit/s", with_prefix(bytes, "B"), gbps(m, elapsed));
}

progress::progress(std::optional<std::uint64_t> total)
    : visible_(::isatty(STDERR_FILENO) == 1), total_(total) {}

void progress::draw(const moved& m) {
  const clock::time_point now = clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  fmt::print(stderr, "{}{}", rewrite, progress_line(m, now - begin_, total_));
}

void progress::finish(const moved& m) {
  const auto elapsed = clock::now() - begin_;
  fmt::print(stderr, "{}nd-cat: {}\n", visible_ ? rewrite : "", summary_line(m, elapsed));
}

}  // namespace nd::apps::cat
