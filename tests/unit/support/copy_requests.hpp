// What a dcopy lcore is given, and what must have come of it.
#pragma once

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.hpp"
#include "dcopy/worker.hpp"
#include "unit/support/pool.hpp"
#include "wire/checksum.hpp"

namespace nd::test {

inline constexpr dcopy::digest_functions with_digests{wire::copy_crc32c, wire::crc32c};

inline void fill(rng& random, std::span<std::byte> bytes) {
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
}

inline std::vector<std::byte> random_bytes(rng& random, std::size_t n) {
  std::vector<std::byte> bytes(n);
  fill(random, bytes);
  return bytes;
}

/// A chain of segments with room for `n` bytes, as an application makes it.
inline rte_mbuf* empty_chain(pool& pool, rng& random, std::size_t n) {
  rte_mbuf* first = nullptr;
  rte_mbuf* last = nullptr;
  while (n > 0) {
    rte_mbuf* m = allocate_segment(pool.get());
    REQUIRE(m != nullptr);
    segment_of(m).length =
        static_cast<std::uint32_t>(std::min<std::size_t>(n, 1 + random.below(tx_capacity(m))));
    segment_of(m).digest = wire::crc32c_start;
    n -= segment_of(m).length;
    (last != nullptr ? segment_of(last).next : first) = m;
    last = m;
  }
  return first;
}

/// A write of `bytes`.
inline dcopy::request write_of(pool& pool, rng& random, std::span<std::byte> bytes) {
  return {.first = empty_chain(pool, random, bytes.size()),
          .bytes = bytes.data(),
          .length = static_cast<std::uint32_t>(bytes.size())};
}

/// The segments of a finished write have `expected`; frees them.
inline void check_written(const dcopy::request& r, std::span<const std::byte> expected,
                          bool digests = true) {
  for (rte_mbuf* m = r.first; m != nullptr;) {
    const segment s = segment_of(m);
    const auto piece = expected.first(s.length);
    REQUIRE(std::equal(piece.begin(), piece.end(), tx_payload(m)));
    REQUIRE(s.digest == (digests ? wire::crc32c(wire::crc32c_start, piece) : wire::crc32c_start));
    expected = expected.subspan(s.length);
    rte_pktmbuf_free(std::exchange(m, s.next));
  }
  REQUIRE(expected.empty());
}

/// Turns until all `n` have come back, for at most ten seconds.
inline std::vector<dcopy::request> run(dcopy::worker& w, std::size_t n) {
  std::vector<dcopy::request> finished;
  std::array<dcopy::request, 8> out;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (finished.size() < n) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    const std::size_t got = w.poll(out, instant());
    finished.insert(finished.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(got));
  }
  return finished;
}

}  // namespace nd::test
