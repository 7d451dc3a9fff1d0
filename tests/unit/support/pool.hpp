// An mbuf pool for tests: made like the stack's own, and complete again when a test ends.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/mbuf.hpp"

namespace nd::test {

/// Declare it before whatever holds its mbufs: its destructor checks that none is missing.
class pool {
 public:
  explicit pool(unsigned count = 512, std::uint16_t data_room = 2176) : count_(count) {
    static unsigned pools = 0;
    const std::string name = "test-" + std::to_string(pools++);
    // Without a cache, so that a pool of n gives exactly n mbufs.
    pool_ = rte_pktmbuf_pool_create(name.c_str(), count, 0, mbuf_private_size, data_room,
                                    SOCKET_ID_ANY);
    REQUIRE(pool_ != nullptr);
  }
  ~pool() {
    restore();
    CHECK(available() == count_);
    rte_mempool_free(pool_);
  }
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  rte_mempool* get() const noexcept { return pool_; }
  unsigned available() const noexcept { return rte_mempool_avail_count(pool_); }
  unsigned in_use() const noexcept { return count_ - available() - held(); }

  /// Takes mbufs away until only `n` can be allocated: the next allocation but n fails.
  void leave(unsigned n) {
    while (available() > n) held_.push_back(rte_pktmbuf_alloc(pool_));
  }
  /// Gives them back.
  void restore() noexcept {
    for (rte_mbuf* m : held_) rte_pktmbuf_free(m);
    held_.clear();
  }

  /// A segment to be sent, with these bytes; its digest is the caller's to set.
  rte_mbuf* segment(std::span<const std::byte> bytes) {
    rte_mbuf* m = allocate_segment(pool_);
    REQUIRE(m != nullptr);
    REQUIRE(bytes.size() <= tx_capacity(m));
    std::copy(bytes.begin(), bytes.end(), tx_payload(m));
    segment_of(m).length = static_cast<std::uint32_t>(bytes.size());
    return m;
  }

  /// An mbuf that holds these bytes, as if received.
  rte_mbuf* packet(std::span<const std::byte> bytes) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool_);
    REQUIRE(m != nullptr);
    char* data = rte_pktmbuf_append(m, static_cast<std::uint16_t>(bytes.size()));
    REQUIRE(data != nullptr);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(data));
    return m;
  }

 private:
  unsigned held() const noexcept { return static_cast<unsigned>(held_.size()); }

  rte_mempool* pool_;
  unsigned count_;
  std::vector<rte_mbuf*> held_;
};

/// The byte at `offset` of the stream that tests send: no short period.
inline std::byte stream_byte(std::uint64_t offset) noexcept {
  return static_cast<std::byte>((offset * 0x9e3779b97f4a7c15u) >> 56);
}

inline std::vector<std::byte> stream_bytes(std::uint64_t offset, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = stream_byte(offset + i);
  return bytes;
}

}  // namespace nd::test
