#include "lcore/socket_table.hpp"

#include <rte_hash_crc.h>

#include <algorithm>

#include "lcore/peer.hpp"

namespace nd::core {

socket_entry::socket_entry(const socket_environment& environment, socket_link* held,
                           const socket_key& key, wire::socket_handle handle,
                           std::uint64_t connection, peer& p)
    : sock(environment, p.out_of_order, held, key, handle, connection), owner(p), link(held) {}

socket_table::socket_table(const std::string& name, std::uint32_t capacity) : capacity_(capacity) {
  rte_hash_parameters parameters{};
  parameters.name = name.c_str();
  parameters.entries = std::max<std::uint32_t>(capacity, 8);  // a bucket: rte_hash takes no fewer
  parameters.key_len = sizeof(socket_key);
  parameters.hash_func = rte_hash_crc;
  parameters.socket_id = -1;                               // any NUMA node
  parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE;  // takes `entries` for certain
  hash_.reset(rte_hash_create(&parameters));
  if (hash_ == nullptr) throw std::bad_alloc();
}

socket_table::~socket_table() = default;

socket_entry* socket_table::create(const socket_environment& environment, socket_link* link,
                                   const socket_key& key, std::uint64_t connection, peer& p) {
  if (size_ >= capacity_) return nullptr;
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  slot& s = slots_[index];
  const wire::socket_handle handle{index, s.generation + 1};
  if (rte_hash_add_key_data(hash_.get(), &key, nullptr) != 0) return nullptr;
  s.entry = std::make_unique<socket_entry>(environment, link, key, handle, connection, p);
  rte_hash_add_key_data(hash_.get(), &key, s.entry.get());  // replaces, which can't fail
  s.generation = handle.generation;
  free_.pop_back();
  ++size_;
  return s.entry.get();
}

void socket_table::destroy(socket_entry* entry) {
  const std::uint32_t index = entry->sock.handle().index;
  release_key(*entry);
  slots_[index].entry.reset();
  free_.push_back(index);
  --size_;
}

void socket_table::release_key(socket_entry& entry) noexcept {
  if (entry.has_key) rte_hash_del_key(hash_.get(), &entry.sock.key());
  entry.has_key = false;
  if (last_ == &entry) last_ = nullptr;
}

}  // namespace nd::core
