// Runs a runtime's dcopy lcores on lcores of the EAL.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/settings.hpp"
#include "lcore/dcopy_lcore.hpp"
#include "pmd_glue/clock.hpp"

namespace nd::api {

class dcopy_lcores {
 public:
  /// As the settings `dcopy_*` say. `digests`: segments carry their CRC32C. `post`: see
  /// core::dcopy_lcore. Throws std::system_error(errc::bad_option).
  dcopy_lcores(const settings& values, bool digests, const pmd::tsc_clock& clock,
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
