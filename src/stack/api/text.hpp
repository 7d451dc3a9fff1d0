// Addresses and events as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "base/event.hpp"
#include "pmd_glue/log.hpp"

namespace nd::api {

std::string text_of(std::uint32_t ip);
std::string text_of(const mac_address& mac);

struct log_line {
  pmd::log_level level;
  std::string text;
};
/// `own`: this host's address and prefix, as the setting `ip`.
log_line describe(const event& e, const std::string& own);

}  // namespace nd::api
