#include "api/dcopy_lcores.hpp"

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "api/number_list.hpp"
#include "api/refuse.hpp"
#include "dcopy/engine.hpp"
#include "pmd_glue/eal.hpp"
#include "pmd_glue/idle.hpp"
#include "pmd_glue/log.hpp"

namespace nd::api {
namespace {

std::string describe_lost_device(unsigned device, unsigned lcore, dcopy::device_state state) {
  const std::string which = "DMA device " + std::to_string(device);
  if (state == dcopy::device_state::stuck)
    return which + " finishes nothing and does not stop: calls whose bytes it has go on waiting; " +
           "all else that lcore " + std::to_string(lcore) + " gets, its CPU copies";
  return which + " finished nothing for a second and is given up: lcore " + std::to_string(lcore) +
         " copies by its CPU from now on";
}

}  // namespace

/// The thread of one dcopy lcore.
class dcopy_lcores::runner {
 public:
  /// `device`: that of `work`, where it has one.
  runner(unsigned lcore, std::optional<unsigned> device, core::dcopy_lcore& work,
         const pmd::tsc_clock& clock, pmd::idle_mode mode)
      : lcore_(lcore), device_(device), work_(work), clock_(clock), idle_(mode) {
    work_.wake = [this] { idle_.wake(); };
    pmd::launch_on_lcore("dcopy_lcores", lcore_, &loop, this);
  }
  ~runner() {
    stopping_.store(true, std::memory_order_release);
    idle_.wake();
    pmd::wait_for_lcore(lcore_);
  }
  runner(const runner&) = delete;
  runner& operator=(const runner&) = delete;

 private:
  static int loop(void* self) {
    auto& r = *static_cast<runner*>(self);
    while (!r.stopping_.load(std::memory_order_acquire)) {
      const instant now = r.clock_.now();
      const std::size_t done = r.work_.poll(now);
      r.tell_of_device();
      if (done > 0 || r.work_.queued_bytes() > 0) {
        r.idle_.busy();
        continue;
      }
      const auto next = [&r, now] {
        const bool work = r.work_.queued_bytes() > 0 || r.stopping_.load(std::memory_order_relaxed);
        return work ? now : instant::never();
      };
      r.idle_.rest(now, next, {.told = true});
    }
    return 0;
  }

  void tell_of_device() {
    const dcopy::device_state state = work_.device();
    if (state == std::exchange(told_, state)) return;
    pmd::log(pmd::log_level::warning, describe_lost_device(device_.value(), lcore_, state));
  }

  unsigned lcore_;
  std::optional<unsigned> device_;
  dcopy::device_state told_ = dcopy::device_state::working;
  core::dcopy_lcore& work_;
  const pmd::tsc_clock& clock_;
  pmd::polling_idle idle_;
  std::atomic<bool> stopping_{false};
};

dcopy_plan plan_dcopy(const settings& values, std::vector<unsigned> lcores) {
  dcopy_plan plan{std::move(lcores), parse_numbers("dcopy_dma", values.dcopy_dma)};
  if (!plan.devices.empty() && plan.devices.size() != plan.lcores.size())
    refuse("setting dcopy_dma: " + std::to_string(plan.devices.size()) + " devices for " +
           std::to_string(plan.lcores.size()) + " lcores (setting dcopy_lcores)");
  return plan;
}

dcopy_lcores::dcopy_lcores(const dcopy_plan& plan, const settings& values, bool digests,
                           const pmd::tsc_clock& clock,
                           const std::function<void(core::app_end&, std::uint32_t)>& post)
    : service_(values) {
  const auto& [lcores, devices] = plan;
  const dcopy::digest_functions sums = core::copy_digests(digests);
  for (std::size_t i = 0; i < lcores.size(); ++i) {
    std::unique_ptr<dcopy::engine> engine;
    try {
      engine = devices.empty()
                   ? dcopy::make_cpu_engine(sums)
                   : dcopy::make_dma_engine(static_cast<std::int16_t>(devices[i]), sums);
    } catch (const std::runtime_error& e) {
      refuse(std::string("setting dcopy_dma: ") + e.what());
    }
    service_.lcores.push_back(std::make_unique<core::dcopy_lcore>(
        std::move(engine), post, values.meter == "on" ? pmd::read_cycles : nullptr));
  }
  const pmd::idle_mode mode = pmd::idle_mode_of(values.idle);
  for (std::size_t i = 0; i < lcores.size(); ++i)
    runners_.push_back(std::make_unique<runner>(
        lcores[i], devices.empty() ? std::nullopt : std::optional(devices[i]), *service_.lcores[i],
        clock, mode));
}

dcopy_lcores::~dcopy_lcores() = default;

}  // namespace nd::api
