// Memory of the application, made known to the EAL and to a device, so that frames may lie in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

struct rte_device;

namespace nd::pmd {

/// What registered memory must be aligned to, and a multiple of.
std::size_t page_size() noexcept;

/// Pages of our own; never of the EAL's.
class mapped_pages {
 public:
  /// At least so many bytes, zero. Throws std::system_error(errc::no_buffer_space).
  explicit mapped_pages(std::size_t bytes);
  ~mapped_pages();
  mapped_pages(const mapped_pages&) = delete;
  mapped_pages& operator=(const mapped_pages&) = delete;

  std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

/// While it lives, the device of an ethdev port may read whole pages. Must go before the EAL.
class external_memory {
 public:
  /// Throws std::system_error: errc::bad_option where that is no memory that can be registered,
  /// errc::no_buffer_space where the EAL or the device has no room for more.
  external_memory(std::span<std::byte> pages, std::uint16_t port);
  ~external_memory();
  external_memory(const external_memory&) = delete;
  external_memory& operator=(const external_memory&) = delete;

 private:
  std::span<std::byte> pages_;
  rte_device* mapped_for_ = nullptr;  ///< which reads it by DMA
};

}  // namespace nd::pmd
