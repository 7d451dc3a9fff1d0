// What happens in one run, all of it drawn from the seed before the run begins.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/settings.hpp"
#include "base/time.hpp"
#include "wire/nd_header.hpp"

namespace nd::sim {

/// The way of frames from one host to another. Chances are from 0 to 1, drawn for each frame.
struct way_model {
  way_model() = default;
  explicit way_model(duration d) : delay(d) {}

  duration delay;
  double loss = 0;
  double burst_begins = 0;  ///< Gilbert and Elliott's model: a bad state with a loss of its own
  double burst_ends = 1;
  double burst_loss = 0;
  double duplicate = 0;
  double reorder = 0;  ///< later by up to `reorder_by`
  duration reorder_by;
  double corrupt = 0;
  double late = 0;  ///< another copy comes after up to `late_by`: its sender may have restarted
  duration late_by;
};

/// Loss of what matters: one kind of packet, or packets that hold a record of one type.
struct targeted_loss {
  std::optional<wire::packet_kind> kind;
  std::optional<wire::record_type> record;
  double loss = 0;
};

enum class fault_kind : std::uint8_t {
  cut,              ///< nothing passes from `host` to `other`
  mtu,              ///< IP packets above `amount` bytes vanish between `host` and `other`
  crash,            ///< the host and its applications are gone, and boot again after `span`
  leave,            ///< like crash, but peers are told
  pause,            ///< the lcore stands still
  hoard,            ///< all but `amount` mbufs of a pool are taken
  fail_allocation,  ///< the `amount`-th from now on
  fail_often,       ///< each allocation with a chance of 1 in `amount`
  device_full,      ///< bursts are taken in part, or not at all
  stranger,         ///< packets from addresses that nobody has
  replay,           ///< `amount` earlier packets come once more, those that open and end things
};
inline constexpr std::size_t fault_kinds = 11;
std::string_view name_of(fault_kind kind) noexcept;

struct planned_fault {
  duration at;
  fault_kind kind = fault_kind::cut;
  std::size_t host = 0;
  std::size_t other = 0;
  duration span;
  std::uint64_t amount = 0;
  unsigned pool = 0;  ///< of hoard and the failing allocations: 0 receive, 1 send, 2 packets
};

enum class ending : std::uint8_t {
  orderly,      ///< shuts down behind its last byte, reads to the end, closes
  after_peer,   ///< as orderly, but shuts down only when the peer has: half closed for long
  impatient,    ///< closes behind its last byte: bytes of the peer that come then are unwanted
  stops_early,  ///< closes in the middle
  aborts,       ///< resets in the middle
};

/// What one end of a connection does.
struct side_plan {
  std::uint64_t bytes = 0;
  std::size_t write_most = 1;  ///< bytes a write
  duration write_pause;        ///< mean, between writes
  std::size_t read_most = 65536;
  duration read_pause;
  ending end = ending::orderly;
  std::uint64_t stop_at = 0;  ///< bytes written, of stops_early and aborts
  double lent = 0;            ///< share of the writes that lend their bytes
};

struct connection_plan {
  duration at;
  std::size_t client = 0;
  std::size_t server = 0;
  std::uint8_t traffic_class = 0;
  std::array<side_plan, 2> sides;  ///< client, server

  /// Both sides end as a connection should.
  bool orderly() const noexcept {
    for (const side_plan& s : sides)
      if (s.end != ending::orderly && s.end != ending::after_peer) return false;
    return true;
  }
};

struct scenario {
  std::string profile;
  std::uint64_t seed = 0;
  std::size_t hosts = 2;
  bool udp = false;
  bool static_neighbors = true;
  bool checksums = true;
  bool lanes = false;              ///< devices keep latency traffic apart
  std::vector<bool> chains;        ///< each host's device takes frames in several mbufs
  std::vector<std::uint16_t> mtu;  ///< of each host's device
  std::vector<duration> ahead;     ///< each host's clock
  settings values;
  std::vector<std::string> congestion;  ///< each host's, in place of the setting's value
  std::uint64_t bytes_per_second = 0;   ///< of each host's link, both ways
  std::uint64_t queue_bytes = 0;
  std::uint64_t mark_bytes = 0;
  duration turn;        ///< time a turn of the loop takes
  duration app_period;  ///< between two turns of a host's applications, while there is work
  unsigned backlog = 128;
  std::vector<std::size_t> io_lcores;  ///< of each host; empty: one
  bool device_queues = false;          ///< any lcore receives and sends; else the first one for all
  std::size_t copiers = 0;             ///< dcopy lcores of each host
  duration copy_time;                  ///< until a dcopy lcore gets to its next pieces, at most
  std::uint32_t rx_reserved = 0;       ///< mbufs of the receive pool that are not counted on

  std::vector<way_model> ways;  ///< from * hosts + to
  std::vector<targeted_loss> targets;
  std::vector<planned_fault> faults;          ///< in order of time
  std::vector<connection_plan> connections;   ///< in order of time
  duration fault_span;                        ///< faults stop then, and all must finish
  std::optional<std::uint32_t> first_number;  ///< of all channels' packets
  std::uint64_t first_offset = 0;             ///< of all streams
  bool peers_may_be_lost = false;             ///< by what the ways do all the time
  bool short_of_memory = false;               ///< by what the plan asks for

  const way_model& way(std::size_t from, std::size_t to) const { return ways[from * hosts + to]; }
};

inline constexpr std::array<std::string_view, 7> profiles{
    "default", "lossy", "partition", "restart", "memory", "many", "long"};

scenario draw_scenario(std::string_view profile, std::uint64_t seed);

}  // namespace nd::sim
