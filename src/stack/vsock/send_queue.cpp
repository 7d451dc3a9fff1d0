#include "vsock/send_queue.hpp"

#include <algorithm>
#include <cstring>

#include "base/lent.hpp"
#include "wire/checksum.hpp"

namespace nd::core {
namespace {

std::uint32_t digest_of(std::span<const std::byte> bytes, bool digests) noexcept {
  return digests ? wire::crc32c(wire::crc32c_start, bytes) : 0;
}

}  // namespace

// A channel may still refer to what is queued or in flight: who gets its verdict, and finds no
// socket, frees those.
send_queue::~send_queue() {
  abandon();
  while (!list_.empty()) list_.pop_front();
}

void send_queue::abandon() noexcept {
  aside_.clear();
  for (rte_mbuf *m = list_.front(), *after = nullptr; m != nullptr; m = after) {
    after = segment_list::after(m);
    const segment_state state = segment_of(m).state;
    if (state != segment_state::unsent && state != segment_state::lost) continue;
    list_.remove(m);
    rte_pktmbuf_free(m);
  }
  first_unsent_ = first_lost_ = nullptr;
  lost_ = 0;
  abandoned_ = true;
}

void send_queue::insert(rte_mbuf* m, std::uint32_t max_payload, bool digests) noexcept {
  if (segment_of(m).offset != end_) return keep_aside(m);
  append(m, max_payload, digests);
  while (!aside_.empty() && segment_of(aside_.front()).offset == end_)
    append(aside_.pop_front(), max_payload, digests);
}

void send_queue::keep_aside(rte_mbuf* m) noexcept {
  rte_mbuf* before = aside_.back();
  while (before != nullptr && segment_of(before).offset > segment_of(m).offset)
    before = segment_list::before(before);
  aside_.insert_after(before, m);
}

void send_queue::append(rte_mbuf* m, std::uint32_t max_payload, bool digests) noexcept {
  segment& s = segment_of(m);
  if (rte_mbuf* tail = first_unsent_ != nullptr ? list_.back() : nullptr;
      tail != nullptr && s.length <= merge_limit) {
    segment& t = segment_of(tail);
    if (!t.lent && t.length + s.length <= std::min(max_payload, tx_capacity(tail))) {
      const std::span<const std::byte> bytes = segment_bytes(m);
      std::memcpy(tx_payload(tail) + t.length, bytes.data(), bytes.size());
      if (digests) t.digest = wire::crc32c(t.digest, bytes);
      t.length += s.length;
      end_ += s.length;
      rte_pktmbuf_free(m);
      return;
    }
  }
  s.state = segment_state::unsent;
  end_ += s.length;
  list_.push_back(m);
  if (first_unsent_ == nullptr) first_unsent_ = m;
}

// A segment that the grant covers in part is only cut when it would otherwise wait for good: while
// other bytes are on their way, their consumption will open the window further (RFC 9293, 3.8.6.2:
// silly window avoidance).
bool send_queue::may_send_new(std::uint64_t grant) const noexcept {
  if (first_unsent_ == nullptr) return false;
  const segment& s = segment_of(first_unsent_);
  if (s.offset + s.length <= grant) return true;
  return s.offset < grant && list_.front() == first_unsent_;
}

rte_mbuf* send_queue::next(std::uint64_t grant, std::uint32_t max_payload, bool digests,
                           rte_mempool* reserve) noexcept {
  rte_mbuf* m = first_lost_;
  std::uint64_t limit = max_payload;
  if (m == nullptr) {
    if (!may_send_new(grant)) return nullptr;
    m = first_unsent_;
    limit = std::min(limit, grant - segment_of(m).offset);
  }
  segment& s = segment_of(m);
  if (s.length > limit && !cut(m, static_cast<std::uint32_t>(limit), digests, reserve))
    return nullptr;
  if (m == first_lost_) {
    --lost_;
    s.state = segment_state::in_channel;
    find_next_lost(segment_list::after(m));
  } else {
    first_unsent_ = segment_list::after(m);
    s.state = segment_state::in_channel;
  }
  return m;
}

void send_queue::find_next_lost(rte_mbuf* from) noexcept {
  first_lost_ = nullptr;
  if (lost_ == 0) return;
  while (segment_of(from).state != segment_state::lost) from = segment_list::after(from);
  first_lost_ = from;
}

/// Cuts `m` behind `length` bytes; the rest becomes a segment of its own in the same state. Of lent
/// bytes both refer to the same memory, where there are the mbufs for it.
bool send_queue::cut(rte_mbuf* m, std::uint32_t length, bool digests,
                     rte_mempool* reserve) noexcept {
  rte_mbuf* rest = allocate_segment(m->pool);
  if (rest == nullptr && reserve != nullptr) rest = allocate_segment(reserve);
  if (rest == nullptr) return false;
  segment& s = segment_of(m);
  segment& r = segment_of(rest);
  r.state = s.state;
  r.offset = s.offset + length;
  r.length = s.length - length;
  const std::span<const std::byte> bytes = segment_bytes(m);
  const auto of_rest = bytes.subspan(length);
  if (!s.lent || !lend_to(rest, m->next->pool, of_rest, loan_of(m), digests))
    std::memcpy(tx_payload(rest), of_rest.data(), of_rest.size());
  r.digest_open = r.lent && s.digest_open;
  r.digest = digest_of(of_rest, digests && !r.digest_open);
  s.length = length;
  s.digest = digest_of(bytes.first(length), digests && !s.digest_open);
  list_.insert_after(m, rest);
  if (s.state == segment_state::lost) ++lost_;
  return true;
}

void send_queue::on_acked(rte_mbuf* m) noexcept {
  acked_ += segment_of(m).length;
  list_.remove(m);
  rte_pktmbuf_free(m);
}

void send_queue::on_lost(rte_mbuf* m) noexcept {
  if (abandoned_) {
    list_.remove(m);
    return rte_pktmbuf_free(m);
  }
  segment& s = segment_of(m);
  s.state = segment_state::lost;
  ++lost_;
  if (first_lost_ == nullptr || s.offset < segment_of(first_lost_).offset) first_lost_ = m;
}

}  // namespace nd::core
