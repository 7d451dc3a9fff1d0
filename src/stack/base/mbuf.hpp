// mbufs: ownership, and the private area that makes an mbuf a segment of a stream.
#pragma once

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace nd {

struct mbuf_deleter {
  void operator()(rte_mbuf* m) const noexcept { rte_pktmbuf_free(m); }
};
/// An owned mbuf (chain).
using mbuf_ptr = std::unique_ptr<rte_mbuf, mbuf_deleter>;

/// Where a segment that we send stands.
enum class segment_state : std::uint8_t {
  unsent,      ///< in the write queue; may still grow
  in_channel,  ///< queued there, or in a packet that is not acknowledged yet
  lost,        ///< in the retransmit queue, to be sent again
};

/// A run of stream bytes in one mbuf: the private area of every mbuf of our pools. Bytes we send
/// start at `tx_headroom` of the buffer, or are lent (base/lent.hpp); bytes we received start at
/// the mbuf's data_off.
struct segment {
  rte_mbuf* next = nullptr;  ///< links of the one segment_list it is in
  rte_mbuf* prev = nullptr;
  std::uint64_t offset = 0;  ///< stream offset of the first byte
  std::uint32_t length = 0;  ///< bytes
  std::uint32_t digest = 0;  ///< CRC32C state of the bytes (wire/checksum.hpp)
  segment_state state = segment_state::unsent;
  bool lent = false;         ///< the bytes are the application's
  bool digest_open = false;  ///< lent bytes whose digest was not taken: it may not be needed
};
static_assert(sizeof(segment) <= 64);

inline constexpr std::uint16_t mbuf_private_size = 64;

/// Room in front of a segment's bytes for all headers that may precede them in a packet.
inline constexpr std::uint16_t tx_headroom = 256;
/// Room behind them for the packet's CRC32C.
inline constexpr std::uint16_t tx_tailroom = 4;

inline segment& segment_of(rte_mbuf* m) noexcept {
  return *static_cast<segment*>(rte_mbuf_to_priv(m));
}

inline std::byte* tx_payload(rte_mbuf* m) noexcept {
  return static_cast<std::byte*>(m->buf_addr) + tx_headroom;
}
/// Bytes of payload that fit an mbuf used for sending, or one of a pool for that.
inline std::uint32_t tx_capacity(const rte_mbuf* m) noexcept {
  return static_cast<std::uint32_t>(m->buf_len - tx_headroom - tx_tailroom);
}
inline std::uint32_t tx_capacity(rte_mempool* pool) noexcept {
  return std::uint32_t{rte_pktmbuf_data_room_size(pool)} - tx_headroom - tx_tailroom;
}

inline std::span<std::byte> mbuf_bytes(rte_mbuf* m) noexcept {
  return {rte_pktmbuf_mtod(m, std::byte*), m->data_len};
}

/// Memory an mbuf takes, whatever it holds: what bounded queues account.
inline std::uint32_t true_size(const rte_mbuf* m) noexcept {
  return static_cast<std::uint32_t>(sizeof(rte_mbuf)) + mbuf_private_size + m->buf_len;
}

/// Allocates an mbuf with a fresh segment; null when the pool is empty.
inline rte_mbuf* allocate_segment(rte_mempool* pool) noexcept {
  rte_mbuf* m = rte_pktmbuf_alloc(pool);
  if (m != nullptr) segment_of(m) = segment{};
  return m;
}

/// The same for many, at once where there are that many; how many it got.
inline std::size_t allocate_segments(rte_mempool* pool, std::span<rte_mbuf*> mbufs) noexcept {
  std::size_t n = 0;
  if (rte_pktmbuf_alloc_bulk(pool, mbufs.data(), static_cast<unsigned>(mbufs.size())) == 0)
    n = mbufs.size();
  else
    while (n < mbufs.size() && (mbufs[n] = rte_pktmbuf_alloc(pool)) != nullptr) ++n;
  for (rte_mbuf* m : mbufs.first(n)) segment_of(m) = segment{};
  return n;
}

/// A doubly linked list through the segments' private areas. Owns nothing by itself: clear() or
/// whoever takes the elements out frees them.
class segment_list {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  rte_mbuf* front() const noexcept { return head_; }
  rte_mbuf* back() const noexcept { return tail_; }
  static rte_mbuf* after(rte_mbuf* m) noexcept { return segment_of(m).next; }
  static rte_mbuf* before(rte_mbuf* m) noexcept { return segment_of(m).prev; }

  void push_back(rte_mbuf* m) noexcept { insert_after(tail_, m); }

  /// Inserts behind `position`; null means at the front.
  void insert_after(rte_mbuf* position, rte_mbuf* m) noexcept {
    segment& s = segment_of(m);
    s.prev = position;
    s.next = position != nullptr ? segment_of(position).next : head_;
    (s.next != nullptr ? segment_of(s.next).prev : tail_) = m;
    (position != nullptr ? segment_of(position).next : head_) = m;
  }

  void remove(rte_mbuf* m) noexcept {
    segment& s = segment_of(m);
    (s.prev != nullptr ? segment_of(s.prev).next : head_) = s.next;
    (s.next != nullptr ? segment_of(s.next).prev : tail_) = s.prev;
    s.next = s.prev = nullptr;
  }

  rte_mbuf* pop_front() noexcept {
    rte_mbuf* m = head_;
    if (m != nullptr) remove(m);
    return m;
  }

  /// Frees every element.
  void clear() noexcept {
    while (rte_mbuf* m = pop_front()) rte_pktmbuf_free(m);
  }

 private:
  rte_mbuf* head_ = nullptr;
  rte_mbuf* tail_ = nullptr;
};

}  // namespace nd
