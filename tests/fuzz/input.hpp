// The bytes of one input, taken front to back; behind their end all are zero.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

namespace nd::fuzz {

class input {
 public:
  input(const std::uint8_t* data, std::size_t size) noexcept
      : rest_(reinterpret_cast<const std::byte*>(data), size) {}

  bool empty() const noexcept { return rest_.empty(); }
  bool flag() noexcept { return (u8() & 1) != 0; }
  std::uint8_t u8() noexcept { return number<std::uint8_t>(); }
  std::uint16_t u16() noexcept { return number<std::uint16_t>(); }
  std::uint32_t u32() noexcept { return number<std::uint32_t>(); }
  std::uint64_t u64() noexcept { return number<std::uint64_t>(); }
  /// From 0 to 255 at most.
  unsigned below(unsigned n) noexcept { return u8() % n; }
  /// As many of `n` bytes as there are.
  std::span<const std::byte> bytes(std::size_t n) noexcept {
    const auto taken = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() noexcept { return bytes(rest_.size()); }
  template <class T>
  void fill(T& value) noexcept {
    std::memset(static_cast<void*>(&value), 0, sizeof value);
    const auto from = bytes(sizeof value);
    if (!from.empty()) std::memcpy(static_cast<void*>(&value), from.data(), from.size());
  }

 private:
  template <class T>
  T number() noexcept {
    T value;
    fill(value);
    return value;
  }
  std::span<const std::byte> rest_;
};

/// What must hold, does not: this input has failed.
[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::abort();
}
inline void expect(bool holds, const char* what) {
  if (!holds) fail(what);
}

/// A fault that the environment variable ND_FUZZ_PLANT asks the harness for: proof that it is
/// found.
inline bool planted(const char* fault) noexcept {
  static const char* const wanted = std::getenv("ND_FUZZ_PLANT");
  return wanted != nullptr && std::strcmp(wanted, fault) == 0;
}

}  // namespace nd::fuzz
