#include <fmt/core.h>
#include <rte_dmadev.h>
#include <rte_errno.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

#include "dcopy/dma_memory.hpp"
#include "dcopy/engine.hpp"

// rte_dmadev is "experimental" in DPDK 22.11; its macro for that must come before all headers,
// which one translation unit for the data path does not allow.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace nd::dcopy {
namespace {

constexpr std::uint16_t queue = 0;
constexpr std::uint16_t wanted_descriptors = 1024;

class dma_engine final : public engine {
 public:
  dma_engine(std::int16_t device, const digest_functions& digests)
      : device_(device), digests_(digests), cpu_(make_cpu_engine(digests)) {
    rte_dma_info info{};
    if (rte_dma_info_get(device, &info) != 0)
      throw std::runtime_error(fmt::format("there is no DMA device {}", device));
    if ((info.dev_capa & RTE_DMA_CAPA_MEM_TO_MEM) == 0 ||
        (info.dev_capa & RTE_DMA_CAPA_OPS_COPY) == 0)
      throw std::runtime_error(fmt::format("DMA device {} does not copy memory", info.dev_name));
    memory_ = dma_memory((info.dev_capa & RTE_DMA_CAPA_SVA) != 0);
    rte_dma_conf device_conf{};
    device_conf.nb_vchans = 1;
    rte_dma_vchan_conf queue_conf{};
    queue_conf.direction = RTE_DMA_DIR_MEM_TO_MEM;
    queue_conf.nb_desc = std::clamp(wanted_descriptors, info.min_desc, info.max_desc);
    copies_.resize(queue_conf.nb_desc / 2U);
    int status = rte_dma_configure(device, &device_conf);
    if (status == 0) status = rte_dma_vchan_setup(device, queue, &queue_conf);
    if (status == 0) status = rte_dma_start(device);
    if (status != 0)
      throw std::runtime_error(
          fmt::format("DMA device {} does not start: {}", info.dev_name, rte_strerror(-status)));
  }
  ~dma_engine() override {
    if (!stopped_) rte_dma_stop(device_);
  }
  dma_engine(const dma_engine&) = delete;
  dma_engine& operator=(const dma_engine&) = delete;

  bool start(const request& r) noexcept override {
    if (state_ != device_state::working) return cpu_->start(r);
    if (end_ - begin_ == orders_.size()) return false;
    std::size_t parts = memory_.copies_of(r, copies_);
    if (rte_dma_burst_capacity(device_, queue) < parts) {
      if (under_way_ > 0) return false;
      parts = 0;  // it has nothing to do, and no room: waiting would not help
    }
    order& o = orders_[end_++ % orders_.size()];
    o = {.copy = r, .parts = 0, .by_cpu = parts == 0};
    for (const dma_copy& c : std::span(copies_).first(parts)) {
      // A copy that the device does not take after all leaves the whole request to the CPU.
      o.by_cpu = rte_dma_copy(device_, queue, c.from, c.to, c.length, 0) < 0;
      if (o.by_cpu) break;
      ++o.parts;
    }
    if (o.parts > 0) rte_dma_submit(device_, queue);
    under_way_ += o.parts;
    return true;
  }

  std::size_t collect(std::span<request> out, instant now) noexcept override {
    std::size_t n = state_ == device_state::working ? 0 : cpu_->collect(out, now);
    const unsigned before = under_way_;
    take_completions();
    watch(now, under_way_ < before);
    while (n < out.size() && begin_ != end_ && orders_[begin_ % orders_.size()].parts == 0) {
      order& o = orders_[begin_++ % orders_.size()];
      if (o.by_cpu)
        copy_by_cpu(o.copy, digests_);
      else
        take_digests(o.copy);
      o.copy.by_dma = !o.by_cpu;
      out[n++] = o.copy;
    }
    return n;
  }

  device_state device() const noexcept override { return state_; }

 private:
  struct order {
    request copy;
    unsigned parts;  ///< copies that the device has not finished
    bool by_cpu;     ///< the device cannot, or one of them failed
  };

  // A device finishes the copies of a queue in their order.
  void take_completions() noexcept {
    while (under_way_ > 0) {
      std::uint16_t last = 0;
      bool error = false;
      const auto most = static_cast<std::uint16_t>(std::min(under_way_, unsigned{UINT16_MAX}));
      std::uint16_t n = rte_dma_completed(device_, queue, most, &last, &error);
      for (; n > 0; --n) part_done(true);
      if (!error) return;
      std::array<rte_dma_status_code, 64> status{};
      n = rte_dma_completed_status(device_, queue, status.size(), &last, status.data());
      if (n == 0) return;
      for (std::uint16_t i = 0; i < n; ++i) part_done(status[i] == RTE_DMA_STATUS_SUCCESSFUL);
    }
  }

  void part_done(bool good) noexcept {
    counted_ = std::max(counted_, begin_);
    while (orders_[counted_ % orders_.size()].parts == 0) ++counted_;
    order& o = orders_[counted_ % orders_.size()];
    --o.parts;
    --under_way_;
    if (!good) o.by_cpu = true;
  }

  void watch(instant now, bool progress) noexcept {
    const duration since = std::min(now - std::exchange(watched_, now), dma_longest_look);
    waited_ = under_way_ == 0 || progress ? duration() : waited_ + since;
    if (under_way_ == 0 && state_ == device_state::stuck) state_ = device_state::given_up;
    if (waited_ < dma_patience) return;
    waited_ = {};
    give_up();
  }

  /// A device that may still write must be let: what it has must not be told finished. Drivers
  /// without a way to stop (idxd on the kernel's bus) say that they have, so the queue is asked
  /// too.
  void give_up() noexcept {
    if (!stopped_) stopped_ = rte_dma_stop(device_) == 0;
    enum rte_dma_vchan_status status = RTE_DMA_VCHAN_IDLE;
    const bool active =
        rte_dma_vchan_status(device_, queue, &status) == 0 && status == RTE_DMA_VCHAN_ACTIVE;
    state_ = stopped_ && !active ? device_state::given_up : device_state::stuck;
    if (state_ == device_state::stuck) return;
    for (std::size_t i = begin_; i != end_; ++i) {
      order& o = orders_[i % orders_.size()];
      if (o.parts > 0) o.by_cpu = true;
      o.parts = 0;
    }
    under_way_ = 0;
  }

  void take_digests(const request& r) const noexcept {
    if (r.way != direction::to_mbufs || digests_.read == nullptr) return;
    for_each_part(r, [&](rte_mbuf* m, std::byte* in_mbuf, std::byte*, std::uint32_t n) {
      segment& s = segment_of(m);
      s.digest = digests_.read(s.digest, {in_mbuf, n});
    });
  }

  std::int16_t device_;
  digest_functions digests_;
  dma_memory memory_{false};
  std::vector<dma_copy> copies_;  ///< of the request that is being started
  std::unique_ptr<engine> cpu_;   ///< which takes over from a device that is given up
  device_state state_ = device_state::working;
  bool stopped_ = false;
  unsigned under_way_ = 0;  ///< copies that the device has
  instant watched_;
  duration waited_;  ///< that it has been finishing none of them
  std::array<order, 64> orders_{};
  std::size_t begin_ = 0;    ///< of orders_, counted on and on: first not collected,
  std::size_t counted_ = 0;  ///< first with parts under way, or any behind begin_,
  std::size_t end_ = 0;      ///< and behind the last one
};

}  // namespace

std::unique_ptr<engine> make_dma_engine(std::int16_t device, const digest_functions& digests) {
  return std::make_unique<dma_engine>(device, digests);
}

}  // namespace nd::dcopy

#pragma GCC diagnostic pop
