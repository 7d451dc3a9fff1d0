// What the library says, kept instead of shown.
#pragma once

#include <rte_log.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

namespace nd::test {

/// Takes the EAL's log while it lives, and has the library's lines from `notice` up in it.
class captured_log {
 public:
  captured_log() {
    REQUIRE(file_ != nullptr);
    rte_log_set_global_level(RTE_LOG_NOTICE);
    rte_log_set_level(type_, RTE_LOG_NOTICE);
    rte_openlog_stream(file_);
  }
  ~captured_log() {
    rte_openlog_stream(before_);
    rte_log_set_level(type_, level_);
    rte_log_set_global_level(all_);
    std::fclose(file_);
  }
  captured_log(const captured_log&) = delete;
  captured_log& operator=(const captured_log&) = delete;

  std::string text() const {
    std::string text(4096, '\0');
    std::rewind(file_);
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    return text;
  }

 private:
  std::FILE* const file_ = std::tmpfile();
  std::FILE* const before_ = rte_log_get_stream();
  const std::uint32_t type_ =
      static_cast<std::uint32_t>(rte_log_register_type_and_pick_level("nd", RTE_LOG_NOTICE));
  const std::uint32_t level_ = static_cast<std::uint32_t>(rte_log_get_level(type_));
  const std::uint32_t all_ = rte_log_get_global_level();
};

}  // namespace nd::test
