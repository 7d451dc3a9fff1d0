// The network of a run: a switch with a queue to each host, and a way with faults between each two.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.hpp"
#include "sim/scenario.hpp"
#include "sim/trace.hpp"
#include "unit/support/made_wire.hpp"

namespace nd::sim {

class network {
 public:
  network(const scenario& s, trace& t);

  /// A host boots; the port is for this boot alone. What is still under way from an earlier life
  /// comes to it.
  test::made_wire::made_port& plug(std::size_t host, const port_capabilities& capabilities,
                                   rte_mempool* rx_pool, instant now);

  void cut(std::size_t from, std::size_t to, instant until);
  /// IP packets above `bytes` vanish in both directions.
  void limit_mtu(std::size_t a, std::size_t b, std::uint16_t bytes, instant until);
  /// Up to `count` of the packets that once were on their way to the host, and open or end
  /// something, come again.
  void replay(std::size_t to, std::uint64_t count, instant now);
  /// A frame from nobody, who gets no more back than that.
  void bring_stranger(std::size_t host, std::vector<std::byte> frame, instant now);
  /// What hosts have sent that they must not; empty: nothing.
  const std::string& complaint() const noexcept { return complaint_; }
  /// All faults end: every frame arrives, in order and unharmed.
  void calm() noexcept { calm_ = true; }

  /// Bytes in the switch's queue to a host.
  std::uint64_t waiting(std::size_t to, instant now) const noexcept {
    const instant until = receiving_until_[to];
    return until <= now ? 0
                        : static_cast<std::uint64_t>((until - now).ns()) *
                              scenario_.bytes_per_second / 1'000'000'000;
  }

  test::made_wire wire;

 private:
  struct way_state {
    bool burst = false;
    instant cut_until;
    instant mtu_until;
    std::uint16_t mtu = 0;
  };
  void record(test::made_frame& f, std::size_t to);
  void carry(test::made_frame& f, std::size_t to_port, instant left,
             std::vector<test::frame_arrival>& arrivals);
  const char* why_lost(test::made_frame& f, const way_model& model, way_state& state, instant left);
  void watch_answer(const test::made_frame& f);
  bool is_target(test::made_frame& f, const targeted_loss& t) const;

  const scenario& scenario_;
  trace& trace_;
  rng random_;
  std::vector<way_state> ways_;
  std::vector<instant> receiving_until_;  ///< the queue of each host's way from the switch
  std::vector<std::size_t> host_of_port_;
  std::vector<std::vector<std::vector<std::byte>>> recorded_;  ///< frames, by receiver
  std::vector<test::made_wire::made_port*> ports_;             ///< of each host's last boot
  /// Frames and bytes to a host less those back, by host and the stranger's MAC address.
  struct balance {
    std::int64_t frames = 0;
    std::int64_t bytes = 0;
  };
  std::map<std::pair<std::size_t, mac_address>, balance> strangers_;
  std::string complaint_;
  bool calm_ = false;
};

}  // namespace nd::sim
