// Bulk senders behind one bottleneck, and what each of them gets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/machine.hpp"
#include "unit/support/app.hpp"

namespace nd::sim {

/// Hosts at a switch that send to one more, as fast as they may. The way from the switch to that
/// one is the bottleneck; their own have no limit.
struct bottleneck_plan {
  std::string congestion = "dctcp";       ///< the setting, of all hosts
  std::vector<std::int64_t> channels{1};  ///< of each sender
  std::size_t sockets = 1;                ///< of each sender
  std::uint16_t mtu = 1500;
  std::uint64_t bits_per_second = 10'000'000'000;
  duration round_trip = duration::microseconds(50);  ///< of delays alone
  double loss = 0;                                   ///< of each frame, both ways
  std::uint64_t queue_bytes = 1'000'000;
  std::uint64_t mark_bytes = 65 * 1514;  ///< K of the DCTCP paper for 10 Gbit/s
  duration warm_up = duration::milliseconds(20);
  duration measured = duration::milliseconds(30);
  std::uint64_t seed = 1;
};

struct bottleneck_result {
  std::vector<double> by_sender;  ///< bytes of payload a second
  std::vector<double> by_socket;
  double total = 0;
  double utilisation = 0;  ///< payload's share of the link's rate: headers count as lost
  std::uint64_t queue_mean = 0, queue_p99 = 0, queue_most = 0;  ///< bytes, of the switch's queue
  double lost = 0;  ///< of the packets sent, by the senders' counters, warm-up included
};

/// (sum x)^2 / (n * sum x^2): 1 where all get the same.
double jains_index(const std::vector<double>& shares);

bottleneck_result run_bottleneck(const bottleneck_plan& plan);

}  // namespace nd::sim
