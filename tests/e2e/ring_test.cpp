// nd-echo and nd-cat over net_ring: both hosts in one process.
#include <signal.h>

#include <catch2/catch.hpp>
#include <string>

#include "memif_pair.hpp"
#include "real_files.hpp"

using namespace nd::e2e;

namespace {

constexpr std::uint64_t MiB = 1 << 20;

words demo(const char* variable, const words& options) {
  words w{program(variable), "--"};
  w.insert(w.end(), options.begin(), options.end());
  w.insert(w.end(), patient.begin(), patient.end());
  return w;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("every mode over ring, contents checked", "[ring][long]") {
  const std::string encap = GENERATE("ip", "udp");
  CAPTURE(encap);
  const temp_dir dir;
  process echo(demo("ND_ECHO", {"--demo=ring", "--encap", encap, "--duration", "200ms", "--warmup",
                                "50ms", "--depth", "16", "--connections", "2"}),
               {.out = dir / "out", .err = dir / "err"});
  check_end(echo, 0, dir / "err");
  const std::string said = read_file(dir / "out");
  INFO(said);
  for (const char* mode : {": rr, 64 B", "pipeline, 64 B", "stream, 65536 B", "crr, 64 B"})
    CHECK(count(said, mode) == 1);
  CHECK(count(said, "errors    0, wrong bytes 0") == 5);
  CHECK(count(said, ", " + encap + " with") == 5);
  CHECK(count(said, " 0 in all") == 0);
}

TEST_CASE("real files over ring arrive as they were", "[ring]") {
  const std::string encap = GENERATE("ip", "udp");
  const std::string fault = GENERATE("", "loss=0.02,dup=0.01,reorder=0.05,corrupt=0.002,seed=5");
  CAPTURE(encap, fault);
  const temp_dir dir;
  const std::uint64_t bytes = sanitized() ? 2 * MiB : 32 * MiB;
  gather(dir / "sent", bytes);
  words options{"--demo", "--encap", encap};
  if (!fault.empty()) options.insert(options.end(), {"--fault", fault});
  process cat(demo("ND_CAT", options),
              {.in = dir / "sent", .out = dir / "received", .err = dir / "err"});
  check_end(cat, 0, dir / "err");
  CHECK(sha256(dir / "received") == sha256(dir / "sent"));
  const std::string hex = to_hex(sha256(dir / "sent"));
  const std::string said = read_file(dir / "err");
  CHECK(said.find("SHA-256 sent     " + hex) != std::string::npos);
  CHECK(said.find("SHA-256 received " + hex) != std::string::npos);
}

TEST_CASE("a demo over ring whose one end fails ends with its reason", "[ring]") {
  const temp_dir dir;
  // The receiver cannot write: the sender must not wait for it.
  gather(dir / "sent", 4 * MiB);
  process cat(demo("ND_CAT", {"--demo"}),
              {.in = dir / "sent", .out = "/dev/full", .err = dir / "err"});
  check_end(cat, 1, dir / "err");
  CHECK(read_file(dir / "err").find("stdout: No space left on device") != std::string::npos);
}

TEST_CASE("SIGINT ends a demo over ring", "[ring]") {
  const temp_dir dir;
  process echo(demo("ND_ECHO", {"--demo=ring", "--duration", "60s", "--interval", "0.1"}),
               {.out = dir / "out", .err = dir / "err"});
  REQUIRE(wait_for_text(dir / "out", "Gbit/s"));
  echo.signal(SIGINT);
  check_end(echo, 0, dir / "err");
}
