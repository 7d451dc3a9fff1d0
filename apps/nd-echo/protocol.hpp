// What nd-echo's two ends say to each other besides the payload.
//
//   client -> server   hello | payload ... FIN
//   server -> client   rr, pipeline, crr:  payload, echoed by whole messages ... report FIN
//                      stream:             report every millisecond or so ... report FIN
//
// So the client always learns what the server received and found wrong, and every connection ends
// with a half close on both sides.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "nd-echo/options.hpp"

namespace nd::apps::echo {

/// Writes or reads `T` lowest byte first.
template <class T>
void put(std::byte* at, T value) noexcept {
  for (std::size_t i = 0; i < sizeof value; ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}
template <class T>
T get(const std::byte* at) noexcept {
  T value = 0;
  for (std::size_t i = sizeof value; i-- > 0;) {
    value = static_cast<T>(value << 8 | std::to_integer<T>(at[i]));
  }
  return value;
}

/// The first bytes of each connection.
struct hello {
  static constexpr std::size_t size = 32;
  static constexpr std::uint64_t magic = 0x006f6863652d646eU;  // "nd-echo"
  static constexpr std::uint32_t version = 1;

  echo::mode mode = mode::rr;
  bool verify = false;
  std::uint64_t message_size = 0;
  std::uint64_t seed = 0;  ///< of the payload's pattern

  std::array<std::byte, size> encode() const noexcept {
    std::array<std::byte, size> out{};
    put(out.data(), magic);
    put(out.data() + 8, version);
    put(out.data() + 12, static_cast<std::uint8_t>(mode));
    put(out.data() + 13, static_cast<std::uint8_t>(verify ? 1 : 0));
    put(out.data() + 16, message_size);
    put(out.data() + 24, seed);
    return out;
  }

  /// Nothing if this is not a client that we can serve.
  static std::optional<hello> decode(std::span<const std::byte, size> in) noexcept {
    const auto kind = get<std::uint8_t>(in.data() + 12);
    const auto verify = get<std::uint8_t>(in.data() + 13);
    const hello h{static_cast<echo::mode>(kind), verify == 1, get<std::uint64_t>(in.data() + 16),
                  get<std::uint64_t>(in.data() + 24)};
    const bool good = get<std::uint64_t>(in.data()) == magic &&
                      get<std::uint32_t>(in.data() + 8) == version && kind >= 1 && kind <= 4 &&
                      verify <= 1 && get<std::uint16_t>(in.data() + 14) == 0 &&
                      h.message_size >= 1 && h.message_size <= size_max;
    return good ? std::optional(h) : std::nullopt;
  }
};

/// What the server has received on this connection so far.
struct report {
  static constexpr std::size_t size = 16;

  std::uint64_t bytes = 0;
  std::uint64_t verify_failures = 0;  ///< wrong bytes

  std::array<std::byte, size> encode() const noexcept {
    std::array<std::byte, size> out{};
    put(out.data(), bytes);
    put(out.data() + 8, verify_failures);
    return out;
  }
};

/// Puts reports together from the pieces in which a stream brings them, and keeps the last one.
class report_reader {
 public:
  void take(std::span<const std::byte> in) noexcept {
    while (!in.empty()) {
      const std::size_t n = std::min(in.size(), report::size - have_);
      std::ranges::copy(in.first(n), partial_.begin() + static_cast<std::ptrdiff_t>(have_));
      have_ += n;
      in = in.subspan(n);
      if (have_ < report::size) return;
      have_ = 0;
      last_ = report{get<std::uint64_t>(partial_.data()), get<std::uint64_t>(partial_.data() + 8)};
    }
  }
  const std::optional<report>& last() const noexcept { return last_; }
  /// In the middle of one: a stream that ends here was cut.
  bool partial() const noexcept { return have_ != 0; }

 private:
  std::array<std::byte, report::size> partial_{};
  std::size_t have_ = 0;
  std::optional<report> last_;
};

}  // namespace nd::apps::echo
