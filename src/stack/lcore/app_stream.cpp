#include "lcore/app_stream.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "wire/checksum.hpp"

namespace nd::core {

// --- Writing ------------------------------------------------------------------------------------

std::size_t app_stream::put(std::span<const std::byte> bytes, std::uint32_t most) {
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), writable()));
  forget_gathered();
  const bool large =
      environment_.copies != nullptr && worth_dcopy(bytes.size(), environment_.copies->writes);
  const std::size_t n = large ? put_pieces(bytes, most) : put_segments(bytes, most);
  written_ += n;
  gathered_ += n;
  return n;
}

/// What the stack has taken by now grows no more.
void app_stream::forget_gathered() noexcept {
  if (!link_->to_stack().empty()) return;
  last_ = nullptr;
  gathered_ = 0;
}

std::size_t app_stream::put_lent(std::span<const std::byte> bytes, std::uint32_t most,
                                 const lent_source& from) {
  if (!environment_.can_lend) return put(bytes, most);
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), writable()));
  if (bytes.empty()) return 0;
  forget_gathered();
  last_ = nullptr;  // what comes behind it now is in another segment
  // As few packets as can be, and those of one size: a small last one would be copied.
  const std::size_t room = std::min(most, tx_capacity(environment_.pool));
  const std::size_t pieces = (bytes.size() + room - 1) / room;
  const std::size_t size = (bytes.size() + pieces - 1) / pieces;
  std::size_t n = 0;
  while (n < bytes.size() && link_->to_stack().free_slots() > 0) {
    mbuf_ptr owned(allocate_segment(environment_.pool));
    rte_mbuf* const m = owned.get();
    const auto piece = bytes.subspan(n, std::min(size, bytes.size() - n));
    if (m == nullptr || !lend_to(m, from.pool, piece, from.loan, environment_.digests)) break;
    segment& s = segment_of(m);
    s.offset = written_ + n;
    s.digest_open = environment_.digests && environment_.late_digests;
    if (environment_.digests && !s.digest_open) s.digest = wire::crc32c(wire::crc32c_start, piece);
    if (!link_->to_stack().push(m)) break;
    static_cast<void>(owned.release());
    n += piece.size();
  }
  written_ += n;
  gathered_ += n;
  return n;
}

std::size_t app_stream::put_segments(std::span<const std::byte> bytes, std::uint32_t most) {
  std::size_t n = last_ != nullptr ? extend(last_, most, bytes) : 0;
  while (n < bytes.size() && link_->to_stack().free_slots() > 0) {
    mbuf_ptr owned(allocate_segment(environment_.pool));
    rte_mbuf* const m = owned.get();
    if (m == nullptr) break;
    segment_of(m).offset = written_ + n;
    if (environment_.digests) segment_of(m).digest = wire::crc32c_start;
    const std::size_t piece = extend(m, most, bytes.subspan(n));
    if (!link_->to_stack().push(m)) break;
    static_cast<void>(owned.release());
    n += piece;
    if (environment_.same_thread) last_ = m;
  }
  return n;
}

/// Copies what there is room for behind a segment's bytes.
std::size_t app_stream::extend(rte_mbuf* m, std::uint32_t most,
                               std::span<const std::byte> bytes) noexcept {
  segment& s = segment_of(m);
  const std::uint32_t room = std::min(most, tx_capacity(m));
  if (s.length >= room) return 0;
  const auto piece = bytes.first(std::min<std::size_t>(bytes.size(), room - s.length));
  std::byte* const to = tx_payload(m) + s.length;
  if (environment_.digests)
    s.digest = wire::copy_crc32c(s.digest, to, piece);
  else
    std::memcpy(to, piece.data(), piece.size());
  s.length += static_cast<std::uint32_t>(piece.size());
  return piece.size();
}

/// A large write: whoever copies a piece, it comes to the stack by the response ring.
std::size_t app_stream::put_pieces(std::span<const std::byte> bytes, std::uint32_t most) {
  mpsc_ring<rte_mbuf>* responses = link_->responses.load(std::memory_order_relaxed);
  if (responses == nullptr) {
    responses = new mpsc_ring<rte_mbuf>(response_capacity);
    link_->responses.store(responses, std::memory_order_release);
  }
  last_ = nullptr;  // what comes behind it now is in another segment
  const copy_service& copies = *environment_.copies;
  const std::uint32_t size = piece_size(bytes.size(), copies.lcores.size());
  std::size_t n = 0, segments = 0;
  while (n < bytes.size()) {
    // Segments of this call may be in the ring, or not yet.
    const std::size_t in_ring = responses->size();
    if (in_ring + segments >= response_capacity) break;
    const std::size_t room = std::min(response_capacity - in_ring - segments, most_piece_segments);
    piece p = make_piece(bytes.subspan(n), written_ + n, most, size, room);
    if (p.segments == 0) break;
    n += p.order.length;
    segments += p.segments;
    if (post(p.order, link_->copying_out, copies.writes)) continue;
    dcopy::copy_by_cpu(p.order, copy_digests(environment_.digests));
    push_responses(*link_, p.order);
  }
  return n;
}

/// About `size` of `bytes`, in at most `most_segments` mbufs, or as many as there are.
app_stream::piece app_stream::make_piece(std::span<const std::byte> bytes, std::uint64_t offset,
                                         std::uint32_t most, std::uint32_t size,
                                         std::size_t most_segments) const noexcept {
  const std::uint32_t room = std::min(most, tx_capacity(environment_.pool));
  const std::uint32_t wanted = piece_of(bytes.size(), room, size);
  const std::size_t count = std::min<std::size_t>((wanted + room - 1) / room, most_segments);
  std::array<rte_mbuf*, most_piece_segments> mbufs;
  const std::size_t got = allocate_segments(environment_.pool, std::span(mbufs).first(count));
  piece p;
  p.segments = got;
  p.order.owner = link_;
  p.order.bytes = const_cast<std::byte*>(bytes.data());  // which to_mbufs only reads
  p.order.way = dcopy::direction::to_mbufs;
  if (got > 0) p.order.first = mbufs[0];
  for (std::size_t i = 0; i < got; ++i) {
    segment& s = segment_of(mbufs[i]);
    s.next = i + 1 < got ? mbufs[i + 1] : nullptr;
    s.offset = offset + p.order.length;
    s.length = std::min(room, wanted - p.order.length);
    if (environment_.digests) s.digest = wire::crc32c_start;
    p.order.length += s.length;
  }
  return p;
}

/// Gives a piece to a dcopy lcore; false: the caller copies.
bool app_stream::post(const dcopy::request& r, std::atomic<std::uint32_t>& copying,
                      const copy_limits& limits) noexcept {
  copy_service& copies = *environment_.copies;
  std::array<std::uint64_t, most_dcopy_lcores> queued;
  const std::size_t lcores = std::min(copies.lcores.size(), queued.size());
  for (std::size_t i = 0; i < lcores; ++i) queued[i] = copies.lcores[i]->queued_bytes();
  std::size_t& cursor = r.way == dcopy::direction::to_mbufs ? put_cursor_ : take_cursor_;
  const std::size_t chosen = pick_dcopy(copies.policy, cursor, std::span(queued).first(lcores),
                                        copying.load(std::memory_order_relaxed), limits);
  if (chosen != no_lcore) {
    copying.fetch_add(r.length, std::memory_order_relaxed);
    if (copies.lcores[chosen]->post(r)) return true;
    copying.fetch_sub(r.length, std::memory_order_relaxed);
  }
  copies.by_callers.fetch_add(r.length, std::memory_order_relaxed);
  return false;
}

// --- Reading ------------------------------------------------------------------------------------

std::size_t app_stream::take(std::span<std::byte> buffer) {
  const copy_service* const copies = environment_.copies;
  const bool large = copies != nullptr &&
                     worth_dcopy(std::min<std::size_t>(buffer.size(), available()), copies->reads);
  const std::size_t n = large ? take_pieces(buffer) : take_mbufs(buffer);
  consumed_ += n;
  return n;
}

std::size_t app_stream::take_mbufs(std::span<std::byte> buffer) noexcept {
  std::size_t n = 0;
  while (n < buffer.size() && next_to_read()) {
    const auto bytes = mbuf_bytes(reading_.get()).subspan(read_offset_);
    const std::size_t part = std::min(buffer.size() - n, bytes.size());
    std::memcpy(&buffer[n], bytes.data(), part);
    n += part;
    read_offset_ += static_cast<std::uint32_t>(part);
    if (part == bytes.size()) reading_.reset();
  }
  return n;
}

/// A large read. What no dcopy lcore takes, the caller copies.
std::size_t app_stream::take_pieces(std::span<std::byte> buffer) {
  const std::size_t most = std::min<std::size_t>(buffer.size(), available());
  const std::uint32_t size = piece_size(most, environment_.copies->lcores.size());
  std::size_t n = 0;
  while (n < buffer.size() && next_to_read()) {
    const dcopy::request r = take_piece(buffer.subspan(n), size);
    n += r.length;
    if (post(r, link_->copying_in, environment_.copies->reads)) continue;
    dcopy::copy_by_cpu(r, {});
    dcopy::free_mbufs(r);
  }
  return n;
}

rte_mbuf* app_stream::lend(std::span<const std::byte>& bytes) noexcept {
  if (!next_to_read()) return nullptr;
  bytes = mbuf_bytes(reading_.get()).subspan(read_offset_);
  consumed_ += bytes.size();
  lent_ += bytes.size();
  return reading_.release();
}

void app_stream::give_back(std::size_t bytes) noexcept {
  lent_ -= bytes;
  publish_consumed();
}

bool app_stream::next_to_read() noexcept {
  if (reading_ == nullptr) {
    reading_.reset(link_->to_app().pop());
    read_offset_ = 0;
  }
  return reading_ != nullptr;
}

/// Whole mbufs that are read now, but for the last one where the buffer ends.
dcopy::request app_stream::take_piece(std::span<std::byte> buffer, std::uint32_t size) noexcept {
  dcopy::request r;
  r.owner = link_;
  r.bytes = buffer.data();
  r.way = dcopy::direction::from_mbufs;
  r.first = reading_.get();
  r.skip = read_offset_;
  rte_mbuf* last = nullptr;
  do {
    rte_mbuf* const m = reading_.get();
    if (last != nullptr) segment_of(last).next = m;
    last = m;
    const auto part = static_cast<std::uint32_t>(
        std::min<std::size_t>(buffer.size() - r.length, m->data_len - read_offset_));
    r.length += part;
    read_offset_ += part;
    if (read_offset_ == m->data_len)
      static_cast<void>(reading_.release());
    else
      r.keep_last = true;
  } while (r.length < size && r.length < buffer.size() && next_to_read());
  return r;
}

}  // namespace nd::core
