// A device that fetches what is sent by itself, as NICs do: the copy is made on the receiver's
// side, and the sender frees what has gone when it sends more. Both ends by one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "base/port.hpp"
#include "base/stage_meter.hpp"
#include "unit/support/made_host.hpp"

namespace nd::bench {

class made_device final : public port {
 public:
  /// `clock`: counts what the copies take, which a NIC would make; null: nobody does.
  made_device(std::size_t host, std::uint16_t mtu, rte_mempool* pool,
              stage_meter::clock clock = nullptr)
      : pool_(pool), clock_(clock) {
    capabilities_.mac = test::made_mac(host);
    capabilities_.mtu = mtu;
    capabilities_.tx_chains = true;
  }
  ~made_device() override {
    for (auto* all : {&sent_, &done_})
      for (rte_mbuf* m : *all) rte_pktmbuf_free(m);
  }
  made_device(const made_device&) = delete;
  made_device& operator=(const made_device&) = delete;
  void join(made_device& other) { peer_ = &other; }

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override {
    for (; !done_.empty(); done_.pop_front()) rte_pktmbuf_free(done_.front());
    const std::size_t n = std::min(frames.size(), descriptors - sent_.size());
    sent_.insert(sent_.end(), frames.begin(), frames.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }
  std::size_t rx_burst(instant, std::span<rte_mbuf*> frames) override {
    if (peer_->sent_.empty()) return 0;
    const std::uint64_t began = clock_ != nullptr ? clock_() : 0;
    std::size_t n = 0;
    for (; n < frames.size() && !peer_->sent_.empty(); ++n) {
      rte_mbuf* const from = peer_->sent_.front();
      frames[n] = rte_pktmbuf_copy(from, pool_, 0, from->pkt_len);
      if (frames[n] == nullptr) break;
      peer_->sent_.pop_front();
      peer_->done_.push_back(from);
    }
    if (clock_ != nullptr) copy_cycles_ += clock_() - began;
    return n;
  }
  void tick(instant) override {}
  bool link_up() const noexcept override { return true; }
  std::uint64_t copy_cycles() const noexcept { return copy_cycles_; }

 private:
  static constexpr std::size_t descriptors = 512;
  port_capabilities capabilities_;
  rte_mempool* pool_;
  stage_meter::clock clock_;
  std::uint64_t copy_cycles_ = 0;
  made_device* peer_ = nullptr;
  std::deque<rte_mbuf*> sent_;
  std::deque<rte_mbuf*> done_;
};

}  // namespace nd::bench
