#include "api/io_lcore.hpp"

#include <utility>

#include "api/text.hpp"
#include "pmd_glue/log.hpp"

namespace nd::api {
namespace {

core::host_config with_kernel(core::host_config config, kernel_link* kernel) {
  config.kernel = kernel;
  return config;
}

}  // namespace

io_lcore::io_lcore(core::host_config config, std::unique_ptr<kernel_link> kernel, port& device,
                   const pmd::tsc_clock& clock)
    : clock_(clock),
      kernel_(std::move(kernel)),
      host_(with_kernel(config, kernel_.get()), device, clock.now()),
      own_address_(config.values.ip),
      device_(device),
      idle_(pmd::idle_mode_of(config.values.idle)) {}

std::size_t io_lcore::turn() {
  const instant start = turned_ = clock_.now();
  const std::size_t pushed = host_.push(start);
  const std::size_t served = pushed + host_.pull(pushed > 0 ? clock_.now() : start);
  if (served > 0) {
    idle_.busy();
    disarm();
  }
  if (host_.has_events()) [[unlikely]] {
    for (const event& e : host_.take_events()) {
      const log_line line = describe(e, own_address_);
      pmd::log(line.level, line.text);
    }
  }
  return served;
}

}  // namespace nd::api
