// A peer that is killed: an error at the other end within 100 ms under load, within 500 ms on an
// idle connection, and a start that works again.
#include <signal.h>

#include <chrono>

#include "memif_pair.hpp"

using namespace nd::e2e;

namespace {

const words impatient;  // the defaults decide
constexpr auto reading =
    std::chrono::milliseconds(100);  // of the survivor's message, by this process
constexpr auto noticed_busy_within = std::chrono::milliseconds(100) + reading;
constexpr auto noticed_idle_within = std::chrono::milliseconds(500);
// What the survivor takes to say goodbye and end, beyond noticing; the EAL's cleanup most of it.
constexpr auto time_to_end = std::chrono::milliseconds(1500);

std::chrono::milliseconds since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               start);
}

}  // namespace

TEST_CASE("a killed peer is an error within 100 ms under load") {
  const bool kill_memif_server = GENERATE(true, false);
  const std::string mode = GENERATE("stream", "pipeline", "rr");
  CAPTURE(kill_memif_server, mode);
  const memif_pair pair(impatient);
  process victim(pair.command("ND_ECHO", kill_memif_server, {"--server"}), {});
  process survivor(pair.command("ND_ECHO", !kill_memif_server,
                                {"--client", memif_pair::address(kill_memif_server), "--mode", mode,
                                 "--duration", "60s", "--interval", "0.1"}),
                   {.out = pair.file("out"), .err = pair.file("err")});
  REQUIRE(wait_for_text(pair.file("out"), "Gbit/s"));
  victim.signal(SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  const bool noticed = wait_for_text(pair.file("err"), "peer lost", std::chrono::seconds(5));
  const auto took = since(killed);
  INFO(read_file(pair.file("err")));
  CHECK(noticed);
  // A ping-pong's peer may have acknowledged all there is before it dies.
  CHECK(took <= (mode == "rr" ? noticed_idle_within + reading : noticed_busy_within));
  CHECK(survivor.wait(time_to_end) == 1);
}

TEST_CASE("an idle connection notices too") {
  const memif_pair pair(impatient);
  process victim(pair.command("ND_CAT", true, {"--listen", "5000"}), {.in = "/dev/zero"});
  // The survivor's output goes nowhere fast: credit runs out, and the connection falls silent.
  process survivor(pair.command("ND_CAT", false, {memif_pair::address(true), "5000"}),
                   {.in = "/dev/null", .err = pair.file("err")});
  CHECK(survivor.wait(std::chrono::seconds(2)) == -1);
  victim.signal(SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  CHECK(survivor.wait(std::chrono::seconds(5)) == 1);
  CHECK(since(killed) <= noticed_idle_within + time_to_end);
  CHECK(read_file(pair.file("err")).find("peer lost") != std::string::npos);
}

TEST_CASE("a killed memif server leaves a stale socket file: the next start works") {
  const memif_pair pair(impatient);
  for (int round = 0; round < 2; ++round) {
    process server(pair.command("ND_ECHO", true, {"--server"}), {.err = pair.file("server.err")});
    process client(pair.command("ND_ECHO", false,
                                {"--client", memif_pair::address(true), "--duration", "100ms"}),
                   {.err = pair.file("client.err")});
    check_end(client, 0, pair.file("client.err"));
    server.signal(SIGKILL);
    CHECK(server.wait() == 128 + SIGKILL);
    CHECK(std::filesystem::exists(pair.file("memif.sock")));
  }
}

TEST_CASE("a server outlives its clients' deaths and serves the next one") {
  const memif_pair pair(impatient);
  process server(pair.command("ND_ECHO", true, {"--server"}), {.err = pair.file("server.err")});
  for (int round = 0; round < 3; ++round) {
    process client(pair.command("ND_ECHO", false,
                                {"--client", memif_pair::address(true), "--mode", "stream",
                                 "--duration", "60s", "--interval", "0.1", "--wait", "10"}),
                   {.out = pair.file("client.out"), .err = pair.file("client.err")});
    REQUIRE(wait_for_text(pair.file("client.out"), "Gbit/s"));
    client.signal(SIGKILL);
    CHECK(client.wait() == 128 + SIGKILL);
    std::filesystem::remove(pair.file("client.out"));
  }
  server.signal(SIGINT);
  check_end(server, 1, pair.file("server.err"));  // its run had errors, and it says so
}
