// A wire that can be made bad: a decorator that loses, doubles, reorders, corrupts and marks what a
// host sends. In every build, deterministic by its seed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "base/mbuf.hpp"
#include "base/port.hpp"
#include "base/rng.hpp"

namespace nd::pmd {

/// Probabilities from 0 to 1, each drawn for itself for every frame.
struct fault_spec {
  double loss = 0;
  double dup = 0;
  double reorder = 0;  ///< held back while 1 to 8 later frames leave, at most 100 us
  double corrupt = 0;  ///< one bit anywhere in the frame
  double ecn = 0;      ///< Congestion Experienced, on frames that are ECT
  std::uint64_t seed = 1;
};

/// "loss=0.01,dup=0.01,reorder=0.05,corrupt=0.001,ecn=0.01,seed=7"; what is not named is 0. Throws
/// std::system_error(errc::bad_option).
fault_spec parse_fault_spec(std::string_view text);

class fault_port final : public port {
 public:
  fault_port(std::unique_ptr<port> inner, const fault_spec& spec);
  ~fault_port() override;

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    return inner_->rx_burst(now, frames);
  }
  /// All that is sent takes one lane: what is held back is held back for all.
  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override;
  std::size_t rx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    return inner_->rx_urgent(now, frames);
  }
  void tick(instant now) override;
  bool link_up() const noexcept override { return inner_->link_up(); }
  bool sends() const noexcept override { return inner_->sends(); }
  std::uint64_t tx_refused() const noexcept override { return inner_->tx_refused(); }
  /// What is held back leaves by tick().
  rx_wake arm_rx_wake() noexcept override {
    return held_.empty() ? inner_->arm_rx_wake() : rx_wake{};
  }
  void disarm_rx_wake() noexcept override { inner_->disarm_rx_wake(); }

 private:
  struct held_frame {
    rte_mbuf* frame;
    unsigned later_frames;  ///< that may still overtake it
    instant until;
  };

  void impair(instant now, rte_mbuf* frame);
  rte_mbuf* corrupted(rte_mbuf* frame);
  void mark(rte_mbuf* frame) noexcept;
  void emit(rte_mbuf* frame);
  void flush(instant now);

  std::unique_ptr<port> inner_;
  port_capabilities capabilities_;
  fault_spec spec_;
  rng random_;
  std::deque<held_frame> held_;
  std::vector<rte_mbuf*> out_;  ///< to leave, in this order
};

}  // namespace nd::pmd
