// What two workers do with one connection: drawn at both ends from the seed in its first bytes.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nd/nd.hpp>
#include <random>

namespace nd::soak {

using random = std::mt19937_64;

inline std::uint64_t below(random& r, std::uint64_t n) {
  return r() % n;
}
inline bool chance(random& r, unsigned percent) {
  return below(r, 100) < percent;
}

enum class ending : std::uint8_t {
  both,           ///< each side ends its direction when it has written all
  one_by_one,     ///< the acceptor writes when it has read the opener's end
  opener_resets,  ///< at a place of its stream
  acceptor_resets,
  opener_leaves,  ///< closes when it has written all, and reads nothing
};

/// One direction: how it is written, and how it is read.
struct direction {
  std::uint64_t bytes = 0;
  std::size_t write_most = 0;
  unsigned write_pauses = 0;  ///< percent of writes
  std::size_t read_most = 0;
  unsigned read_pauses = 0;
  std::chrono::microseconds longest_pause{0};
};

struct plan {
  traffic_class priority = traffic_class::throughput;
  ending end = ending::both;
  direction from_opener, from_acceptor;
  std::uint64_t reset_at = 0;  ///< bytes written by who resets
};

inline direction make_direction(random& r) {
  direction d;
  const std::uint64_t kind = below(r, 100);
  d.bytes = kind < 5    ? 0
            : kind < 35 ? 1 + below(r, 100)
            : kind < 75 ? below(r, 20'000)
            : kind < 97 ? below(r, 300'000)
                        : below(r, 5'000'000);
  d.write_most = 1 + below(r, chance(r, 30) ? 200 : 65'536);
  // No stream shall take thousands of turns.
  d.write_most = std::max<std::size_t>(d.write_most, d.bytes / 1000);
  d.read_most = std::max<std::size_t>(1 + below(r, 65'536), d.bytes / 500);
  if (chance(r, 30)) d.write_pauses = 1 + static_cast<unsigned>(below(r, 30));
  if (chance(r, 20)) d.read_pauses = 1 + static_cast<unsigned>(below(r, 80));
  d.longest_pause = std::chrono::microseconds(100 + below(r, 10'000));
  return d;
}

inline plan make_plan(std::uint64_t seed) {
  random r(seed);
  plan p;
  p.priority = chance(r, 40) ? traffic_class::latency : traffic_class::throughput;
  p.from_opener = make_direction(r);
  p.from_acceptor = make_direction(r);
  const std::uint64_t kind = below(r, 100);
  p.end = kind < 55   ? ending::both
          : kind < 80 ? ending::one_by_one
          : kind < 87 ? ending::opener_resets
          : kind < 94 ? ending::acceptor_resets
                      : ending::opener_leaves;
  const direction& d = p.end == ending::opener_resets ? p.from_opener : p.from_acceptor;
  p.reset_at = below(r, d.bytes + 1);
  return p;
}

}  // namespace nd::soak
