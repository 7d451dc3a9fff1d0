// Shares a device between the io lcores of a host: each gets a port of its own, which brings it the
// frames of its channels, whichever lcore the device gave them to. What the device steers right
// passes; a device with one pair of queues is polled by lcore 0 for all.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "base/port.hpp"
#include "lcore/exchange.hpp"
#include "lcore/framing.hpp"

namespace nd::core {

/// Whose a frame is: an lcore's number, or `for_all` (ARP, and ABORT, which names the other end's
/// channel). What is nobody's, as ICMP, is lcore 0's. Looks at a frame in one segment; nothing is
/// checked but lengths: its lcore does that.
inline constexpr unsigned for_all = ~0U;
unsigned lcore_of_frame(rte_mbuf* m, const host_address& host, unsigned lcores) noexcept;

class switched_port final : public port {
 public:
  /// `device`: of this lcore; null: it has none. `first`: of lcore 0, null for that itself.
  switched_port(lcore_exchange& exchange, const host_address& host, unsigned lcore, port* device,
                switched_port* first);
  ~switched_port() override;
  switched_port(const switched_port&) = delete;
  switched_port& operator=(const switched_port&) = delete;

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override;
  std::size_t rx_urgent(instant now, std::span<rte_mbuf*> frames) override;
  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override;
  std::size_t tx_urgent(instant now, std::span<rte_mbuf*> frames) override;
  void tick(instant now) override;
  bool link_up() const noexcept override;
  std::uint64_t tx_refused() const noexcept override;
  std::uint64_t rx_dropped() const noexcept override { return dropped_; }
  bool has_work() const noexcept override;
  rx_wake arm_rx_wake() noexcept override;
  void disarm_rx_wake() noexcept override;

 private:
  /// Frames of others that the device has not taken yet.
  struct waiting {
    std::array<rte_mbuf*, 32> frames{};
    std::size_t count = 0;
  };

  std::size_t keep_own(std::span<rte_mbuf*> frames, bool urgent);
  void pass_on(rte_mbuf* frame, unsigned lcore, bool urgent);
  std::size_t send(instant now, std::span<rte_mbuf*> frames, bool urgent);
  void send_for_others(instant now, bool urgent);

  lcore_exchange& exchange_;
  const host_address& host_;
  unsigned lcore_;
  port* device_;
  switched_port* first_;
  port_capabilities capabilities_;
  mutable std::atomic<bool> link_up_;  ///< as lcore 0 saw it last
  waiting bulk_;
  waiting urgent_;
  std::uint64_t dropped_ = 0;
};

/// The ports of all lcores. `devices`: one for each, or one that lcore 0 polls.
std::vector<std::unique_ptr<switched_port>> share_devices(lcore_exchange& exchange,
                                                          const host_address& host,
                                                          std::span<port* const> devices);

}  // namespace nd::core
