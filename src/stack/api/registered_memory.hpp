// What stands behind nd::registered_memory and nd::loan.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/lent.hpp"
#include "nd/registered_memory.hpp"
#include "pmd_glue/external_memory.hpp"

namespace nd::api {

class runtime_impl;

/// Goes with the last of its handle, its loans and what was lent; may outlive the runtime.
class memory_region {
 public:
  memory_region(runtime_impl& rt, std::size_t bytes);
  memory_region(runtime_impl& rt, std::span<std::byte> pages);
  memory_region(const memory_region&) = delete;
  memory_region& operator=(const memory_region&) = delete;

  std::span<std::byte> bytes() const noexcept { return bytes_; }
  bool contains(std::span<const std::byte> part) const noexcept {
    return part.data() >= bytes_.data() && part.size() <= bytes_.size() &&
           static_cast<std::size_t>(part.data() - bytes_.data()) <= bytes_.size() - part.size();
  }
  /// Null once the runtime has gone.
  runtime_impl* runtime() const noexcept { return rt_; }
  /// The runtime's device has gone, and its EAL will.
  void leave_runtime() noexcept {
    known_.reset();
    rt_ = nullptr;
  }

 private:
  runtime_impl* rt_;
  std::optional<pmd::mapped_pages> own_;
  std::span<std::byte> bytes_;
  std::optional<pmd::external_memory> known_;
};

class loan_state final : public loan_count {
 public:
  explicit loan_state(std::shared_ptr<memory_region> of) noexcept : region(std::move(of)) {}
  const std::shared_ptr<memory_region> region;

 private:
  ~loan_state() override = default;
};

}  // namespace nd::api
