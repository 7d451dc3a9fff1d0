// How far nd-cat is, on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace nd::apps::cat {

struct moved {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  bool operator==(const moved&) const noexcept = default;
};

/// "sent N bytes, received M bytes in S s, G Gbit/s"; the rate is that of both directions together.
std::string summary_line(const moved& m, std::chrono::nanoseconds elapsed);

/// One line without its end: bar and percentage where `total` bytes to send are known, then bytes
/// and rate.
std::string progress_line(const moved& m, std::chrono::nanoseconds elapsed,
                          std::optional<std::uint64_t> total);

/// A line that is drawn again ten times a second while stderr is a terminal, and never otherwise.
class progress {
 public:
  using clock = std::chrono::steady_clock;

  explicit progress(std::optional<std::uint64_t> total);

  /// Call it each turn: it looks at the clock only now and then.
  void turn(const moved& m) {
    if (visible_ && ++turns_ % 256 == 0) draw(m);
  }
  /// Removes the line and prints the summary.
  void finish(const moved& m);

 private:
  void draw(const moved& m);

  bool visible_;
  std::optional<std::uint64_t> total_;
  clock::time_point begin_ = clock::now();
  clock::time_point next_ = begin_;
  unsigned turns_ = 0;
};

}  // namespace nd::apps::cat
