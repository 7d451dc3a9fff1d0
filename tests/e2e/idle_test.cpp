// What an idle process takes of its core, and what that costs the next message.
#include <signal.h>
#include <time.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "kernel_link.hpp"
#include "memif_pair.hpp"

using namespace nd::e2e;

namespace {

/// Share of a core over a second.
double load(const process& p) {
  using clock = std::chrono::steady_clock;
  const auto before = p.cpu_time();
  const clock::time_point start = clock::now();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const std::chrono::duration<double> used = p.cpu_time() - before;
  return used / (clock::now() - start);
}

/// What the machine itself takes for as many timed sleeps as an idle loop makes.
double load_of_sleeping() {
  using clock = std::chrono::steady_clock;
  const auto used = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double before = used();
  const clock::time_point start = clock::now();
  while (clock::now() - start < std::chrono::milliseconds(400))
    std::this_thread::sleep_for(std::chrono::microseconds(800));
  return (used() - before) / std::chrono::duration<double>(clock::now() - start).count();
}

}  // namespace

TEST_CASE("an idle process leaves its core alone, and answers within a millisecond", "[idle]") {
  const std::string loop = GENERATE("inline", "lcore");
  CAPTURE(loop);
  const memif_pair pair;
  const words loop_words = loop == "lcore" ? words{"--io-lcores", "1"} : words{};
  const std::string lcores = loop == "lcore" ? "0@(0-1),1@(0-1)" : "";
  words server_words{"--server"};
  words client_words{
      "--client", memif_pair::address(true), "--pause", "400ms", "--duration", "3s", "--json", "-"};
  for (words* w : {&server_words, &client_words})
    w->insert(w->end(), loop_words.begin(), loop_words.end());
  process server(pair.command("ND_ECHO", true, server_words, lcores),
                 {.err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false, client_words, lcores),
                 {.out = pair.file("client.json"), .err = pair.file("client.err")});
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // both are up by then
  const double server_load = load(server), client_load = load(client);
  check_end(client, 0, pair.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
  const nlohmann::json j = nlohmann::json::parse(read_file(pair.file("client.json")));
  CAPTURE(server_load, client_load, j["latency_us"].dump());
  CHECK(j["messages"] >= 4);
  // On lcores there are four threads, each of which spins for a moment before it rests.
  if (loop == "inline" || std::thread::hardware_concurrency() >= 4)
    CHECK(j["latency_us"]["p50"] < 500);  // looking now and then, it would be 700 and more
  // Two percent, and what a virtual machine charges for being woken. Who is told of nothing looks a
  // thousand times a second.
  const double most = 0.02 + load_of_sleeping() / 4;
  CAPTURE(most);
  CHECK(server_load < most);
  CHECK(client_load < most);
}

TEST_CASE("an idle process sleeps on a tap until a frame comes", "[idle][veth]") {
  ND_NEEDS_VETH();
  const kernel_link link("tap");
  process server(link.command("ND_ECHO", true, {"--server"}), {.err = link.file("server.err")});
  link.server_started();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const double alone = load(server);
  // On af_packet, where nothing tells it of frames: it spins, so that only the server sleeps.
  process client(link.command("ND_ECHO", false,
                              {"--client", kernel_link::server_address(), "--pause", "1s",
                               "--duration", "4s", "--json", "-", "--set", "idle=spin"}),
                 {.out = link.file("client.json"), .err = link.file("client.err")});
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const double between = load(server);
  check_end(client, 0, link.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, link.file("server.err"));
  const nlohmann::json j = nlohmann::json::parse(read_file(link.file("client.json")));
  CAPTURE(alone, between, j["latency_us"].dump());
  CHECK(j["messages"] >= 3);
  CHECK(j["latency_us"]["p50"] < 1000);
  // One that is told of nothing looks a thousand times a second.
  CHECK(alone < load_of_sleeping() / 2);
  // Each message, and each sign of life between the hosts, is half a millisecond of spinning.
  CHECK(between < 0.05);
}

TEST_CASE("idle=spin never rests", "[idle]") {
  const memif_pair pair;
  process server(pair.command("ND_ECHO", true, {"--server", "--set", "idle=spin"}),
                 {.err = pair.file("server.err")});
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  // Others may want the core too; who rests takes a hundredth of it.
  CHECK(load(server) > 0.2);
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
}
