#include "pmd_glue/log.hpp"

#include <rte_log.h>

namespace nd::pmd {
namespace {

// Registered when first used: by then the EAL has read --log-level, if there is an EAL.
std::uint32_t log_type() {
  static const int type = rte_log_register_type_and_pick_level("nd", RTE_LOG_NOTICE);
  return type < 0 ? static_cast<std::uint32_t>(RTE_LOGTYPE_EAL) : static_cast<std::uint32_t>(type);
}

std::uint32_t to_rte(log_level level) noexcept {
  switch (level) {
    case log_level::error: return RTE_LOG_ERR;
    case log_level::warning: return RTE_LOG_WARNING;
    case log_level::notice: return RTE_LOG_NOTICE;
    case log_level::info: return RTE_LOG_INFO;
  }
  return RTE_LOG_ERR;
}

}  // namespace

void log(log_level level, const std::string& line) {
  rte_log(to_rte(level), log_type(), "nd: %s\n", line.c_str());
}

}  // namespace nd::pmd
