// After Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction"
// (Intel, 2009): bytes that lie n bits before others may be multiplied by x^n modulo the polynomial
// and added to those. What is left in the end has the CRC of all that was folded into it.
#include "wire/crc32c_fold.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nd::wire {

#if defined(__x86_64__)

namespace {

/// x^n modulo CRC32C's polynomial, as the reflected multiplication wants it.
constexpr long long power(unsigned n) noexcept {
  std::uint32_t v = 0x80000000;  // x^0: the bits are reflected
  for (; n > 0; --n) v = (v >> 1) ^ ((v & 1) != 0 ? 0x82f63b78 : 0);
  return static_cast<long long>(std::uint64_t{v} << 1);
}

// Multiplies the two halves of each 128 bits by what takes them `distance` bits further.
template <unsigned distance>
constexpr long long near = power(distance - 32);
template <unsigned distance>
constexpr long long far = power(distance + 32);

#define ND_FOLD [[gnu::target("avx512f,avx512dq,avx512vl,vpclmulqdq,sse4.2")]]

template <unsigned distance>
ND_FOLD inline __m512i factors() noexcept {
  constexpr long long n = near<distance>, f = far<distance>;
  return _mm512_set_epi64(n, f, n, f, n, f, n, f);
}

ND_FOLD inline __m512i fold(__m512i sum, __m512i factor, __m512i next) noexcept {
  constexpr int xor_of_three = 0x96;
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, factor, 0x00),
                                   _mm512_clmulepi64_epi128(sum, factor, 0x11), next, xor_of_three);
}

ND_FOLD inline __m512i copy_64(std::byte* to, const std::byte* from) noexcept {
  const __m512i bytes = _mm512_loadu_si512(from);
  _mm512_storeu_si512(to, bytes);
  return bytes;
}

}  // namespace

bool can_fold() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq") &&
         __builtin_cpu_supports("sse4.2");
}

// Four sums, because a multiplication takes longer than the next one has to wait.
ND_FOLD std::size_t fold_copy_crc32c(std::uint32_t& state, std::byte* to, const std::byte* from,
                                     std::size_t size) noexcept {
  const std::byte* const begin = from;
  const std::byte* const end = from + size;
  __m512i a = copy_64(to, from), b = copy_64(to + 64, from + 64);
  __m512i c = copy_64(to + 128, from + 128), d = copy_64(to + 192, from + 192);
  a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(state))));
  from += 256, to += 256;

  const __m512i by_2048 = factors<2048>();
  for (; end - from >= 256; from += 256, to += 256) {
    a = fold(a, by_2048, copy_64(to, from));
    b = fold(b, by_2048, copy_64(to + 64, from + 64));
    c = fold(c, by_2048, copy_64(to + 128, from + 128));
    d = fold(d, by_2048, copy_64(to + 192, from + 192));
  }
  const __m512i by_512 = factors<512>();
  d = fold(fold(fold(a, by_512, b), by_512, c), by_512, d);
  for (; end - from >= 64; from += 64, to += 64) d = fold(d, by_512, copy_64(to, from));

  alignas(64) std::uint64_t left[8];
  _mm512_store_si512(left, d);
  std::uint64_t crc = 0;
  for (const std::uint64_t word : left) crc = _mm_crc32_u64(crc, word);
  state = static_cast<std::uint32_t>(crc);
  return static_cast<std::size_t>(from - begin);
}

#else

bool can_fold() noexcept {
  return false;
}

std::size_t fold_copy_crc32c(std::uint32_t&, std::byte*, const std::byte*, std::size_t) noexcept {
  return 0;
}

#endif

}  // namespace nd::wire
