#include "vsock/receive_queue.hpp"

#include <algorithm>
#include <cstring>

namespace nd::core {
namespace {

void set_payload(rte_mbuf* m, std::span<const std::byte> payload) noexcept {
  m->data_off =
      static_cast<std::uint16_t>(payload.data() - static_cast<const std::byte*>(m->buf_addr));
  m->data_len = static_cast<std::uint16_t>(payload.size());
  m->pkt_len = m->data_len;
}

std::uint64_t end_of(rte_mbuf* m) noexcept {
  return segment_of(m).offset + m->data_len;
}

/// What an mbuf with `bytes` takes beyond twice as much: that is what they were granted with
/// (host.cpp), whether they wait for an application or for what is before them.
std::uint32_t beyond_credit(const rte_mbuf* m, std::size_t bytes) noexcept {
  const auto granted = static_cast<std::uint32_t>(2 * bytes);
  return true_size(m) - std::min(true_size(m), granted);
}

/// Bytes up to which a copy is better than an mbuf.
std::size_t small_for(const rte_mbuf* m) noexcept {
  return m->buf_len / 4;
}

/// Copies `payload` behind what is in `m`. False where it is larger than `most`, or there is no
/// room.
bool append(rte_mbuf* m, std::span<const std::byte> payload, std::size_t most) noexcept {
  if (payload.size() > most || payload.size() > rte_pktmbuf_tailroom(m)) return false;
  std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(payload.size())), payload.data(),
              payload.size());
  return true;
}

/// An mbuf of its own with a copy of `payload`; null when the pool is empty.
rte_mbuf* copy_of(std::span<const std::byte> payload, rte_mempool* pool) noexcept {
  rte_mbuf* m = allocate_segment(pool);
  if (m == nullptr) return nullptr;
  append(m, payload, payload.size());
  return m;
}

}  // namespace

receive_queue::~receive_queue() {
  rte_pktmbuf_free(open_);
  ready_.clear();
  waiting_.clear();
  budget_.give_back(memory_);
}

receive_queue::result receive_queue::insert(mbuf_ptr& packet, std::span<std::byte> payload,
                                            std::uint64_t offset, bool alone) {
  if (offset + payload.size() <= next_offset_) return result::duplicate;
  if (offset > next_offset_) return keep_out_of_order(packet, payload, offset, alone);
  if (!deliver(packet, payload.subspan(next_offset_ - offset), alone)) return result::no_memory;
  deliver_waiting();
  return result::in_order;
}

// Small payloads are added to the mbuf before them where they fit, and all that fit once the
// application lags: an mbuf that holds a few bytes takes as much memory as a full one, and those
// that wait must be half full at least (host.cpp counts on it).
bool receive_queue::deliver(mbuf_ptr& packet, std::span<std::byte> payload, bool alone) {
  const std::size_t size = payload.size();
  if (open_ == nullptr || !append(open_, payload, lagging_ ? size : small_for(open_))) {
    rte_mbuf* m;
    if (alone) {
      m = packet.get();
      set_payload(m, payload);
    } else {
      m = copy_of(payload, pool_);
      if (m == nullptr) return false;
    }
    if (open_ != nullptr) ready_.push_back(open_);
    open_ = m;
    if (alone) static_cast<void>(packet.release());
  }
  next_offset_ += size;
  return true;
}

void receive_queue::deliver_waiting() {
  while (rte_mbuf* m = waiting_.front()) {
    const std::uint64_t offset = segment_of(m).offset;
    if (offset > next_offset_) return;
    mbuf_ptr owned(m);
    drop_waiting(m);
    const std::uint64_t overlap = next_offset_ - offset;
    if (overlap < m->data_len) deliver(owned, mbuf_bytes(m).subspan(overlap), true);
  }
}

/// Takes `m` out of the waiting list; it is the caller's then.
void receive_queue::drop_waiting(rte_mbuf* m) noexcept {
  waiting_.remove(m);
  give_back(beyond_credit(m, m->data_len));
}

void receive_queue::take(std::uint32_t bytes) noexcept {
  memory_ += bytes;
  budget_.take(bytes);
}

void receive_queue::give_back(std::uint32_t bytes) noexcept {
  memory_ -= bytes;
  budget_.give_back(bytes);
}

/// The last waiting mbuf that starts at or before `offset`; null when all start behind it. Searched
/// from the nearer end: new bytes belong to the back, retransmitted ones to the front.
rte_mbuf* receive_queue::position_for(std::uint64_t offset) const noexcept {
  if (waiting_.empty() || segment_of(waiting_.front()).offset > offset) return nullptr;
  const std::uint64_t first = segment_of(waiting_.front()).offset;
  const std::uint64_t last = segment_of(waiting_.back()).offset;
  if (last <= offset) return waiting_.back();
  rte_mbuf* m;
  if (offset - first < last - offset) {
    m = waiting_.front();
    while (segment_of(segment_list::after(m)).offset <= offset) m = segment_list::after(m);
  } else {
    m = waiting_.back();
    while (segment_of(m).offset > offset) m = segment_of(m).prev;
  }
  return m;
}

receive_queue::result receive_queue::keep_out_of_order(mbuf_ptr& packet,
                                                       std::span<std::byte> payload,
                                                       std::uint64_t offset, bool alone) {
  rte_mbuf* before = position_for(offset);
  if (before != nullptr && end_of(before) > offset) {
    const std::uint64_t overlap = end_of(before) - offset;
    if (overlap >= payload.size()) return result::duplicate;
    payload = payload.subspan(overlap);
    offset += overlap;
  }
  rte_mbuf* behind = before != nullptr ? segment_list::after(before) : waiting_.front();
  if (covered(behind, offset, offset + payload.size())) return result::duplicate;

  if (extend(before, behind, payload, offset)) return result::out_of_order;
  // One that reaches further than the new bytes keeps its place, and they end where it starts.
  rte_mbuf* after = behind;
  while (after != nullptr && end_of(after) <= offset + payload.size())
    after = segment_list::after(after);
  if (after != nullptr && segment_of(after).offset < offset + payload.size())
    payload = payload.first(segment_of(after).offset - offset);

  const std::uint32_t beyond = beyond_credit(packet.get(), payload.size());
  if (memory_ + beyond > socket_limit_ || !budget_.has_room(beyond)) return result::no_memory;
  mbuf_ptr kept = alone ? std::move(packet) : mbuf_ptr(copy_of(payload, pool_));
  if (kept == nullptr) return result::no_memory;

  // From here on nothing fails: what was acknowledged before is only dropped for bytes that cover
  // it.
  while (behind != after) {
    rte_mbuf* covered = behind;
    behind = segment_list::after(behind);
    drop_waiting(covered);
    rte_pktmbuf_free(covered);
  }
  rte_mbuf* m = kept.release();
  if (alone) set_payload(m, payload);
  segment_of(m).offset = offset;
  waiting_.insert_after(before, m);
  take(beyond_credit(m, payload.size()));
  return result::out_of_order;
}

/// Adds a small payload to the waiting mbuf that ends where it starts, where there is room: else
/// each of many small records that wait would take an mbuf, and the bound of memory soon refuse
/// them. `behind` comes next; a payload that reaches it is not small change.
bool receive_queue::extend(rte_mbuf* before, rte_mbuf* behind, std::span<const std::byte> payload,
                           std::uint64_t offset) noexcept {
  if (before == nullptr || end_of(before) != offset) return false;
  if (behind != nullptr && segment_of(behind).offset < offset + payload.size()) return false;
  const std::uint32_t beyond = beyond_credit(before, before->data_len);
  if (!append(before, payload, small_for(before))) return false;
  give_back(beyond - beyond_credit(before, before->data_len));
  return true;
}

/// All of [offset, end) lies in `from` and those behind it.
bool receive_queue::covered(rte_mbuf* from, std::uint64_t offset, std::uint64_t end) noexcept {
  for (; from != nullptr && segment_of(from).offset <= offset && offset < end;
       from = segment_list::after(from))
    offset = std::max(offset, end_of(from));
  return offset >= end;
}

std::uint64_t receive_queue::end_offset() const noexcept {
  return waiting_.empty() ? next_offset_ : end_of(waiting_.back());
}

bool receive_queue::hand_over(ring_view<rte_mbuf> to_app) {
  lagging_ = !move_to(to_app);
  return !lagging_;
}

bool receive_queue::move_to(ring_view<rte_mbuf> to_app) noexcept {
  const bool hungry = to_app.empty();
  while (rte_mbuf* m = ready_.front()) {
    const std::uint64_t bytes = m->data_len;
    ready_.remove(m);
    if (!to_app.push(m)) {
      ready_.insert_after(nullptr, m);
      return false;
    }
    handed_over_ += bytes;
  }
  if (open_ == nullptr) return true;
  if (!hungry) return false;
  const std::uint64_t bytes = open_->data_len;
  if (!to_app.push(open_)) return false;
  open_ = nullptr;
  handed_over_ += bytes;
  return true;
}

}  // namespace nd::core
