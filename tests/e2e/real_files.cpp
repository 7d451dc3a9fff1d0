#include "real_files.hpp"

#include <sodium.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

namespace nd::e2e {

bool sanitized() {
  return std::getenv("ND_SANITIZED") != nullptr;
}

void gather(const std::filesystem::path& to, std::uint64_t bytes) {
  namespace fs = std::filesystem;
  std::vector<std::pair<std::uintmax_t, fs::path>> files;
  for (const char* root : {"/usr/bin", "/usr/lib"}) {
    const auto options = fs::directory_options::skip_permission_denied;
    for (const fs::directory_entry& e : fs::recursive_directory_iterator(root, options)) {
      std::error_code ec;
      if (e.is_regular_file(ec) && !e.is_symlink(ec) && e.file_size(ec) > 0)
        files.emplace_back(e.file_size(ec), e.path());
    }
  }
  std::ranges::sort(files, std::ranges::greater());
  REQUIRE_FALSE(files.empty());
  std::ofstream out(to, std::ios::binary);
  std::uint64_t gathered = 0;
  for (std::size_t i = 0; gathered < bytes; i = (i + 1) % files.size()) {
    out << std::ifstream(files[i].second, std::ios::binary).rdbuf();
    gathered += files[i].first;
  }
  REQUIRE(out.good());
}

digest sha256(const std::filesystem::path& path) {
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  std::ifstream file(path, std::ios::binary);
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0)
    crypto_hash_sha256_update(&state, reinterpret_cast<unsigned char*>(block.data()),
                              static_cast<unsigned long long>(file.gcount()));
  digest out{};
  static_assert(sizeof out == crypto_hash_sha256_BYTES);
  crypto_hash_sha256_final(&state, out.data());
  return out;
}

std::string to_hex(const digest& d) {
  std::string text(2 * d.size() + 1, ' ');
  sodium_bin2hex(text.data(), text.size(), d.data(), d.size());
  text.pop_back();
  return text;
}

}  // namespace nd::e2e
