// nd-echo and nd-cat over interfaces of the kernel: af_packet and af_xdp on a veth pair, and tap.
#include <signal.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "kernel_link.hpp"
#include "real_files.hpp"

using namespace nd::e2e;

namespace {

constexpr std::uint64_t MiB = 1 << 20;

/// One run of nd-echo; both ends must end well. Returns the client's JSON.
nlohmann::json run(const kernel_link& link, const words& client_options, const words& nd_options) {
  words server_words{"--server", "--once"};
  words client_words{"--client",   kernel_link::server_address(),
                     "--duration", "200ms",
                     "--warmup",   "50ms",
                     "--verify",   "--json",
                     "-"};
  for (words* w : {&server_words, &client_words}) {
    w->insert(w->end(), patient.begin(), patient.end());
    w->insert(w->end(), nd_options.begin(), nd_options.end());
  }
  client_words.insert(client_words.end(), client_options.begin(), client_options.end());
  process server(link.command("ND_ECHO", true, server_words), {.err = link.file("server.err")});
  link.server_started();
  process client(link.command("ND_ECHO", false, client_words),
                 {.out = link.file("client.json"), .err = link.file("client.err")});
  check_end(client, 0, link.file("client.err"));
  check_end(server, 0, link.file("server.err"));
  nlohmann::json j = nlohmann::json::parse(read_file(link.file("client.json")));
  CHECK(j["counters"]["payload_bytes_sent"] > 0);
  CHECK(j["errors"] == 0);
  CHECK(j["verify_failures"] == 0);
  CHECK(j["counters"]["drop_checksum"] == 0);
  return j;
}

/// Bytes of the largest packets that a stream filled, about.
double mean_frame(const nlohmann::json& j) {
  return j["counters"]["tx_bytes"].get<double>() / j["counters"]["tx_packets"].get<double>();
}

}  // namespace

TEST_CASE("every mode over kernel interfaces, contents checked", "[veth][long]") {
  ND_NEEDS_VETH();
  const std::string driver = GENERATE("af_packet", "af_xdp", "tap");
  const kernel_link link(driver);
  for (const char* encap : {"ip", "udp"}) {
    for (const char* mode : {"rr", "stream", "pipeline", "crr"}) {
      CAPTURE(driver, encap, mode);
      const nlohmann::json j = run(link, {"--mode", mode}, {"--encap", encap});
      CHECK(j["mode"] == mode);
      CHECK(j["encap"] == encap);
    }
  }
}

TEST_CASE("the largest packets that driver and interface take", "[veth]") {
  ND_NEEDS_VETH();
  struct row {
    const char* driver;
    unsigned interface_mtu;
    unsigned mtu;
  };
  // af_xdp: a frame and its mbuf fit a page. veth takes an XDP program up to 3506. tap: the driver
  // says 1522 bytes a frame, and its interface starts with an MTU of 1500.
  const row r = GENERATE(row{"af_packet", 9000, 9000}, row{"af_xdp", 3498, 3358});
  const std::string encap = GENERATE("ip", "udp");
  CAPTURE(r.driver, encap);
  const kernel_link link(r.driver, r.interface_mtu);
  const nlohmann::json j = run(link, {"--mode", "stream"}, {"--encap", encap});
  CHECK(mean_frame(j) > r.mtu * 0.8);
  CHECK(j["counters"]["mtu_black_holes"] == 0);

  process too_large(
      link.command("ND_ECHO", true, {"--server", "--set", "mtu=" + std::to_string(r.mtu + 1)}),
      {.err = link.file("err")});
  check_end(too_large, 2, link.file("err"));
  const std::string limit = r.mtu < 9000 ? ".. " + std::to_string(r.mtu) : "0 .. 9000";
  CHECK(read_file(link.file("err")).find(limit) != std::string::npos);
}

TEST_CASE("real files over kernel interfaces", "[veth]") {
  ND_NEEDS_VETH();
  const std::string driver = GENERATE("af_packet", "af_xdp", "tap");
  const std::string encap = GENERATE("ip", "udp");
  CAPTURE(driver, encap);
  const kernel_link link(driver);
  const std::uint64_t bytes = sanitized() ? 2 * MiB : 16 * MiB;
  gather(link.file("sent"), bytes);
  std::filesystem::resize_file(link.file("sent"), bytes);
  words listen{"--listen", "5000", "--encap", encap};
  words send{kernel_link::server_address(), "5000", "--encap", encap};
  for (words* w : {&listen, &send}) w->insert(w->end(), patient.begin(), patient.end());
  process receiver(link.command("ND_CAT", true, listen),
                   {.out = link.file("received"), .err = link.file("receiver.err")});
  link.server_started();
  process sender(link.command("ND_CAT", false, send),
                 {.in = link.file("sent"), .err = link.file("sender.err")});
  check_end(sender, 0, link.file("sender.err"));
  check_end(receiver, 0, link.file("receiver.err"));
  CHECK(sha256(link.file("received")) == sha256(link.file("sent")));
}

TEST_CASE("a peer that is killed on a kernel interface is an error within 500 ms", "[veth]") {
  ND_NEEDS_VETH();
  const std::string driver = GENERATE("af_packet", "af_xdp", "tap");
  // tap: the server's death takes the interface away; the client's leaves it.
  const bool kill_server = GENERATE(true, false);
  CAPTURE(driver, kill_server);
  const kernel_link link(driver);
  auto server = std::make_unique<process>(link.command("ND_ECHO", true, {"--server"}),
                                          redirects{.err = link.file("server.err")});
  link.server_started();
  auto client = std::make_unique<process>(
      link.command("ND_ECHO", false,
                   {"--client", kernel_link::server_address(), "--mode", "stream", "--duration",
                    "60s", "--interval", "0.1"}),
      redirects{.out = link.file("client.out"), .err = link.file("client.err")});
  REQUIRE(wait_for_text(link.file("client.out"), "Gbit/s"));

  const auto& victim = kill_server ? server : client;
  const auto survivor_err = link.file(kill_server ? "client.err" : "server.err");
  victim->signal(SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  const bool noticed = wait_for_text(survivor_err, "peer lost", std::chrono::seconds(5));
  const auto took = std::chrono::steady_clock::now() - killed;
  INFO(read_file(survivor_err));
  CHECK(noticed);
  CHECK(took <= std::chrono::milliseconds(500));

  if (kill_server) {
    check_end(*client, 1, survivor_err);
    return;
  }
  // The server lives, and serves the next one. af_xdp: whose interface still has the dead one's
  // XDP program.
  process next(link.command("ND_ECHO", false,
                            {"--client", kernel_link::server_address(), "--duration", "100ms"}),
               {.err = link.file("next.err")});
  check_end(next, 0, link.file("next.err"));
  server->signal(SIGINT);
  check_end(*server, 1, survivor_err);  // its run had an error, and it says so
}

TEST_CASE("a device that cannot be is refused with its reason", "[veth]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  const auto refused = [&](const std::string& vdev, const std::string& reason) {
    CAPTURE(vdev);
    process p(pair.command("ND_ECHO", true, vdev, {"--server"}), {.err = pair.file("err")});
    check_end(p, 1, pair.file("err"));
    CHECK(read_file(pair.file("err")).find(reason) != std::string::npos);
  };
  refused("net_af_packet,iface=nd7", "no interface 'nd7'");
  refused("net_af_xdp,iface=nd7", "no interface 'nd7'");
  refused("net_af_packet,qpairs=1", "iface= is missing");
}
