#include "api/registered_memory.hpp"

#include <utility>

#include "api/runtime_impl.hpp"

namespace nd {
namespace api {

memory_region::memory_region(runtime_impl& rt, std::size_t bytes)
    : rt_(&rt), own_(std::in_place, bytes), bytes_(own_->bytes()) {
  known_.emplace(bytes_, rt.port_id());
}

memory_region::memory_region(runtime_impl& rt, std::span<std::byte> pages)
    : rt_(&rt), bytes_(pages) {
  known_.emplace(bytes_, rt.port_id());
}

}  // namespace api

registered_memory::registered_memory(runtime& rt, std::size_t bytes)
    : region_(std::make_shared<api::memory_region>(rt.impl(), bytes)) {
  rt.impl().keep(region_);
}
registered_memory::registered_memory(runtime& rt, std::span<std::byte> pages)
    : region_(std::make_shared<api::memory_region>(rt.impl(), pages)) {
  rt.impl().keep(region_);
}
registered_memory::registered_memory(registered_memory&&) noexcept = default;
registered_memory& registered_memory::operator=(registered_memory&&) noexcept = default;
registered_memory::~registered_memory() = default;

std::span<std::byte> registered_memory::bytes() const noexcept {
  return region_ != nullptr ? region_->bytes() : std::span<std::byte>();
}

loan::loan(const registered_memory& memory) : state_(new api::loan_state(memory.region_)) {}
loan::loan(loan&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
loan& loan::operator=(loan&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
loan::~loan() {
  if (state_ != nullptr) state_->give_back();
}

bool loan::returned() const noexcept {
  return state_ == nullptr || !state_->is_used();
}
void loan::wait(std::error_code& ec) {
  ec.clear();
  if (!returned()) ec = state_->region->runtime()->wait(false, {}, [this] { return returned(); });
}
void loan::wait() {
  std::error_code ec;
  wait(ec);
  if (ec) throw std::system_error(ec, "loan::wait");
}

}  // namespace nd
