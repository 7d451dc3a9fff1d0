#include "pmd_glue/ring_end.hpp"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "nd/error.hpp"

namespace nd::pmd {
namespace {

constexpr unsigned slots = 1024;
constexpr unsigned lanes = 2;

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw std::system_error(make_error_code(errc::no_device), "setting ring: '" + name + "': " + why);
}

/// Names in the EAL are for the whole process, and short.
std::string unique_name() {
  static unsigned made = 0;  // with the mutex held
  return "ndwire" + std::to_string(made++);
}

std::mutex mutex;

}  // namespace

class ring_end::wire {
 public:
  explicit wire(const std::string& name) {
    const std::string unique = unique_name();
    for (std::size_t i = 0; i < rings_.size(); ++i) {
      rings_[i] = rte_ring_create((unique + "_" + std::to_string(i)).c_str(), slots, SOCKET_ID_ANY,
                                  RING_F_SP_ENQ | RING_F_SC_DEQ);
      if (rings_[i] != nullptr) continue;
      const int error = rte_errno;
      for (rte_ring* r : rings_) rte_ring_free(r);
      refuse(name, rte_strerror(error));
    }
  }
  ~wire() {
    for (rte_ring* r : rings_) {
      void* frame = nullptr;
      while (rte_ring_dequeue(r, &frame) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
      rte_ring_free(r);
    }
  }
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  /// 0 or 1, or nothing where both are taken.
  std::optional<std::size_t> take_side() noexcept {
    for (std::size_t i = 0; i < 2; ++i)
      if (!std::exchange(taken_[i], true)) return i;
    return std::nullopt;
  }
  void give_back(std::size_t side) noexcept { taken_[side] = false; }
  /// A ring for each lane.
  std::span<rte_ring* const> to(std::size_t side) const noexcept {
    return std::span(rings_).subspan(side * lanes, lanes);
  }
  void keep(mempool_ptr pool) {
    // An end may come and go many times while the other one stays.
    std::erase_if(pools_,
                  [](const mempool_ptr& p) { return rte_mempool_in_use_count(p.get()) == 0; });
    pools_.push_back(std::move(pool));
  }

  /// Those that an end holds.
  static std::shared_ptr<wire> find_or_make(const std::string& name) {
    static std::map<std::string, std::weak_ptr<wire>> all;
    std::weak_ptr<wire>& known = all[name];
    if (auto found = known.lock()) return found;
    auto made = std::make_shared<wire>(name);
    known = made;
    return made;
  }

 private:
  std::vector<mempool_ptr> pools_;  ///< freed behind the frames that are in them
  std::array<rte_ring*, 2 * lanes> rings_{};
  std::array<bool, 2> taken_{};
};

ring_end::ring_end(const std::string& name) {
  const std::lock_guard lock(mutex);
  wire_ = wire::find_or_make(name);
  const auto side = wire_->take_side();
  if (!side) refuse(name, "two runtimes of this process have its ends already");
  side_ = *side;
  const std::string device = unique_name();
  const int port = rte_eth_from_rings(device.c_str(), wire_->to(side_).data(), lanes,
                                      wire_->to(1 - side_).data(), lanes, 0);
  if (port < 0) {
    wire_->give_back(side_);
    refuse(name, std::string("rte_eth_from_rings: ") + rte_strerror(rte_errno));
  }
  port_ = static_cast<std::uint16_t>(port);
  device_ = "net_ring_" + device;
}

ring_end::~ring_end() {
  const std::lock_guard lock(mutex);
  rte_eal_hotplug_remove("vdev", device_.c_str());
  wire_->give_back(side_);
  wire_.reset();
}

void ring_end::keep(mempool_ptr pool) {
  const std::lock_guard lock(mutex);
  wire_->keep(std::move(pool));
}

}  // namespace nd::pmd
