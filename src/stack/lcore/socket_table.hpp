// The sockets of an lcore: by handle, and by key for the demultiplexer (__nd_lookup_skb).
#pragma once

#include <rte_hash.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/timer_wheel.hpp"
#include "sched/policy.hpp"
#include "vsock/socket.hpp"

namespace nd::core {

struct peer;

/// A socket and what its lcore keeps beside it.
struct socket_entry {
  socket_entry(const socket_environment& environment, socket_link* held, const socket_key& key,
               wire::socket_handle handle, std::uint64_t connection, peer& p);

  socket sock;
  peer& owner;
  channel_cursor cursor;
  std::int32_t deficit = 0;  ///< bytes that it may still send before others of its class
  socket_link* link = nullptr;
  socket_entry* next_ready = nullptr;  ///< in the peer's ready queue
  socket_entry* prev_ready = nullptr;
  bool ready = false;           ///< in that queue
  bool touched = false;         ///< has got records in this turn
  bool sync_held = false;       ///< its SYN must wait (peer::syncs_held)
  bool sync_under_way = false;  ///< and is counted there
  bool has_key = true;          ///< the demultiplexer finds it
  timer wake{timer::owner_kind::socket, this};
};

class socket_table {
 public:
  /// At most `capacity` sockets; `name` must differ between tables of a process. Throws
  /// std::bad_alloc.
  socket_table(const std::string& name, std::uint32_t capacity);
  ~socket_table();
  socket_table(const socket_table&) = delete;
  socket_table& operator=(const socket_table&) = delete;

  /// Null when the table is full.
  socket_entry* create(const socket_environment& environment, socket_link* link,
                       const socket_key& key, std::uint64_t connection, peer& p);
  void destroy(socket_entry* entry);
  /// Another socket may have its key: it is found by its handle alone from now on.
  void release_key(socket_entry& entry) noexcept;

  socket_entry* find(const socket_key& key) noexcept {
    if (last_ != nullptr && last_->sock.key() == key) return last_;
    void* found = nullptr;
    if (rte_hash_lookup_data(hash_.get(), &key, &found) < 0) return nullptr;
    return last_ = static_cast<socket_entry*>(found);
  }
  socket_entry* find(wire::socket_handle handle) const noexcept {
    if (handle.is_none() || handle.index >= slots_.size()) return nullptr;
    const slot& s = slots_[handle.index];
    return s.generation == handle.generation ? s.entry.get() : nullptr;
  }
  std::size_t size() const noexcept { return size_; }

  /// Whether `f(const socket_entry&)` is true of one. Begins with the one that was found last:
  /// asked in every turn, it must not walk over all the others each time.
  template <class F>
  bool any_of(F&& f) noexcept {
    for (std::size_t n = slots_.size(); n > 0; --n, ++asked_) {
      if (asked_ >= slots_.size()) asked_ = 0;
      if (slots_[asked_].entry && f(std::as_const(*slots_[asked_].entry))) return true;
    }
    return false;
  }
  /// Calls `f(socket_entry&)` for each; `f` may destroy the one it gets.
  template <class F>
  void for_each(F&& f) {
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].entry) f(*slots_[i].entry);
  }

 private:
  struct slot {
    std::unique_ptr<socket_entry> entry;
    std::uint32_t generation = 0;
  };
  struct free_hash {
    void operator()(rte_hash* h) const noexcept { rte_hash_free(h); }
  };
  std::vector<slot> slots_;
  std::vector<std::uint32_t> free_;
  std::unique_ptr<rte_hash, free_hash> hash_;
  socket_entry* last_ = nullptr;  ///< found by its key: packets of one socket come in runs
  std::uint32_t capacity_;
  std::size_t size_ = 0;
  std::size_t asked_ = 0;  ///< where any_of() begins
};

}  // namespace nd::core
