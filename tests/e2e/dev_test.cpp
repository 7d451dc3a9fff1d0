// Start without knowledge (--dev), ping, and an interface that goes away.
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <future>
#include <nlohmann/json.hpp>

#include "veth_pair.hpp"

using namespace nd::e2e;

namespace {

std::uint16_t checksum(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<std::uint16_t>(~sum));
}

/// How many of `count` echo requests with `size` bytes of data come back as they were.
int ping(const std::string& address, std::size_t size, int count) {
  const int fd = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
  const timeval limit{2, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const int dont_fragment = IP_PMTUDISC_DO;
  setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &dont_fragment, sizeof dont_fragment);
  sockaddr_in there{};
  there.sin_family = AF_INET;
  inet_pton(AF_INET, address.c_str(), &there.sin_addr);
  int answered = 0;
  for (int i = 0; i < count; ++i) {
    std::vector<std::uint8_t> request(sizeof(icmphdr) + size);
    for (std::size_t at = sizeof(icmphdr); at < request.size(); ++at)
      request[at] = static_cast<std::uint8_t>(at * 3);
    request[0] = ICMP_ECHO;
    request[7] = static_cast<std::uint8_t>(i);
    const std::uint16_t sum = checksum(request);
    std::memcpy(&request[2], &sum, sizeof sum);
    sendto(fd, request.data(), request.size(), 0, reinterpret_cast<const sockaddr*>(&there),
           sizeof there);
    std::vector<std::uint8_t> answer(65536);
    for (;;) {
      const ssize_t n = recv(fd, answer.data(), answer.size(), 0);
      if (n < 0) break;
      const std::size_t length = static_cast<std::size_t>(n);
      // Behind the IP header: type 0, and from the identifier on what was sent.
      if (length != sizeof(iphdr) + request.size() || answer[sizeof(iphdr)] != ICMP_ECHOREPLY ||
          !std::equal(request.begin() + 4, request.end(), answer.begin() + sizeof(iphdr) + 4))
        continue;
      ++answered;
      break;
    }
  }
  close(fd);
  return answered;
}

}  // namespace

TEST_CASE("two hosts that know nothing but an interface's name", "[veth][dev]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  words server_words{"--server", "--dev", "nd0", "--once"};
  words client_words{"--client", veth_pair::kernel_address(true),
                     "--dev",    "nd0",
                     "--mode",   "pipeline",
                     "--wait",   "20",
                     "--verify", "--duration",
                     "300ms",    "--json",
                     "-"};
  for (words* w : {&server_words, &client_words})
    w->insert(w->end(), patient.begin(), patient.end());
  process server(pair.plain_command(true, "ND_ECHO", server_words),
                 {.err = pair.file("server.err")});
  process client(pair.plain_command(false, "ND_ECHO", client_words),
                 {.out = pair.file("client.json"), .err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  check_end(server, 0, pair.file("server.err"));
  const auto j = nlohmann::json::parse(read_file(pair.file("client.json")));
  CHECK(j["messages"] > 0);
  CHECK(j["verify_failures"] == 0);
  // The kernel has the address: it asks, and it answers.
  CHECK(j["counters"]["arp_requests_sent"] == 0);
  CHECK(j["counters"]["arp_replies_sent"] == 0);
  const std::string said = read_file(pair.file("server.err"));
  for (const char* text : {"nd: nd0: 10.77.0.1/24", "nd: device: ", "nd: memory: ", "nd: lcores: ",
                           "nd: EAL options: ", "iface=nd0", "--file-prefix=nd-nd0-"}) {
    CAPTURE(text);
    CHECK(said.find(text) != std::string::npos);
  }
  const std::string prefix = "nd-nd0-";
  const auto at = said.find(prefix);
  const std::string folder = said.substr(at, said.find_first_of(" \n", at) - at);
  CHECK(folder.size() > prefix.size());
  CHECK_FALSE(std::filesystem::exists("/var/run/dpdk/" + folder));
}

TEST_CASE("--dev says what is wrong with an interface", "[veth][dev]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  const auto refused = [&pair](const std::string& dev) {
    process echo(pair.plain_command(true, "ND_ECHO", {"--server", "--dev", dev}),
                 {.err = pair.file("err")});
    check_end(echo, 2, pair.file("err"));
    return read_file(pair.file("err"));
  };
  using Catch::Contains;
  CHECK_THAT(refused("nd1"), Contains("no interface 'nd1'; did you mean 'nd0'?"));
  CHECK_THAT(refused("lo"), Contains("lo is not an Ethernet interface"));
  pair.ip(true, {"address", "flush", "dev", "nd0"});
  CHECK_THAT(refused("nd0"), Contains("nd0 has no IPv4 address"));
  pair.ip(true, {"link", "set", "nd0", "down"});
  CHECK_THAT(refused("nd0"), Contains("nd0 is down"));
}

TEST_CASE("ping of a host with an address of its own, up to the MTU", "[veth][dev]") {
  ND_NEEDS_VETH();
  const std::string driver = GENERATE("net_af_packet", "net_af_xdp");
  CAPTURE(driver);
  const veth_pair pair;
  pair.ip(false, {"address", "add", "10.19.0.9/24", "dev", "nd0"});
  process server(pair.command("ND_ECHO", true, driver + ",iface=nd0", {"--server"}),
                 {.err = pair.file("server.err")});
  auto answered = std::async(std::launch::async, [&pair] {
    pair.enter(false);
    for (int tries = 0; tries < 10 && ping(veth_pair::nd_address(true), 56, 1) == 0; ++tries) {
    }
    return std::pair(ping(veth_pair::nd_address(true), 56, 20),
                     ping(veth_pair::nd_address(true), 1472, 20));
  });
  const auto [small, full] = answered.get();
  INFO(read_file(pair.file("server.err")));
  CHECK(small == 20);
  CHECK(full == 20);
}

TEST_CASE("packets that a device keeps in part are told of", "[veth][dev]") {
  ND_NEEDS_VETH();
  const veth_pair pair(9000);
  pair.ip(false, {"address", "add", "10.19.0.9/24", "dev", "nd0"});
  process server(
      pair.command("ND_ECHO", true, "net_af_packet,iface=nd0,framesz=2048", {"--server"}),
      {.err = pair.file("server.err")});
  const auto answered =
      std::async(std::launch::async, [&pair] {
        pair.enter(false);
        for (int tries = 0; tries < 10 && ping(veth_pair::nd_address(true), 56, 1) == 0; ++tries) {
        }
        return ping(veth_pair::nd_address(true), 4000, 1);
      }).get();
  CHECK(answered == 0);
  CHECK(wait_for_text(pair.file("server.err"), "10.19.0.9 sends packets of 4028 bytes"));
  server.signal(SIGINT);
  check_end(server, 0, pair.file("server.err"));
}

TEST_CASE("a link that flaps is told; a removed interface ends the program with 1", "[veth][dev]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  pair.ip(false, {"address", "add", "10.19.0.9/24", "dev", "nd0"});
  process server(pair.command("ND_ECHO", true, "net_af_packet,iface=nd0", {"--server"}),
                 {.err = pair.file("server.err")});
  // The kernel of the other end finds it: it runs.
  std::async(std::launch::async, [&pair] {
    pair.enter(false);
    for (int tries = 0; tries < 10 && ping(veth_pair::nd_address(true), 56, 1) == 0; ++tries) {
    }
  }).get();
  pair.ip(false, {"link", "set", "nd0", "down"});
  CHECK(wait_for_text(pair.file("server.err"), "nd: the link is down"));
  pair.ip(false, {"link", "set", "nd0", "up"});
  CHECK(wait_for_text(pair.file("server.err"), "nd: the link is up again"));
  pair.ip(true, {"link", "del", "nd0"});
  check_end(server, 1, pair.file("server.err"));
  const std::string said = read_file(pair.file("server.err"));
  CHECK_THAT(said, Catch::Contains("nd: the interface was removed") &&
                       Catch::Contains("no usable device"));
}
