#include "sim/fallible_pool.hpp"

#include <rte_mbuf.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "base/mbuf.hpp"

namespace nd::sim {
namespace {

struct stack {
  std::mutex lock;  ///< tests of threads share one
  std::vector<void*> objects;
  allocation_faults faults;
};

stack& stack_of(const rte_mempool* pool) {
  return *static_cast<stack*>(pool->pool_data);
}

/// All there are. LeakSanitizer does not look into a mempool.
std::vector<std::unique_ptr<stack>>& stacks() {
  static auto& all = *new std::vector<std::unique_ptr<stack>>;
  return all;
}

int create(rte_mempool* pool) {
  stack& s = *stacks().emplace_back(std::make_unique<stack>());
  s.objects.reserve(pool->size);
  pool->pool_data = &s;
  return 0;
}

void destroy(rte_mempool* pool) {
  std::erase_if(stacks(), [&](const auto& s) { return s.get() == &stack_of(pool); });
}

int put(rte_mempool* pool, void* const* objects, unsigned n) {
  stack& s = stack_of(pool);
  const std::lock_guard guard(s.lock);
  auto& held = s.objects;
  held.insert(held.end(), objects, objects + n);
  return 0;
}

bool fails(allocation_faults& f) {
  const bool now =
      (f.countdown > 0 && --f.countdown == 0) || (f.one_in > 0 && f.random.below(f.one_in) == 0);
  f.failed += now ? 1 : 0;
  return now;
}

int get(rte_mempool* pool, void** objects, unsigned n) {
  stack& s = stack_of(pool);
  const std::lock_guard guard(s.lock);
  if (s.objects.size() < n || fails(s.faults)) return -ENOBUFS;
  for (unsigned i = 0; i < n; ++i) {
    objects[i] = s.objects.back();
    s.objects.pop_back();
  }
  return 0;
}

unsigned count(const rte_mempool* pool) {
  stack& s = stack_of(pool);
  const std::lock_guard guard(s.lock);
  return static_cast<unsigned>(s.objects.size());
}

rte_mempool_ops operations() {
  rte_mempool_ops ops{};
  constexpr char name[] = "nd_sim_fallible";
  std::copy(std::begin(name), std::end(name), ops.name);
  ops.alloc = &create;
  ops.free = &destroy;
  ops.enqueue = &put;
  ops.dequeue = &get;
  ops.get_count = &count;
  return ops;
}

}  // namespace

pmd::mempool_ptr make_fallible_pool(const std::string& name, unsigned mbufs,
                                    std::uint32_t data_room) {
  static const rte_mempool_ops ops = operations();
  static const int registered = rte_mempool_register_ops(&ops);
  if (registered < 0) throw std::bad_alloc();
  rte_mempool* pool = rte_pktmbuf_pool_create_by_ops(name.c_str(), mbufs, 0, mbuf_private_size,
                                                     static_cast<std::uint16_t>(data_room),
                                                     SOCKET_ID_ANY, ops.name);
  if (pool == nullptr) throw std::bad_alloc();
  return pmd::mempool_ptr(pool);
}

allocation_faults& faults_of(rte_mempool* pool) {
  return stack_of(pool).faults;
}

}  // namespace nd::sim
