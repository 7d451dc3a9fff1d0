// CRC32C by carry-less multiplication, fused with the copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nd::wire {

/// Bytes below which folding does not pay.
inline constexpr std::size_t fold_least = 256;

/// Whether this CPU has AVX-512 and VPCLMULQDQ (Intel from Ice Lake on, AMD from Zen 4 on).
bool can_fold() noexcept;

/// Copies the first `fold_least` bytes and all whole 64 after them, and puts their CRC32C state
/// into `state`; how many bytes that were. Each byte is read once. Only where can_fold(), and for
/// `size` >= fold_least; the ranges must not overlap.
std::size_t fold_copy_crc32c(std::uint32_t& state, std::byte* to, const std::byte* from,
                             std::size_t size) noexcept;

}  // namespace nd::wire
