// The mbufs of a made host, and ways to take them away.
#pragma once

#include <rte_mempool.h>

#include <memory>
#include <string>
#include <vector>

#include "base/lent.hpp"
#include "base/mbuf.hpp"
#include "pmd_glue/mempool.hpp"

namespace nd::test {

/// The mbufs of one host. They outlive it, and tests share them, because making them takes longer
/// than most tests do.
class host_pools {
 public:
  using maker = pmd::mempool_ptr (*)(const std::string& name, unsigned mbufs,
                                     std::uint32_t data_room);

  static pmd::mempool_ptr make_standard(const std::string& name, unsigned mbufs,
                                        std::uint32_t data_room) {
    return pmd::make_mbuf_pool(name, mbufs, data_room);
  }

  host_pools(unsigned rx_mbufs, unsigned tx_mbufs, std::uint16_t mtu, maker make = &make_standard)
      : rx_(make(unique_name("rx"), rx_mbufs, pmd::rx_data_room(mtu))),
        tx_(make(unique_name("tx"), tx_mbufs, pmd::tx_data_room(mtu))),
        packets_(make(unique_name("packets"), 512, pmd::tx_data_room(mtu))),
        make_(make),
        lent_mbufs_(tx_mbufs * 2) {}

  rte_mempool* rx() const noexcept { return rx_.get(); }
  rte_mempool* tx() const noexcept { return tx_.get(); }
  rte_mempool* packets() const noexcept { return packets_.get(); }
  /// Made when it is asked for: few tests lend.
  rte_mempool* lent() {
    if (lent_ == nullptr) lent_ = make_(unique_name("lent"), lent_mbufs_, lent_room);
    return lent_.get();
  }
  unsigned in_use() const noexcept {
    return rte_mempool_in_use_count(rx()) + rte_mempool_in_use_count(tx()) +
           rte_mempool_in_use_count(packets()) +
           (lent_ != nullptr ? rte_mempool_in_use_count(lent_.get()) : 0);
  }

 private:
  static std::string unique_name(const char* what) {
    static unsigned made = 0;
    return std::string("made-") + what + std::to_string(made++);
  }
  pmd::mempool_ptr rx_;
  pmd::mempool_ptr tx_;
  pmd::mempool_ptr packets_;
  pmd::mempool_ptr lent_;
  maker make_;
  unsigned lent_mbufs_;
};

/// Takes mbufs away until it is destroyed.
class hoard {
 public:
  /// Leaves `left` in the pool.
  explicit hoard(rte_mempool* pool, unsigned left = 0) {
    while (rte_mempool_avail_count(pool) > left) {
      rte_mbuf* m = rte_pktmbuf_alloc(pool);
      if (m == nullptr) break;
      taken_.emplace_back(m);
    }
  }
  void give_back(std::size_t n) {
    while (n-- > 0 && !taken_.empty()) taken_.pop_back();
  }

 private:
  std::vector<mbuf_ptr> taken_;
};

}  // namespace nd::test
