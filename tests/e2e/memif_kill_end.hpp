// One end of the link that memif_kill breaks, in a process of its own: polls, sends, and tells its
// parent what it sees.
#pragma once

#include <cstdint>
#include <string>

namespace nd::e2e {

/// `heard`: each lcore that has queues has received something since `up`.
enum class event_kind : std::uint8_t { ready, up, heard, down };

/// What a child tells its parent, one write (and so one whole read) each.
struct kill_event {
  event_kind kind = event_kind::ready;
  std::uint8_t lcores = 0;  ///< that have queues of their own; 0 without a link
  std::int64_t at_ns = 0;
  std::uint64_t packets_received = 0;  ///< by the lcore that received least
  double may_poll_ns = 0;
};

struct kill_end {
  std::string vdev;
  std::string file_prefix;
  unsigned lcores = 1;  ///< of several each polls a port of the library's
  bool guarded = true;
  int report_fd = -1;
};

/// Ends only if it cannot begin, with an exit code.
int run_kill_end(const kill_end& end);

}  // namespace nd::e2e
