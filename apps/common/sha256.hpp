// SHA-256 of what goes by.
#pragma once

#include <sodium.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace nd::apps {

class sha256 {
 public:
  sha256() noexcept { crypto_hash_sha256_init(&state_); }

  void add(std::span<const std::byte> bytes) noexcept {
    crypto_hash_sha256_update(&state_, reinterpret_cast<const unsigned char*>(bytes.data()),
                              bytes.size());
  }
  /// In hex, of all that was added so far.
  std::string text() const {
    crypto_hash_sha256_state copy = state_;
    std::array<unsigned char, crypto_hash_sha256_BYTES> digest;
    crypto_hash_sha256_final(&copy, digest.data());
    std::array<char, 2 * digest.size() + 1> text;
    return sodium_bin2hex(text.data(), text.size(), digest.data(), digest.size());
  }

 private:
  crypto_hash_sha256_state state_;
};

}  // namespace nd::apps
