// The wire of the model: a NIC with a queue pair for each io lcore at either end, whose frames are
// steered to the lcore of their channel, and a link with a rate, a delay and an ECN mark.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <queue>
#include <vector>

#include "base/port.hpp"
#include "lcore/framing.hpp"

namespace nd::model {

struct link_plan {
  double gbps = 0;                                ///< 0: no limit
  duration delay;                                 ///< one way
  std::uint64_t mark_bytes = ~std::uint64_t{0};   ///< a longer queue marks CE
  std::uint64_t queue_bytes = ~std::uint64_t{0};  ///< what does not fit is lost
};

class link;

/// A queue pair. Frames that a turn has sent leave when the turn ends: launch().
class queue_pair final : public port {
 public:
  static constexpr std::size_t descriptors = 512;  // as the settings' default

  queue_pair(link& l, std::size_t host, const port_capabilities& c, rte_mempool* rx_pool)
      : link_(l), host_(host), capabilities_(c), rx_pool_(rx_pool) {}
  ~queue_pair() override;
  queue_pair(const queue_pair&) = delete;
  queue_pair& operator=(const queue_pair&) = delete;

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override;
  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override;
  void tick(instant) override {}
  bool link_up() const noexcept override { return true; }

  void launch(instant at);

 private:
  friend class link;
  struct arrival {
    instant when;
    rte_mbuf* frame;
  };
  link& link_;
  std::size_t host_;
  port_capabilities capabilities_;
  rte_mempool* rx_pool_;
  std::vector<rte_mbuf*> staged_;
  std::size_t launched_ = 0;     ///< and not on the wire yet
  std::deque<instant> leaving_;  ///< when descriptors are free again
  std::deque<arrival> arrived_;
};

class link {
 public:
  explicit link(const link_plan& plan) : plan_(plan) {}
  ~link();
  link(const link&) = delete;
  link& operator=(const link&) = delete;

  /// The queues of one end, by lcore; `address` says what is whose.
  void join(std::size_t host, const core::host_address& address, std::vector<queue_pair*> queues);
  /// Puts on the wire what was launched by now.
  void advance(instant now);
  std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  friend class queue_pair;
  struct launching {
    instant at;
    std::uint64_t number;
    queue_pair* from;
    rte_mbuf* frame;
    bool operator>(const launching& o) const noexcept {
      return at != o.at ? at > o.at : number > o.number;
    }
  };
  struct end {
    const core::host_address* address = nullptr;
    std::vector<queue_pair*> queues;
    double free_at = 0;  ///< of the way from it, ns
  };
  void carry(const launching& l);

  link_plan plan_;
  std::array<end, 2> ends_;
  std::priority_queue<launching, std::vector<launching>, std::greater<>> launched_;
  std::uint64_t number_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace nd::model
