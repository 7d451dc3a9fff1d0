// The network around two hosts: a router between them, an address that two have, sizes of packets
// that do not fit.
#include <signal.h>

#include <nlohmann/json.hpp>

#include "veth_pair.hpp"

using namespace nd::e2e;
using Catch::Contains;

namespace {

words with_patience(words w, const words& more = {}) {
  w.insert(w.end(), patient.begin(), patient.end());
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

/// nd-echo's client, as it ended.
struct run_result {
  nlohmann::json json;
  std::string server_said;
  std::string client_said;
};

run_result run(const veth_pair& pair, const words& server_command, const words& client_command) {
  process server(server_command, {.err = pair.file("server.err")});
  process client(client_command, {.out = pair.file("json"), .err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  check_end(server, 0, pair.file("server.err"));
  return {nlohmann::json::parse(read_file(pair.file("json"))), read_file(pair.file("server.err")),
          read_file(pair.file("client.err"))};
}

words client_words(const std::string& server, const std::string& mode) {
  return {"--client", server,       "--mode", mode,     "--wait", "20",
          "--verify", "--duration", "300ms",  "--json", "-"};
}

}  // namespace

TEST_CASE("hosts on two links reach each other by the gateway that is set", "[veth][network]") {
  ND_NEEDS_VETH();
  const std::string driver = GENERATE("net_af_packet", "net_af_xdp");
  const std::string encap = GENERATE("ip", "udp");
  CAPTURE(driver, encap);
  const routed_pair pair;
  const auto command = [&](bool first, const words& options) {
    return pair.command_in(
        first, "ND_ECHO", first, driver + ",iface=nd0", routed_pair::nd_address(first),
        with_patience(options,
                      {"--encap", encap, "--set", "gateway=" + routed_pair::gateway(first)}));
  };
  const run_result r = run(pair, command(true, {"--server", "--once"}),
                           command(false, client_words(routed_pair::nd_address(true), "stream")));
  CHECK(r.json["messages"] > 0);
  CHECK(r.json["verify_failures"] == 0);
  CHECK(r.json["counters"]["arp_failed"] == 0);
}

TEST_CASE("hosts on two links reach each other by the kernel's default route", "[veth][network]") {
  ND_NEEDS_VETH();
  const routed_pair pair;
  for (const bool first : {true, false})
    pair.ip(first, {"route", "add", "default", "via", routed_pair::kernel_gateway(first)});
  const run_result r = run(
      pair,
      pair.plain_command(true, "ND_ECHO", with_patience({"--server", "--once", "--dev", "nd0"})),
      pair.plain_command(false, "ND_ECHO",
                         with_patience(client_words(routed_pair::kernel_address(true), "pipeline"),
                                       {"--dev", "nd0"})));
  CHECK(r.json["messages"] > 0);
  CHECK(r.json["verify_failures"] == 0);
}

TEST_CASE("a host on another link without a gateway, or with a dead one", "[veth][network]") {
  ND_NEEDS_VETH();
  const bool dead = GENERATE(false, true);
  CAPTURE(dead);
  const routed_pair pair;
  words options{"--client", routed_pair::nd_address(true), "--wait", "0.2"};
  if (dead) options.insert(options.end(), {"--set", "gateway=10.19.2.253"});
  process client(pair.command_in(false, "ND_ECHO", false, "net_af_packet,iface=nd0",
                                 routed_pair::nd_address(false), options),
                 {.err = pair.file("err")});
  check_end(client, 1, pair.file("err"));
  const std::string said = read_file(pair.file("err"));
  CHECK_THAT(said, Contains("host unreachable"));
  CHECK_THAT(said, Contains(dead ? "the gateway 10.19.2.253 does not answer ARP"
                                 : "no way to 10.19.1.1: it is outside 10.19.2.1/24"));
}

TEST_CASE("an address that another host has too is told at both ends", "[veth][network]") {
  ND_NEEDS_VETH();
  const bool kernel = GENERATE(false, true);
  CAPTURE(kernel);
  const veth_pair pair;
  const std::string address = veth_pair::nd_address(true);
  const std::string vdev = "net_af_packet,iface=nd0";
  if (kernel) pair.ip(false, {"address", "add", address + "/24", "dev", "nd0"});
  process first(pair.command_in(true, "ND_ECHO", true, vdev, address, {"--server"}),
                {.err = pair.file("first.err")});
  const std::string told = address + " is the address of ";
  if (kernel) {
    CHECK(wait_for_text(pair.file("first.err"), told));
  } else {
    process second(pair.command_in(false, "ND_ECHO", false, vdev, address, {"--server"}),
                   {.err = pair.file("second.err")});
    CHECK(wait_for_text(pair.file("first.err"), told));
    CHECK(wait_for_text(pair.file("second.err"), told));
    second.signal(SIGINT);
    check_end(second, 0, pair.file("second.err"));
  }
  first.signal(SIGINT);
  check_end(first, 0, pair.file("first.err"));
}

TEST_CASE("devices that take packets of different sizes work, and it is told", "[veth][network]") {
  ND_NEEDS_VETH();
  const veth_pair pair(9000);
  // Slots of 2048 bytes hold packets of 1968.
  const bool small_server = GENERATE(true, false);
  CAPTURE(small_server);
  const auto command = [&](bool first, const words& options) {
    const std::string slots = first == small_server ? ",framesz=2048" : "";
    return pair.command("ND_ECHO", first, "net_af_packet,iface=nd0" + slots,
                        with_patience(options));
  };
  const run_result r = run(pair, command(true, {"--server", "--once"}),
                           command(false, client_words(veth_pair::nd_address(true), "stream")));
  CHECK(r.json["verify_failures"] == 0);
  CHECK(r.json["counters"]["mtu_differs"] == 1);
  CHECK(r.json["counters"]["drop_cut"] == 0);
  CHECK(r.json["counters"]["path_mtu_limited"] == 0);
  const std::string small = "is 1968, of this host 9000";
  const std::string large = "is 9000, of this host 1968";
  CHECK_THAT(r.server_said, Contains("the MTU of 10.19.0.2 " + (small_server ? large : small)));
  CHECK_THAT(r.client_said, Contains("the MTU of 10.19.0.1 " + (small_server ? small : large)));
}

TEST_CASE("a path that takes less than both ends is found, and told", "[veth][network]") {
  ND_NEEDS_VETH();
  const routed_pair pair(4000, 1600);
  const auto command = [&](bool first, const words& options) {
    return pair.command_in(
        first, "ND_ECHO", first, "net_af_packet,iface=nd0", routed_pair::nd_address(first),
        with_patience(options, {"--set", "gateway=" + routed_pair::gateway(first)}));
  };
  words client = client_words(routed_pair::nd_address(true), "stream");
  client.insert(client.end(), {"--duration", "2s"});  // the search takes some round trips
  const run_result r = run(pair, command(true, {"--server", "--once"}), command(false, client));
  CHECK(r.json["verify_failures"] == 0);
  CHECK(r.json["counters"]["path_mtu_limited"] == 1);
  CHECK(r.json["messages"] > 0);
  CHECK_THAT(r.client_said, Contains("bytes do not reach 10.19.1.1, though both ends take 4000"));
}
