#include "sim/checks.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "unit/support/packet_sums.hpp"

namespace nd::sim {
namespace {

constexpr unsigned most_idle_turns = 100;

}  // namespace

void host_checks::before_turn() {
  std::ranges::fill(in_flight_, 0);
  host_.for_each_channel([this](const core::channel& c) {
    if (in_flight_.size() <= c.id()) in_flight_.resize(c.id() + 1);
    in_flight_[c.id()] = c.bytes_in_flight();
  });
  sent_before_ = host_.stats().tx_packets.value();
}

void host_checks::after_push() const {
  try {
    windows_hold();
  } catch (const violation& v) {
    throw violation(fmt::format("host {}: {}", index_, v.what()));
  }
}

void host_checks::after_turn(instant host_now, std::size_t served, bool short_of) {
  try {
    memory_is_bounded();
    counters_add_up();
    if (peers_ == peers_that::keep_rules) peers_keep_the_rules();
    does_not_spin(host_now, served, short_of);
  } catch (const violation& v) {
    throw violation(fmt::format("host {}: {}", index_, v.what()));
  }
}

// More may be in flight than the window allows where the window has shrunk. Then nothing is added
// but a ping and a path MTU probe.
void host_checks::windows_hold() const {
  host_.for_each_channel([this](const core::channel& c) {
    const std::uint64_t before = c.id() < in_flight_.size() ? in_flight_[c.id()] : 0;
    const std::uint64_t most = std::max(before, c.congestion().window() + mtu_) + mtu_ + 64;
    if (c.bytes_in_flight() > most)
      throw violation(
          fmt::format("channel {} has {} bytes in flight, {} before the turn, its window is {}",
                      c.id(), c.bytes_in_flight(), before, c.congestion().window()));
    if (c.queued() > core::channel::queue_limit)
      throw violation(fmt::format("channel {} has {} records queued", c.id(), c.queued()));
  });
}

void host_checks::memory_is_bounded() const {
  const core::host_holdings h = host_.holdings();
  if (h.credit > h.credit_limit)
    throw violation(fmt::format("{} bytes granted of {}", h.credit, h.credit_limit));
  if (h.out_of_order > h.out_of_order_limit)
    throw violation(
        fmt::format("{} bytes out of order of {}", h.out_of_order, h.out_of_order_limit));
  if (h.sockets > static_cast<std::size_t>(values_.sockets))
    throw violation(fmt::format("{} sockets of {}", h.sockets, values_.sockets));
  // Strangers show no valid cookie: there is no state for them.
  if (h.peers > others_)
    throw violation(fmt::format("{} peers, and only {} other hosts", h.peers, others_));
  if (h.neighbors > others_)
    throw violation(fmt::format("{} neighbours, and only {} other hosts", h.neighbors, others_));
  if (h.resets > 256 + static_cast<std::size_t>(values_.sockets))
    throw violation(fmt::format("{} resets wait", h.resets));
}

// Credit, acknowledgements and records are checked by whoever receives them; among hosts that all
// keep the rules none may find anything.
void host_checks::peers_keep_the_rules() const {
  const counters& c = host_.stats();
  if (c.protocol_errors.value() > 0) throw violation("a peer broke a rule (protocol_errors)");
  if (c.drop_bad_ack.value() > 0) throw violation("a packet acknowledges what was never sent");
  if (c.peers_lying.value() > 0) throw violation("an honest peer is taken for a liar");
  if (c.records_unknown_type.value() > 0) throw violation("a record of an unknown type");
}

void host_checks::does_not_spin(instant host_now, std::size_t served, bool short_of) {
  const bool idle = served == 0 && host_.stats().tx_packets.value() == sent_before_ &&
                    host_.next_deadline() <= host_now && !short_of;
  idle_turns_ = idle ? idle_turns_ + 1 : 0;
  if (idle_turns_ > most_idle_turns)
    throw violation(
        fmt::format("{} turns in a row did nothing and asked for another at once", idle_turns_));
}

void host_checks::counters_add_up() const {
  const counters& c = host_.stats();
  const std::size_t handed = host_.holdings().handed;
  if (!test::packets_add_up(c, handed))
    throw violation(fmt::format("{} packets received, {} used, {} dropped and {} at other lcores",
                                c.rx_packets.value(), test::packets_used(c),
                                test::packets_dropped(c), handed));
}

}  // namespace nd::sim
