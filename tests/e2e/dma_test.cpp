// nd-echo between two processes whose dcopy lcores have a DMA device: DPDK's skeleton, which is a
// thread that copies.
#include <signal.h>

#include <nlohmann/json.hpp>

#include "memif_pair.hpp"

using namespace nd::e2e;

namespace {

struct run_result {
  nlohmann::json client;
  nlohmann::json server;
};

/// A client and a server that send each other 200,000 bytes in turn; the server checks what comes
/// first, and the client what comes back.
run_result run(const words& nd_options, const words& client_options = {}) {
  const memif_pair pair;
  const std::string lcores = "0@(0-1),1@(0-1)";
  words server_words{"--server", "--verify", "--json", "-"};
  words client_words{"--client",   memif_pair::address(true),
                     "--mode",     "rr",
                     "--size",     "200000",
                     "--duration", "1s",
                     "--verify",   "--json",
                     "-"};
  client_words.insert(client_words.end(), client_options.begin(), client_options.end());
  for (words* w : {&server_words, &client_words}) {
    w->insert(w->end(), {"--dcopy-lcores", "1", "--set", "dcopy_min=16K"});
    w->insert(w->end(), nd_options.begin(), nd_options.end());
  }
  const auto command = [&](bool server, const words& arguments) {
    words w = pair.command("ND_ECHO", server, arguments, lcores);
    w.insert(w.begin() + 1, "--vdev=dma_skeleton0");
    return w;
  };
  process server(command(true, server_words),
                 {.out = pair.file("server.json"), .err = pair.file("server.err")});
  process client(command(false, client_words),
                 {.out = pair.file("client.json"), .err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
  return {nlohmann::json::parse(read_file(pair.file("client.json"))),
          nlohmann::json::parse(read_file(pair.file("server.json")))};
}

}  // namespace

TEST_CASE("a DMA device copies large reads and writes, with checksums and without", "[dma]") {
  const std::string checksum = GENERATE("full", "none");
  const std::string encap = GENERATE("ip", "udp");
  CAPTURE(checksum, encap);
  const run_result r =
      run({"--set", "dcopy_dma=0", "--set", "checksum=" + checksum, "--encap", encap});
  CHECK(r.client["messages"] > 0);
  CHECK(r.client["errors"] == 0);
  for (const nlohmann::json& end : {r.client, r.server}) {
    const nlohmann::json& counters = end["counters"];
    CHECK(end["verify_failures"] == 0);
    CHECK(counters["dcopy_bytes_written"] > 1'000'000);
    CHECK(counters["dcopy_bytes_read"] > 1'000'000);
    // It has shared virtual addressing, and reaches all.
    CHECK(counters["dcopy_bytes_dma"].get<std::uint64_t>() ==
          counters["dcopy_bytes_written"].get<std::uint64_t>() +
              counters["dcopy_bytes_read"].get<std::uint64_t>());
    CHECK(counters["dcopy_dma_lost"] == 0);
    CHECK(counters["drop_checksum"] == 0);
  }
}

TEST_CASE("a DMA device that the setting does not name copies nothing", "[dma]") {
  const run_result r = run({});
  for (const nlohmann::json& end : {r.client, r.server}) {
    CHECK(end["verify_failures"] == 0);
    CHECK(end["counters"]["dcopy_bytes_written"] > 1'000'000);
    CHECK(end["counters"]["dcopy_bytes_dma"] == 0);
  }
}

TEST_CASE("a DMA device that there is not is refused with status 2", "[dma]") {
  const memif_pair pair;
  process p(
      pair.command("ND_ECHO", true, {"--server", "--dcopy-lcores", "1", "--set", "dcopy_dma=0"},
                   "0@(0-1),1@(0-1)"),
      {.err = pair.file("err")});
  check_end(p, 2, pair.file("err"));
  CHECK_THAT(read_file(pair.file("err")),
             Catch::Contains("setting dcopy_dma: there is no DMA device 0"));
}
