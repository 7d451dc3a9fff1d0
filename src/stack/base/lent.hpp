// Memory of the application that is sent where it lies, and who waits to have it back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "base/mbuf.hpp"

namespace nd {

/// What is still used of a loan: one reference is its owner's, one each segment's, until neither
/// the stack nor a device has it. Any thread.
class loan_count {
 public:
  loan_count() = default;
  loan_count(const loan_count&) = delete;
  loan_count& operator=(const loan_count&) = delete;

  void take() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  /// Release, for is_used() and for who deletes it.
  void give_back() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  /// The owner's question. Acquire: when it is false, nobody reads the memory any more.
  bool is_used() const noexcept { return references_.load(std::memory_order_acquire) > 1; }

 protected:
  virtual ~loan_count() = default;

 private:
  std::atomic<std::uint32_t> references_{1};
};

/// Data room of the mbufs that lend_to() chains: for what counts the references to lent bytes, or
/// for a packet's CRC32C.
inline constexpr std::uint16_t lent_room = 64;
static_assert(sizeof(rte_mbuf_ext_shared_info) <= lent_room && tx_tailroom <= lent_room);

/// Makes `m`, a fresh segment, one of lent bytes: a chain of `m` for the headers, an mbuf that
/// refers to the bytes, and, where `trailer` says so, one for the CRC32C behind them. All three
/// have as many references, and are freed together. False, and nothing has changed, where `pool`
/// has too few.
inline bool lend_to(rte_mbuf* m, rte_mempool* pool, std::span<const std::byte> bytes,
                    loan_count& loan, bool trailer) noexcept {
  rte_mbuf* const payload = rte_pktmbuf_alloc(pool);
  rte_mbuf* const last = trailer && payload != nullptr ? rte_pktmbuf_alloc(pool) : nullptr;
  if (payload == nullptr || (trailer && last == nullptr)) {
    rte_pktmbuf_free(payload);
    return false;
  }
  // In the mbuf's own buffer: it is let go when the mbuf is, which nothing else is attached to.
  auto* const shared = new (payload->buf_addr) rte_mbuf_ext_shared_info{};
  shared->free_cb = [](void*, void* of) { static_cast<loan_count*>(of)->give_back(); };
  shared->fcb_opaque = &loan;
  rte_mbuf_ext_refcnt_set(shared, 1);
  loan.take();
  auto* const address = const_cast<std::byte*>(bytes.data());  // which devices only read
  // By virtual address: where a device has others, nothing is lent (pmd_glue/ethdev_device.cpp).
  rte_pktmbuf_attach_extbuf(payload, address, reinterpret_cast<std::uintptr_t>(address),
                            static_cast<std::uint16_t>(bytes.size()), shared);
  payload->next = last;
  m->next = payload;
  m->nb_segs = trailer ? 3 : 2;
  segment& s = segment_of(m);
  s.lent = true;
  s.length = static_cast<std::uint32_t>(bytes.size());
  return true;
}

/// The loan that a segment's bytes belong to.
inline loan_count& loan_of(const rte_mbuf* m) noexcept {
  return *static_cast<loan_count*>(m->next->shinfo->fcb_opaque);
}

/// The bytes of a segment that is to be sent, lent or copied.
inline std::span<const std::byte> segment_bytes(rte_mbuf* m) noexcept {
  const segment& s = segment_of(m);
  return {s.lent ? static_cast<const std::byte*>(m->next->buf_addr) : tx_payload(m), s.length};
}

/// No device has a part of the chain.
inline bool is_ours_alone(const rte_mbuf* m) noexcept {
  for (; m != nullptr; m = m->next)
    if (rte_mbuf_refcnt_read(m) != 1) return false;
  return true;
}

}  // namespace nd
