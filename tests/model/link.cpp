#include "model/link.hpp"

#include <algorithm>
#include <utility>

#include "lcore/frame_switch.hpp"
#include "wire/ip.hpp"

namespace nd::model {
namespace {

constexpr std::size_t between_frames = 24;  // preamble, checksum and gap of Ethernet

void mark_congested(rte_mbuf* m) {
  auto& ethernet = wire::at<wire::ethernet_header>(rte_pktmbuf_mtod(m, void*));
  if (ethernet.type != wire::ethertype_ipv4) return;
  auto& ip = wire::at<wire::ipv4_header>(rte_pktmbuf_mtod_offset(m, void*, sizeof ethernet));
  if ((ip.dscp_ecn & wire::ecn_mask) == 0) return;
  ip.dscp_ecn |= wire::ecn_ce;
  ip.checksum = std::uint16_t{0};
  ip.checksum = wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(ip)));
}

}  // namespace

queue_pair::~queue_pair() {
  for (rte_mbuf* m : staged_) rte_pktmbuf_free(m);
  for (const arrival& a : arrived_) rte_pktmbuf_free(a.frame);
}

std::size_t queue_pair::rx_burst(instant now, std::span<rte_mbuf*> frames) {
  std::size_t n = 0;
  for (; n < frames.size() && !arrived_.empty() && arrived_.front().when <= now; ++n) {
    frames[n] = arrived_.front().frame;
    arrived_.pop_front();
  }
  return n;
}

std::size_t queue_pair::tx_burst(instant now, std::span<rte_mbuf*> frames) {
  while (!leaving_.empty() && leaving_.front() <= now) leaving_.pop_front();
  const std::size_t used = staged_.size() + launched_ + leaving_.size();
  const std::size_t n = std::min(frames.size(), descriptors - std::min(used, descriptors));
  staged_.insert(staged_.end(), frames.begin(), frames.begin() + static_cast<std::ptrdiff_t>(n));
  return n;
}

void queue_pair::launch(instant at) {
  for (rte_mbuf* m : staged_) link_.launched_.push({at, link_.number_++, this, m});
  launched_ += staged_.size();
  staged_.clear();
}

link::~link() {
  for (; !launched_.empty(); launched_.pop()) rte_pktmbuf_free(launched_.top().frame);
}

void link::join(std::size_t host, const core::host_address& address,
                std::vector<queue_pair*> queues) {
  ends_[host].address = &address;
  ends_[host].queues = std::move(queues);
}

void link::advance(instant now) {
  while (!launched_.empty() && launched_.top().at <= now) {
    const launching l = launched_.top();
    launched_.pop();
    carry(l);
  }
}

void link::carry(const launching& l) {
  end& from = ends_[l.from->host_];
  const end& to = ends_[1 - l.from->host_];
  --l.from->launched_;
  const mbuf_ptr frame(l.frame);
  const auto at = static_cast<double>(l.at.ns());
  double left = std::max(at, from.free_at);
  bool marked = false;
  if (plan_.gbps > 0) {
    const auto waiting = static_cast<std::uint64_t>((left - at) * plan_.gbps / 8);
    if (waiting > plan_.queue_bytes) {
      ++dropped_;
      return;
    }
    marked = waiting > plan_.mark_bytes;
    left += static_cast<double>((frame->pkt_len + between_frames) * 8) / plan_.gbps;
    from.free_at = left;
  }
  const instant gone(static_cast<std::int64_t>(left));
  l.from->leaving_.push_back(gone);
  const auto lcores = static_cast<unsigned>(to.queues.size());
  const unsigned lcore = core::lcore_of_frame(frame.get(), *to.address, lcores);
  queue_pair& queue = *to.queues[lcore < lcores ? lcore : 0];
  const instant when = gone + plan_.delay;
  rte_mbuf* const copy = queue.arrived_.size() < queue_pair::descriptors
                             ? rte_pktmbuf_copy(frame.get(), queue.rx_pool_, 0, frame->pkt_len)
                             : nullptr;
  if (copy == nullptr) {
    ++dropped_;
    return;
  }
  if (marked) mark_congested(copy);
  queue.arrived_.push_back({when, copy});
}

}  // namespace nd::model
