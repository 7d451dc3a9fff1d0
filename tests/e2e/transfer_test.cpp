// Real files through nd-cat, compared by SHA-256, over a good wire and bad ones.
#include <sodium.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "memif_pair.hpp"

using namespace nd::e2e;

namespace {

constexpr std::uint64_t MiB = 1 << 20;

/// Under sanitizers everything is some ten times slower.
bool sanitized() {
  return std::getenv("ND_SANITIZED") != nullptr;
}

/// The largest files of the system's programs and libraries, one behind the other, until there are
/// `bytes`; from the first again where they are too few.
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

std::array<unsigned char, crypto_hash_sha256_BYTES> sha256(const std::filesystem::path& path) {
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  std::ifstream file(path, std::ios::binary);
  std::vector<char> block(MiB);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0)
    crypto_hash_sha256_update(&state, reinterpret_cast<unsigned char*>(block.data()),
                              static_cast<unsigned long long>(file.gcount()));
  std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
  crypto_hash_sha256_final(&state, digest.data());
  return digest;
}

/// Sends `bytes` of files from the memif client to the server, with these ND options at both ends.
void transfer(std::uint64_t bytes, const words& nd_options) {
  const memif_pair pair;
  gather(pair.file("sent"), sanitized() ? bytes / 16 : bytes);
  words listen{"--listen", "5000"};
  words send{memif_pair::address(true), "5000"};
  for (words* w : {&listen, &send}) w->insert(w->end(), nd_options.begin(), nd_options.end());
  process receiver(pair.command("ND_CAT", true, listen),
                   {.out = pair.file("received"), .err = pair.file("receiver.err")});
  process sender(pair.command("ND_CAT", false, send),
                 {.in = pair.file("sent"), .err = pair.file("sender.err")});
  check_end(sender, 0, pair.file("sender.err"));
  check_end(receiver, 0, pair.file("receiver.err"));
  CHECK(std::filesystem::file_size(pair.file("received")) ==
        std::filesystem::file_size(pair.file("sent")));
  CHECK(sha256(pair.file("received")) == sha256(pair.file("sent")));
}

}  // namespace

TEST_CASE("a gigabyte of real files arrives as it was") {
  transfer(1024 * MiB, {});
}

TEST_CASE("real files arrive as they were over bad wires") {
  const std::string encap = GENERATE("ip", "udp");
  const std::string fault = GENERATE("dup=0.01,reorder=0.05,corrupt=0.001,ecn=0.01,seed=7",
                                     "loss=0.01,dup=0.01,reorder=0.05,corrupt=0.001,seed=8",
                                     "loss=0.05,dup=0.02,reorder=0.1,corrupt=0.005,seed=9");
  CAPTURE(encap, fault);
  transfer(256 * MiB, {"--encap", encap, "--fault", fault});
}

TEST_CASE("both ends closing at once lose nothing") {
  const memif_pair pair;
  process a(pair.command("ND_CAT", true, {"--listen", "5000"}), {.err = pair.file("a.err")});
  process b(pair.command("ND_CAT", false, {memif_pair::address(true), "5000"}),
            {.err = pair.file("b.err")});
  check_end(b, 0, pair.file("b.err"));
  check_end(a, 0, pair.file("a.err"));
}

TEST_CASE("files cross in both directions at the same time") {
  const memif_pair pair;
  gather(pair.file("sent"), sanitized() ? 4 * MiB : 64 * MiB);
  process a(pair.command("ND_CAT", true, {"--listen", "5000"}),
            {.in = pair.file("sent"), .out = pair.file("at_a"), .err = pair.file("a.err")});
  process b(pair.command("ND_CAT", false, {memif_pair::address(true), "5000"}),
            {.in = pair.file("sent"), .out = pair.file("at_b"), .err = pair.file("b.err")});
  check_end(b, 0, pair.file("b.err"));
  check_end(a, 0, pair.file("a.err"));
  CHECK(sha256(pair.file("at_a")) == sha256(pair.file("sent")));
  CHECK(sha256(pair.file("at_b")) == sha256(pair.file("sent")));
}
