// Files to send, made of what the system has, and their SHA-256.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

namespace nd::e2e {

/// Under sanitizers everything is some ten times slower.
bool sanitized();

/// The largest files of the system's programs and libraries, one behind the other, until there are
/// `bytes`; from the first again where they are too few.
void gather(const std::filesystem::path& to, std::uint64_t bytes);

using digest = std::array<unsigned char, 32>;
digest sha256(const std::filesystem::path& path);
std::string to_hex(const digest& d);

}  // namespace nd::e2e
