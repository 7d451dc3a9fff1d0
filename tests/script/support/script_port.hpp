// The device of a scripted host: frames that the script gives it, and those that it is given.
#pragma once

#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "base/mbuf.hpp"
#include "base/port.hpp"

namespace nd::script {

class script_port final : public port {
 public:
  script_port(const port_capabilities& c, rte_mempool* rx_pool)
      : capabilities_(c), rx_pool_(rx_pool) {}

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  bool link_up() const noexcept override { return true; }
  void tick(instant) override {}

  std::size_t rx_burst(instant, std::span<rte_mbuf*> frames) override {
    std::size_t n = 0;
    while (n < frames.size() && !arrived_.empty()) {
      const std::vector<std::byte>& bytes = arrived_.front();
      if (rte_mbuf* m = rte_pktmbuf_alloc(rx_pool_); m != nullptr) {
        std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(bytes.size())), bytes.data(),
                    bytes.size());
        frames[n++] = m;
      }
      arrived_.pop_front();
    }
    return n;
  }

  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override {
    for (rte_mbuf* m : frames) {
      const auto* first = rte_pktmbuf_mtod(m, const std::byte*);
      sent_.emplace_back(first, first + m->data_len);
      rte_pktmbuf_free(m);
    }
    return frames.size();
  }

  void arrive(std::vector<std::byte> frame) { arrived_.push_back(std::move(frame)); }
  std::vector<std::vector<std::byte>> take_sent() { return std::exchange(sent_, {}); }

 private:
  port_capabilities capabilities_;
  rte_mempool* rx_pool_;
  std::deque<std::vector<std::byte>> arrived_;
  std::vector<std::vector<std::byte>> sent_;
};

}  // namespace nd::script
