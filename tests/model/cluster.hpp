// Two whole hosts on made cores: each core is busy for as long as what it did costs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "model/cost_model.hpp"
#include "model/link.hpp"
#include "unit/support/host_pools.hpp"

namespace nd::model {

enum class placement : std::uint8_t {
  together,  ///< core i has lcore i of both hosts and the applications of its sockets
  inline_,   ///< core i of a host has its lcore i and the applications of its sockets
  apart,     ///< io lcores, and a thread of the application for each, have cores of their own
};

struct cluster_plan {
  cost_model costs;
  link_plan wire;
  placement where = placement::apart;
  unsigned io = 1;  ///< lcores of each host
  unsigned dcopy_near = 0;
  unsigned dcopy_far = 0;
  unsigned sockets = 1;  ///< spread over the lcores
  bool handed = false;   ///< the far host has two lcores, and the channels are not its sockets'
  std::size_t block = 65536;  ///< of a write, and of a read
  std::uint16_t mtu = 9000;
  settings values;
  duration warm_up = duration::milliseconds(3);
  duration time = duration::milliseconds(3);
};

struct role_load {
  std::string role;    ///< "sender's io", "receiver's application", ...
  double busiest = 0;  ///< of its cores: part of the time that it worked in this role
};

struct prediction {
  double gbps = 0;  ///< read by the receiver
  double link = 0;  ///< part of its rate, frames included
  std::string limit;
  std::vector<role_load> loads;
  std::uint64_t lost = 0;    ///< frames
  std::uint64_t marked = 0;  ///< received with CE
  std::uint64_t handed = 0;  ///< packets between lcores
};

/// The pools of a model's two hosts, of about 40 MiB each.
struct cluster_pools {
  explicit cluster_pools(std::uint16_t mtu);
  test::host_pools near;
  test::host_pools far;
};

prediction predict(const cluster_plan& plan, cluster_pools& pools);

}  // namespace nd::model
