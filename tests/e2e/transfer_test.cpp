// Real files through nd-cat, compared by SHA-256, over a good wire and bad ones.
#include "memif_pair.hpp"
#include "real_files.hpp"

using namespace nd::e2e;

namespace {

constexpr std::uint64_t MiB = 1 << 20;

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
