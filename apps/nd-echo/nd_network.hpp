// Libndstack as a network of the workloads.
#pragma once

#include <cstdint>
#include <nd/nd.hpp>
#include <system_error>

#include "common/nd_stream.hpp"
#include "nd-echo/network.hpp"

namespace nd::apps::echo {

class nd_network {
 public:
  using stream = nd_stream;
  using listener = nd_listener;

  explicit nd_network(runtime& rt) noexcept : rt_(rt) {}

  /// Reads and writes poll by themselves when they cannot go on otherwise.
  void poll(bool idle) {
    if (idle) rt_.wait_for(std::chrono::milliseconds(10));
  }
  stream connect(const host_port& peer, mode m) {
    const bool bulk = m == mode::stream;
    return stream(rt_, peer, bulk ? traffic_class::throughput : traffic_class::latency);
  }
  listener listen(std::uint16_t port) { return listener(rt_, port); }
  static connect_failure classify(std::error_code ec) noexcept { return classify_connect(ec); }

 private:
  runtime& rt_;
};

static_assert(network<nd_network>);

}  // namespace nd::apps::echo
