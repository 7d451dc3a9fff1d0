// Packets that other lcores are at work on: what is needed to acknowledge them afterwards.
#pragma once

#include <cstdint>
#include <vector>

#include "base/time.hpp"
#include "lcore/exchange.hpp"
#include "wire/nd_header.hpp"

namespace nd::core {

struct handed_packet {
  wire::channel_header header;
  instant arrived;
  std::size_t bytes = 0;
  bool congestion_experienced = false;
  unsigned pending = 0;  ///< lcores that have not answered
  bool kept = true;      ///< by all that have
  bool in_line = true;   ///< those that came after it on its channel wait for it
};

/// As many as lcore_exchange has tickets for.
class handed_packets {
 public:
  std::size_t size() const noexcept { return packets_.size() - free_.size(); }
  bool full() const noexcept { return size() >= lcore_exchange::tickets; }

  /// Returns its ticket; not when full().
  std::uint32_t add(const handed_packet& p) {
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(packets_.size()));
      packets_.emplace_back();
    }
    const std::uint32_t ticket = free_.back();
    free_.pop_back();
    packets_[ticket] = p;
    return ticket;
  }
  handed_packet& operator[](std::uint32_t ticket) noexcept { return packets_[ticket]; }
  void remove(std::uint32_t ticket) noexcept { free_.push_back(ticket); }

 private:
  std::vector<handed_packet> packets_;
  std::vector<std::uint32_t> free_;
};

}  // namespace nd::core
