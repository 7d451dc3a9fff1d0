// nd-echo between two processes: every mode in both encapsulations, and how it ends.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "memif_pair.hpp"

using namespace nd::e2e;

namespace {

/// Runs a client against a server and returns the client's JSON. Both must end well.
nlohmann::json run(const words& client_options, const words& nd_options,
                   const words& server_options = {}) {
  const memif_pair pair;
  words server_words{"--server"};
  server_words.insert(server_words.end(), server_options.begin(), server_options.end());
  words client_words{"--client", memif_pair::address(true), "--json", "-"};
  for (words* w : {&server_words, &client_words})
    w->insert(w->end(), nd_options.begin(), nd_options.end());
  client_words.insert(client_words.end(), client_options.begin(), client_options.end());

  process server(pair.command("ND_ECHO", true, server_words), {.err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false, client_words),
                 {.out = pair.file("client.json"), .err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
  return nlohmann::json::parse(read_file(pair.file("client.json")));
}

/// With what else there is to know, on stderr.
words with_news(words command) {
  command.insert(std::ranges::find(command, "--"), {"--log-level", "nd:info"});
  return command;
}

}  // namespace

TEST_CASE("every mode in both encapsulations, contents checked") {
  const std::string encap = GENERATE("ip", "udp");
  const std::string mode = GENERATE("rr", "stream", "pipeline", "crr");
  CAPTURE(encap, mode);
  const nlohmann::json j = run(
      {"--mode", mode, "--duration", "300ms", "--warmup", "50ms", "--verify"}, {"--encap", encap});
  for (const char* key :
       {"tool", "mode", "size", "connections", "depth", "encap", "duration_s", "messages", "bytes",
        "goodput_gbps", "messages_per_s", "latency_us", "errors", "verify_failures", "counters"})
    CHECK(j.contains(key));
  CHECK(j["mode"] == mode);
  CHECK(j["encap"] == encap);
  CHECK(j["messages"] > 0);
  CHECK(j["errors"] == 0);
  CHECK(j["verify_failures"] == 0);
  CHECK(j["counters"]["payload_bytes_sent"] > 0);
  CHECK(j["counters"]["drop_checksum"] == 0);
}

TEST_CASE("every mode over a bad wire, contents checked") {
  const std::string mode = GENERATE("rr", "stream", "pipeline", "crr");
  CAPTURE(mode);
  const nlohmann::json j =
      run({"--mode", mode, "--duration", "300ms", "--connections", "4", "--verify"},
          {"--fault", "loss=0.02,dup=0.02,reorder=0.05,corrupt=0.005,ecn=0.01,seed=11"});
  CHECK(j["messages"] > 0);
  CHECK(j["verify_failures"] == 0);
  CHECK(j["counters"]["packets_lost"] > 0);
  CHECK(j["counters"]["drop_checksum"] > 0);
}

TEST_CASE("several channels, many connections, checksums left out by both") {
  const nlohmann::json j =
      run({"--mode", "pipeline", "--connections", "64", "--duration", "300ms", "--verify"},
          {"--set", "channels_latency=4", "--set", "checksum=none", "--set", "mtu=1500"});
  CHECK(j["verify_failures"] == 0);
  CHECK(j["counters"]["handshakes_started"] == 4);
}

TEST_CASE("a ping-pong beside streams, with queues by class at both ends, at one, and at none") {
  const std::string server = GENERATE("auto", "off");
  const std::string client = GENERATE("auto", "off");
  CAPTURE(server, client);
  const nlohmann::json j = run({"--mode", "mixed", "--connections", "4", "--duration", "300ms",
                                "--verify", "--set", "class_queues=" + client},
                               {}, {"--set", "class_queues=" + server});
  CHECK(j["latency_us"]["count"] > 0);
  CHECK(j["goodput_gbps"] > 0);
  CHECK(j["errors"] == 0);
  CHECK(j["verify_failures"] == 0);
  CHECK(j["counters"]["drop_checksum"] == 0);
  // Words between the two memif ports (memif_lanes) that came again after they had agreed.
  CHECK(j["counters"]["drop_not_ours"] <= 8);
}

TEST_CASE("the loop on an lcore of its own") {
  const memif_pair pair;
  process server(pair.command("ND_ECHO", true, {"--server", "--io-lcores", "1"}, "0@(0-1),1@(0-1)"),
                 {.err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false,
                              {"--client", memif_pair::address(true), "--mode", "pipeline",
                               "--duration", "500ms", "--verify", "--io-lcores", "auto"},
                              "0@(0-1),1@(0-1)"),
                 {.err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
}

TEST_CASE("dcopy lcores at both ends, with the loop inline and on an lcore") {
  const memif_pair pair;
  const std::string lcores = "0@(0-1),1@(0-1),2@(0-1),3@(0-1)";
  const words loop = GENERATE(words{}, words{"--io-lcores", "1"});
  words server_words{"--server", "--dcopy-lcores", "2-3", "--json", "-"};
  words client_words{"--client",
                     memif_pair::address(true),
                     "--mode",
                     "rr",
                     "--size",
                     "200000",
                     "--duration",
                     "1s",
                     "--verify",
                     "--dcopy-lcores",
                     "2,3",
                     "--set",
                     "dcopy_policy=compact",
                     "--json",
                     "-"};
  for (words* w : {&server_words, &client_words}) w->insert(w->end(), loop.begin(), loop.end());
  for (words* w : {&server_words, &client_words}) w->insert(w->end(), {"--set", "dcopy_min=16K"});
  process server(pair.command("ND_ECHO", true, server_words, lcores),
                 {.out = pair.file("server.json"), .err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false, client_words, lcores),
                 {.out = pair.file("client.json"), .err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
  const nlohmann::json j = nlohmann::json::parse(read_file(pair.file("client.json")));
  CHECK(j["verify_failures"] == 0);
  const nlohmann::json served = nlohmann::json::parse(read_file(pair.file("server.json")));
  for (const nlohmann::json& end : {j, served})
    for (const char* way : {"dcopy_bytes_written", "dcopy_bytes_read"})
      CHECK(end["counters"][way] > 1'000'000);
}

TEST_CASE("several io lcores, as many at both ends and not") {
  const memif_pair pair;
  const std::string lcores = "0@(0-1),1@(0-1),2@(0-1),3@(0-1)";
  const std::string server_lcores = GENERATE("1,2", "1-3");
  const std::string mode = GENERATE("rr", "crr", "stream");
  CAPTURE(server_lcores, mode);
  process server(
      with_news(pair.command("ND_ECHO", true,
                             {"--server", "--io-lcores", server_lcores, "--verify", "--json", "-"},
                             lcores)),
      {.out = pair.file("server.json"), .err = pair.file("server.err")});
  process client(with_news(pair.command(
                     "ND_ECHO", false,
                     {"--client", memif_pair::address(true), "--io-lcores", "1,2", "--mode", mode,
                      "--connections", "6", "--duration", "1s", "--verify", "--json", "-"},
                     lcores)),
                 {.out = pair.file("client.json"), .err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
  for (const char* err : {"server.err", "client.err"})
    CHECK(read_file(pair.file(err)).find("2 io lcores have queues") != std::string::npos);
  const nlohmann::json j = nlohmann::json::parse(read_file(pair.file("client.json")));
  CHECK(j["verify_failures"] == 0);
  CHECK(j["errors"] == 0);
  const nlohmann::json served = nlohmann::json::parse(read_file(pair.file("server.json")));
  CHECK(served["verify_failures"] == 0);
  CHECK(served["counters"]["connections_accepted"] >= 6);
  const bool change_lcores = server_lcores == "1-3" || j["counters"]["records_forwarded"] > 0;
  CHECK((served["counters"]["packets_handed"] > 0) == change_lcores);
  CHECK(j["counters"]["peers_lost"] == 0);
}

TEST_CASE("a client of two io lcores connects at once to a server of one") {
  using clock = std::chrono::steady_clock;
  const std::string lcores = "0@(0-1),1@(0-1),2@(0-1)";
  // What a whole run takes; the server is there when it begins.
  const auto run_of = [&](const std::string& client_lcores) {
    const memif_pair pair;
    process server(with_news(pair.command("ND_ECHO", true, {"--server", "--io-lcores", "1"},
                                          "0@(0-1),1@(0-1)")),
                   {.err = pair.file("server.err")});
    REQUIRE(wait_for_text(pair.file("server.err"), "channels and sockets"));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // its device is started
    const clock::time_point start = clock::now();
    process client(pair.command("ND_ECHO", false,
                                {"--client", memif_pair::address(true), "--io-lcores",
                                 client_lcores, "--duration", "1ms", "--warmup", "0"},
                                lcores),
                   {.err = pair.file("client.err")});
    check_end(client, 0, pair.file("client.err"));
    const clock::duration took = clock::now() - start;
    server.signal(SIGINT);
    check_end(server, 0, pair.file("server.err"));
    return took;
  };
  const auto least = [&](const std::string& client_lcores) {
    return std::min({run_of(client_lcores), run_of(client_lcores), run_of(client_lcores)});
  };
  CHECK(least("1,2") < least("1") + std::chrono::milliseconds(100));
}

TEST_CASE("lcores that cannot copy are refused") {
  struct row {
    const char* list;
    const char* says;
  };
  const row r =
      GENERATE(row{"1,x", "dcopy_lcores: '1,x'"}, row{"9", "lcore 9 is not among"},
               row{"0", "lcore 0 is the EAL's main one"}, row{"1,1", "lcore 1 is named twice"});
  const memif_pair pair;
  process p(
      pair.command("ND_ECHO", true, {"--server", "--dcopy-lcores", r.list}, "0@(0-1),1@(0-1)"),
      {.err = pair.file("err")});
  check_end(p, 2, pair.file("err"));
  CHECK_THAT(read_file(pair.file("err")), Catch::Contains(r.says));
}

TEST_CASE("SIGINT ends a client with its summary and status 0") {
  const memif_pair pair;
  process server(pair.command("ND_ECHO", true, {"--server"}), {.err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false,
                              {"--client", memif_pair::address(true), "--mode", "stream",
                               "--duration", "60s", "--interval", "0.1"}),
                 {.out = pair.file("client.out"), .err = pair.file("client.err")});
  REQUIRE(wait_for_text(pair.file("client.out"), "Gbit/s"));
  client.signal(SIGINT);
  check_end(client, 0, pair.file("client.err"));
  CHECK(read_file(pair.file("client.out")).find("goodput") != std::string::npos);
}

TEST_CASE("nobody listens: connection refused, status 1") {
  const memif_pair pair;
  process server(pair.command("ND_ECHO", true, {"--server", "--port", "4000"}),
                 {.err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false,
                              {"--client", memif_pair::address(true) + ":4001", "--wait", "0.5"}),
                 {.err = pair.file("client.err")});
  check_end(client, 1, pair.file("client.err"));
  CHECK(read_file(pair.file("client.err")).find("connection refused") != std::string::npos);
}

TEST_CASE("nobody has that address: host unreachable, status 1") {
  const memif_pair pair;
  process server(pair.command("ND_ECHO", true, {"--server"}), {.err = pair.file("server.err")});
  process client(pair.command("ND_ECHO", false, {"--client", "10.19.0.77", "--wait", "0.5"}),
                 {.err = pair.file("client.err")});
  check_end(client, 1, pair.file("client.err"));
  CHECK(read_file(pair.file("client.err")).find("host unreachable") != std::string::npos);
}

TEST_CASE("bad options are refused with status 2 and the nearest right one") {
  struct row {
    words arguments;
    const char* message;
  };
  const auto [arguments, message] = GENERATE(values<row>({
      {{"--server", "--set", "mtuu=1500"}, "did you mean 'mtu'"},
      {{"--server", "--set", "mtu=70000"}, "outside 0 .. 9000"},
      {{"--server", "--set", "keepalive=5"}, "a time such as"},
      {{"--server", "--encap", "tcp"}, "ip|udp"},
      {{"--server", "--fault", "loss=2"}, "probability"},
      {{"--server", "--ip", "10.0.0.1"}, "A.B.C.D/N"},
      {{"--server", "--config", "/nonexistent.toml"}, "/nonexistent.toml"},
      {{"--server", "--bogus"}, "--bogus"},
      {{"--client", "10.19.0.1", "--mode", "sideways"}, "mode"},
      {{}, "role"},
  }));
  const memif_pair pair;
  process echo(pair.command("ND_ECHO", true, arguments), {.err = pair.file("err")});
  check_end(echo, 2, pair.file("err"));
  CHECK(read_file(pair.file("err")).find(message) != std::string::npos);
}

TEST_CASE("blocks that are lent to the stack, contents checked") {
  const std::string encap = GENERATE("ip", "udp");
  const std::string wire = GENERATE("clear", "bad", "no checksums", "copies");
  CAPTURE(encap, wire);
  words nd_options{"--encap", encap};
  const auto add = [&](const words& more) {
    nd_options.insert(nd_options.end(), more.begin(), more.end());
  };
  if (wire == "bad") add({"--fault", "loss=0.02,dup=0.02,reorder=0.05,corrupt=0.005,seed=11"});
  if (wire == "no checksums") add({"--set", "checksum=none"});
  if (wire == "copies") add({"--set", "zero_copy=off"});
  const nlohmann::json j = run({"--mode", "stream", "--duration", "300ms", "--warmup", "50ms",
                                "--connections", "2", "--zero-copy", "--verify"},
                               nd_options);
  CHECK(j["bytes"] > 0);
  CHECK(j["errors"] == 0);
  CHECK(j["verify_failures"] == 0);
  const auto lent = j["counters"]["lent_bytes_sent"].get<std::uint64_t>();
  const auto by_copy = j["counters"]["lent_by_copy"].get<std::uint64_t>();
  const auto sent = j["counters"]["payload_bytes_sent"].get<std::uint64_t>();
  if (wire == "copies") {
    CHECK(lent == 0);
    CHECK(by_copy + 100 > sent);
  } else {
    CHECK(lent + j["counters"]["lent_bytes_copied"].get<std::uint64_t>() + 100 > sent);
    CHECK(lent > sent / 10 * 9);
    CHECK(by_copy == 0);
  }
}
