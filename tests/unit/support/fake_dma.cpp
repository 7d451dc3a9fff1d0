// The driver's side of dmadev: Debian has the library, third_party/dpdk-22.11 the header.
#define ALLOW_INTERNAL_API
#define ALLOW_EXPERIMENTAL_API
#include "unit/support/fake_dma.hpp"

#include <rte_dmadev_pmd.h>
#include <rte_eal.h>
#include <rte_memory.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

namespace nd::test {
namespace {

std::string next_name() {
  static unsigned made = 0;
  return "fake_dma" + std::to_string(made++);
}

/// As the EAL says, whose IOVAs are virtual addresses in these tests.
bool has_iova(rte_iova_t address, std::uint32_t length) {
  for (rte_iova_t at = address; at < address + length;) {
    const rte_memseg* const page = rte_mem_virt2memseg(reinterpret_cast<void*>(at), nullptr);
    if (page == nullptr || page->len == 0 || page->iova != page->addr_64) return false;
    at = page->addr_64 + page->len;
  }
  return true;
}

}  // namespace

struct fake_dma::driver {
  static fake_dma& of(const rte_dma_dev* dev) { return of(dev->data->dev_private); }
  static fake_dma& of(const void* dev_private) {
    return **static_cast<fake_dma* const*>(dev_private);
  }

  static int info_get(const rte_dma_dev* dev, rte_dma_info* info, std::uint32_t) {
    info->dev_capa = RTE_DMA_CAPA_MEM_TO_MEM | RTE_DMA_CAPA_OPS_COPY;
    if (of(dev).traits_.sva) info->dev_capa |= RTE_DMA_CAPA_SVA;
    info->max_vchans = 1;
    info->min_desc = 32;
    info->max_desc = 4096;
    return 0;
  }
  static int configure(rte_dma_dev*, const rte_dma_conf*, std::uint32_t) { return 0; }
  static int vchan_setup(rte_dma_dev*, std::uint16_t, const rte_dma_vchan_conf*, std::uint32_t) {
    return 0;
  }
  static int start(rte_dma_dev* dev) {
    fake_dma& dma = of(dev);
    const std::lock_guard lock(dma.mutex_);
    dma.started_ = true;
    return 0;
  }
  static int stop(rte_dma_dev* dev) {
    fake_dma& dma = of(dev);
    const std::lock_guard lock(dma.mutex_);
    if (dma.traits_.stops == fake_dma_traits::never && !dma.submitted_.empty()) return -EBUSY;
    dma.started_ = false;
    if (dma.traits_.stops == fake_dma_traits::says_so) return 0;
    dma.written_.clear();
    dma.submitted_.clear();
    return 0;
  }
  static int close(rte_dma_dev*) { return 0; }
  static int vchan_status(const rte_dma_dev* dev, std::uint16_t,
                          enum rte_dma_vchan_status* status) {
    const fake_dma& dma = of(dev);
    const std::lock_guard lock(dma.mutex_);
    if (dma.traits_.stops == fake_dma_traits::never) return -ENOTSUP;
    *status = dma.submitted_.empty() ? RTE_DMA_VCHAN_IDLE : RTE_DMA_VCHAN_ACTIVE;
    return 0;
  }

  static int copy(void* dev_private, std::uint16_t, rte_iova_t from, rte_iova_t to,
                  std::uint32_t length, std::uint64_t) {
    fake_dma& dma = of(dev_private);
    const std::lock_guard lock(dma.mutex_);
    const std::size_t before = dma.written_.size() + dma.submitted_.size();
    if (before >= dma.traits_.room) return -ENOSPC;
    if (!dma.started_) dma.violations_.emplace_back("a copy, and it is stopped");
    if (!dma.traits_.sva && !(has_iova(from, length) && has_iova(to, length))) {
      dma.violations_.emplace_back("memory that it cannot reach");
      return -EINVAL;
    }
    dma.written_.push_back({from, to, length});
    return static_cast<std::uint16_t>(dma.index_ + before);
  }
  static int submit(void* dev_private, std::uint16_t) {
    fake_dma& dma = of(dev_private);
    const std::lock_guard lock(dma.mutex_);
    dma.submitted_.insert(dma.submitted_.end(), dma.written_.begin(), dma.written_.end());
    dma.written_.clear();
    return 0;
  }
  static std::uint16_t completed(void* dev_private, std::uint16_t, const std::uint16_t most,
                                 std::uint16_t* last, bool* error) {
    fake_dma& dma = of(dev_private);
    const std::lock_guard lock(dma.mutex_);
    std::uint16_t n = 0;
    while (!*error && n < most && !dma.submitted_.empty() && !dma.hangs()) {
      *error = !dma.do_first();
      if (!*error) ++n;
    }
    *last = static_cast<std::uint16_t>(dma.index_ - 1);
    return n;
  }
  /// The one that has failed.
  static std::uint16_t completed_status(void* dev_private, std::uint16_t, const std::uint16_t most,
                                        std::uint16_t* last, rte_dma_status_code* status) {
    fake_dma& dma = of(dev_private);
    const std::lock_guard lock(dma.mutex_);
    if (most == 0 || !std::exchange(dma.first_failed_, false)) return 0;
    *status = RTE_DMA_STATUS_BUS_READ_ERROR;
    dma.submitted_.pop_front();
    *last = dma.index_++;
    return 1;
  }
  static std::uint16_t burst_capacity(const void* dev_private, std::uint16_t) {
    const fake_dma& dma = of(dev_private);
    const std::lock_guard lock(dma.mutex_);
    return static_cast<std::uint16_t>(dma.traits_.room - dma.written_.size() -
                                      dma.submitted_.size());
  }

  static const rte_dma_dev_ops operations;
  static rte_device device;
};

const rte_dma_dev_ops fake_dma::driver::operations{
    .dev_info_get = info_get,
    .dev_configure = configure,
    .dev_start = start,
    .dev_stop = stop,
    .dev_close = close,
    .vchan_setup = vchan_setup,
    .stats_get = nullptr,
    .stats_reset = nullptr,
    .vchan_status = vchan_status,
    .dev_dump = nullptr,
};
rte_device fake_dma::driver::device{};

fake_dma::fake_dma(const fake_dma_traits& traits)
    : traits_(traits), name_(next_name()), left_(traits.completes) {
  REQUIRE(rte_eal_iova_mode() == RTE_IOVA_VA);
  rte_dma_dev* const dev = rte_dma_pmd_allocate(name_.c_str(), SOCKET_ID_ANY, sizeof(fake_dma*));
  REQUIRE(dev != nullptr);
  *static_cast<fake_dma**>(dev->data->dev_private) = this;
  dev->device = &driver::device;
  dev->dev_ops = &driver::operations;
  dev->fp_obj->dev_private = dev->data->dev_private;
  dev->fp_obj->copy = driver::copy;
  dev->fp_obj->submit = driver::submit;
  dev->fp_obj->completed = driver::completed;
  dev->fp_obj->completed_status = driver::completed_status;
  dev->fp_obj->burst_capacity = driver::burst_capacity;
  dev->state = RTE_DMA_DEV_READY;
  id_ = dev->data->dev_id;
}

fake_dma::~fake_dma() {
  CHECK_FALSE(started());
  CHECK(rte_dma_pmd_release(name_.c_str()) == 0);
}

bool fake_dma::hangs() {
  if (left_ > 0) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!hung_) hung_ = now;
  if (now - *hung_ < std::chrono::seconds(10)) return true;
  violations_.emplace_back("was waited for, and it hangs");
  left_ = std::numeric_limits<unsigned>::max();
  return false;
}

bool fake_dma::do_first() {
  if (traits_.fails > 0 && ++done_ % traits_.fails == 0) {
    first_failed_ = true;
    return false;
  }
  const copy c = submitted_.front();
  std::memcpy(reinterpret_cast<void*>(c.to), reinterpret_cast<const void*>(c.from), c.length);
  bytes_ += c.length;
  submitted_.pop_front();
  ++index_;
  --left_;
  return true;
}

void fake_dma::go_on() {
  const std::lock_guard lock(mutex_);
  left_ = std::numeric_limits<unsigned>::max();
}

std::uint64_t fake_dma::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

bool fake_dma::started() const {
  const std::lock_guard lock(mutex_);
  return started_;
}

std::vector<std::string> fake_dma::violations() const {
  const std::lock_guard lock(mutex_);
  return violations_;
}

}  // namespace nd::test
