// Bytes with contents that can be checked, in both directions of a connection at once.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "unit/support/app.hpp"

namespace nd::test {

/// The byte at an offset of a stream; streams differ by `salt`.
inline std::byte stream_byte(std::uint64_t offset, std::uint64_t salt) noexcept {
  std::uint64_t z = (offset >> 3) + salt * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  return static_cast<std::byte>((z ^ (z >> 27)) >> (offset & 7) * 8);
}

/// Fills `out` with the bytes of a stream from `offset` on.
inline void fill_stream(std::span<std::byte> out, std::uint64_t offset,
                        std::uint64_t salt) noexcept {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = stream_byte(offset + i, salt);
}

/// Writes `length` bytes of a stream and shuts down behind them.
struct writer {
  app_socket& to;
  std::uint64_t length;
  std::uint64_t salt = 0;
  std::size_t piece = 16384;  ///< bytes a write
  bool shut = false;
  lending* lent = nullptr;  ///< lends its bytes, in place of writing them

  void run() {
    std::array<std::byte, 16384> buffer;
    while (to.written() < length) {
      const std::uint64_t at = to.written();
      const std::size_t n = std::min<std::uint64_t>({piece, buffer.size(), length - at});
      fill_stream(std::span(buffer).first(n), at, salt);
      const auto bytes = std::span(buffer).first(n);
      if ((lent != nullptr ? to.write_lent(bytes, *lent) : to.write(bytes)) < n) return;
    }
    if (!shut && to.connected()) {
      to.shut_down_send();
      shut = true;
    }
  }
};

/// Reads a stream and compares it.
struct reader {
  app_socket& from;
  std::uint64_t salt = 0;
  std::uint64_t wrong = 0;  ///< bytes that differ
  bool ended = false;

  void run(std::size_t at_most = ~std::size_t{0}) {
    std::array<std::byte, 16384> buffer;
    while (at_most > 0) {
      const std::uint64_t at = from.consumed();
      const std::size_t n = from.read(std::span(buffer).first(std::min(buffer.size(), at_most)));
      if (n == 0) break;
      at_most -= n;
      for (std::size_t i = 0; i < n; ++i) wrong += buffer[i] == stream_byte(at + i, salt) ? 0 : 1;
    }
    ended = from.at_end();
  }
};

/// For host_pair::run_until(): both go on in each turn, until the reader has seen the end.
inline auto transfer(writer& w, reader& r, std::size_t at_most = ~std::size_t{0}) {
  return [&w, &r, at_most] {
    w.run();
    r.run(at_most);
    return r.ended;
  };
}
/// The same in both directions at once.
inline auto transfer(writer& a, reader& ra, writer& b, reader& rb) {
  return [&a, &ra, &b, &rb] {
    a.run();
    b.run();
    ra.run();
    rb.run();
    return ra.ended && rb.ended;
  };
}

}  // namespace nd::test
