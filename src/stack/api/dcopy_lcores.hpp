// Runs a runtime's dcopy lcores on lcores of the EAL.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/settings.hpp"
#include "lcore/dcopy_lcore.hpp"
#include "pmd_glue/clock.hpp"

namespace nd::api {

/// Which lcores copy, and by which DMA devices: none, or one for each.
struct dcopy_plan {
  std::vector<unsigned> lcores;
  std::vector<unsigned> devices;
};
/// The devices are from the settings. Throws std::system_error(errc::bad_option).
dcopy_plan plan_dcopy(const settings& values, std::vector<unsigned> lcores);

class dcopy_lcores {
 public:
  /// `digests`: segments carry their CRC32C. `post`: see core::dcopy_lcore. Throws
  /// std::system_error(errc::bad_option).
  dcopy_lcores(const dcopy_plan& plan, const settings& values, bool digests,
               const pmd::tsc_clock& clock,
               const std::function<void(core::app_end&, std::uint32_t)>& post);
  /// Nothing may be under way any more.
  ~dcopy_lcores();
  dcopy_lcores(const dcopy_lcores&) = delete;
  dcopy_lcores& operator=(const dcopy_lcores&) = delete;

  core::copy_service& service() noexcept { return service_; }

 private:
  class runner;
  core::copy_service service_;
  std::vector<std::unique_ptr<runner>> runners_;
};

}  // namespace nd::api
