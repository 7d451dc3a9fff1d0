// Reading without a copy: received bytes, lent to the application where they lie.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace nd {

namespace api {
class lender;
class socket_impl;
}  // namespace api

/// A run of a stream's bytes in a buffer of the stack. They are given back when the object goes, or
/// by release(); until then they count against the peer's credit as if they were not read, so that
/// a reader that keeps `receive_buffer` of them gets no more. Give them back in any order, on the
/// thread that reads the socket, and before the runtime goes; the socket may be closed before.
class borrowed_bytes {
 public:
  borrowed_bytes() noexcept = default;
  borrowed_bytes(borrowed_bytes&& other) noexcept;
  borrowed_bytes& operator=(borrowed_bytes&& other) noexcept;
  ~borrowed_bytes() { release(); }

  /// Empty after release(), or where there was nothing to borrow.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  bool empty() const noexcept { return bytes_.empty(); }
  void release() noexcept;

 private:
  friend class api::socket_impl;
  borrowed_bytes(std::span<const std::byte> bytes, void* buffer,
                 std::shared_ptr<api::lender> from) noexcept;

  std::span<const std::byte> bytes_;
  void* buffer_ = nullptr;
  std::shared_ptr<api::lender> from_;
};

}  // namespace nd
