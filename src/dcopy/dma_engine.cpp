#include <fmt/core.h>
#include <rte_dmadev.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include <array>
#include <optional>
#include <stdexcept>

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
      : device_(device), digests_(digests) {
    rte_dma_info info{};
    if (rte_dma_info_get(device, &info) != 0)
      throw std::runtime_error(fmt::format("there is no DMA device {}", device));
    if ((info.dev_capa & RTE_DMA_CAPA_MEM_TO_MEM) == 0 ||
        (info.dev_capa & RTE_DMA_CAPA_OPS_COPY) == 0)
      throw std::runtime_error(fmt::format("DMA device {} does not copy memory", info.dev_name));
    any_memory_ = (info.dev_capa & RTE_DMA_CAPA_SVA) != 0;
    rte_dma_conf device_conf{};
    device_conf.nb_vchans = 1;
    rte_dma_vchan_conf queue_conf{};
    queue_conf.direction = RTE_DMA_DIR_MEM_TO_MEM;
    queue_conf.nb_desc = descriptors_ =
        std::clamp(wanted_descriptors, info.min_desc, info.max_desc);
    int status = rte_dma_configure(device, &device_conf);
    if (status == 0) status = rte_dma_vchan_setup(device, queue, &queue_conf);
    if (status == 0) status = rte_dma_start(device);
    if (status != 0)
      throw std::runtime_error(
          fmt::format("DMA device {} does not start: {}", info.dev_name, rte_strerror(-status)));
  }
  ~dma_engine() override { rte_dma_stop(device_); }
  dma_engine(const dma_engine&) = delete;
  dma_engine& operator=(const dma_engine&) = delete;

  bool start(const request& r) noexcept override {
    if (end_ - begin_ == orders_.size()) return false;
    order& o = orders_[end_ % orders_.size()];
    o = {.copy = r, .parts = 0, .by_cpu = false};
    unsigned parts = 0;
    bool reachable = true;
    for_each_part(r, [&](rte_mbuf*, std::byte* in_mbuf, std::byte* app, std::uint32_t n) {
      ++parts;
      reachable = reachable && address_of(in_mbuf, n) && address_of(app, n);
    });
    if (!reachable || parts > descriptors_ / 2U) {
      o.by_cpu = true;
    } else {
      if (rte_dma_burst_capacity(device_, queue) < parts) return false;
      for_each_part(r, [&](rte_mbuf*, std::byte* in_mbuf, std::byte* app, std::uint32_t n) {
        const bool sending = r.way == direction::to_mbufs;
        const rte_iova_t mbuf = *address_of(in_mbuf, n), other = *address_of(app, n);
        // A copy that the device does not take after all leaves the whole request to the CPU.
        if (!o.by_cpu &&
            rte_dma_copy(device_, queue, sending ? other : mbuf, sending ? mbuf : other, n, 0) >= 0)
          ++o.parts;
        else
          o.by_cpu = true;
      });
      if (o.parts > 0) rte_dma_submit(device_, queue);
    }
    ++end_;
    return true;
  }

  std::size_t collect(std::span<request> out) noexcept override {
    take_completions();
    std::size_t n = 0;
    while (n < out.size() && begin_ != end_ && orders_[begin_ % orders_.size()].parts == 0) {
      const order& o = orders_[begin_++ % orders_.size()];
      if (o.by_cpu)
        copy_by_cpu(o.copy, digests_);
      else
        take_digests(o.copy);
      out[n++] = o.copy;
    }
    return n;
  }

 private:
  struct order {
    request copy;
    unsigned parts;  ///< copies that the device has not finished
    bool by_cpu;     ///< the device cannot, or one of them failed
  };

  /// What the device calls this memory, if it can reach all of it.
  std::optional<rte_iova_t> address_of(const std::byte* p, std::uint32_t n) const noexcept {
    if (any_memory_) return reinterpret_cast<rte_iova_t>(p);
    const rte_memseg* s = rte_mem_virt2memseg(p, nullptr);
    if (s == nullptr || s->iova == RTE_BAD_IOVA) return {};
    const auto offset = static_cast<std::size_t>(p - static_cast<const std::byte*>(s->addr));
    if (offset + n > s->len) return {};
    return s->iova + offset;
  }

  // A device finishes the copies of a queue in their order.
  void take_completions() noexcept {
    for (;;) {
      std::uint16_t last = 0;
      bool error = false;
      std::uint16_t n = rte_dma_completed(device_, queue, UINT16_MAX, &last, &error);
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
    if (!good) o.by_cpu = true;
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
  bool any_memory_ = false;  ///< shared virtual addressing: the application's pages too
  std::uint16_t descriptors_ = 0;
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
