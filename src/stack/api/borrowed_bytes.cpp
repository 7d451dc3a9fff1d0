#include "nd/borrowed_bytes.hpp"

#include <utility>

#include "api/socket_impl.hpp"

namespace nd {

borrowed_bytes::borrowed_bytes(std::span<const std::byte> bytes, void* buffer,
                               std::shared_ptr<api::lender> from) noexcept
    : bytes_(bytes), buffer_(buffer), from_(std::move(from)) {}

borrowed_bytes::borrowed_bytes(borrowed_bytes&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      buffer_(std::exchange(other.buffer_, nullptr)),
      from_(std::move(other.from_)) {}

borrowed_bytes& borrowed_bytes::operator=(borrowed_bytes&& other) noexcept {
  if (this == &other) return *this;
  release();
  bytes_ = std::exchange(other.bytes_, {});
  buffer_ = std::exchange(other.buffer_, nullptr);
  from_ = std::move(other.from_);
  return *this;
}

void borrowed_bytes::release() noexcept {
  if (buffer_ == nullptr) return;
  rte_pktmbuf_free(static_cast<rte_mbuf*>(std::exchange(buffer_, nullptr)));
  const std::size_t n = std::exchange(bytes_, {}).size();
  if (const auto from = std::move(from_); from->socket != nullptr) from->socket->give_back(n);
}

}  // namespace nd
