// An interface that the kernel keeps while ND runs on it by af_xdp.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <future>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "veth_pair.hpp"

using namespace nd::e2e;

namespace {

const std::string vdev = "net_af_xdp,iface=nd0";
constexpr std::size_t block = 16384;
constexpr unsigned blocks = 64;
constexpr unsigned pings = 25;

/// A socket that gives up a call after two seconds and is closed at the end.
class kernel_socket {
 public:
  kernel_socket(int domain, int type, int protocol) : fd_(socket(domain, type, protocol)) {
    patience();
  }
  explicit kernel_socket(int fd) : fd_(fd) { patience(); }
  ~kernel_socket() { close(fd_); }
  kernel_socket(const kernel_socket&) = delete;
  kernel_socket& operator=(const kernel_socket&) = delete;
  int get() const noexcept { return fd_; }

 private:
  void patience() const {
    const timeval limit{.tv_sec = 2, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  int fd_;
};

sockaddr_in address_of(const std::string& ip, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, ip.c_str(), &a.sin_addr);
  return a;
}

const sockaddr* generic(const sockaddr_in& a) {
  return reinterpret_cast<const sockaddr*>(&a);
}

std::uint8_t byte_at(std::uint64_t offset) {
  return static_cast<std::uint8_t>(offset * 7 + (offset >> 11));
}

/// Takes one kernel TCP connection on the first host; how many bytes came as they should.
std::uint64_t receive_tcp(const veth_pair& pair, std::promise<void>& listening) {
  pair.enter(true);
  const kernel_socket listener(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in here = address_of(veth_pair::kernel_address(true), 7000);
  bind(listener.get(), generic(here), sizeof here);
  listen(listener.get(), 1);
  listening.set_value();
  const kernel_socket s(accept(listener.get(), nullptr, nullptr));
  std::array<std::uint8_t, block> bytes;
  std::uint64_t received = 0;
  for (ssize_t n; (n = recv(s.get(), bytes.data(), bytes.size(), 0)) > 0;)
    for (ssize_t i = 0; i < n; ++i, ++received)
      if (bytes[static_cast<std::size_t>(i)] != byte_at(received)) return received;
  return received;
}

/// Sends `blocks` to receive_tcp() from the second host.
std::uint64_t send_tcp(const veth_pair& pair) {
  pair.enter(false);
  const kernel_socket s(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in there = address_of(veth_pair::kernel_address(true), 7000);
  if (connect(s.get(), generic(there), sizeof there) != 0) return 0;
  std::uint64_t sent = 0;
  std::array<std::uint8_t, block> bytes;
  while (sent < blocks * block) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_at(sent + i);
    if (send(s.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != ssize_t{block}) break;
    sent += bytes.size();
  }
  return sent;
}

/// Pings the first host's kernel from the second one, `pings` times; how many were answered.
unsigned ping(const veth_pair& pair) {
  pair.enter(false);
  const kernel_socket s(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  const sockaddr_in there = address_of(veth_pair::kernel_address(true), 0);
  connect(s.get(), generic(there), sizeof there);
  unsigned answered = 0;
  for (unsigned sent = 0; sent < pings && answered == sent; ++sent) {
    icmphdr echo{};
    echo.type = ICMP_ECHO;
    echo.un.echo.sequence = htons(static_cast<std::uint16_t>(sent));
    // RFC 1071 over four words, of which the checksum is one.
    echo.checksum = htons(static_cast<std::uint16_t>(~(sent + 0x0800u)));
    send(s.get(), &echo, sizeof echo, 0);
    struct {
      iphdr ip;
      icmphdr icmp;
    } answer{};
    while (recv(s.get(), &answer, sizeof answer, 0) >= ssize_t{sizeof answer}) {
      if (answer.icmp.type != ICMP_ECHOREPLY ||
          answer.icmp.un.echo.sequence != echo.un.echo.sequence)
        continue;
      ++answered;
      break;
    }
  }
  return answered;
}

/// A TCP transfer from the second host's kernel to the first one's, and pings beside it.
void use_kernel(const veth_pair& pair) {
  std::promise<void> listening;
  auto receiver = std::async(std::launch::async, [&] { return receive_tcp(pair, listening); });
  listening.get_future().wait();
  auto sender = std::async(std::launch::async, [&] { return send_tcp(pair); });
  auto pinger = std::async(std::launch::async, [&] { return ping(pair); });
  CHECK(sender.get() == blocks * block);
  CHECK(receiver.get() == blocks * block);
  CHECK(pinger.get() == pings);
}

std::size_t lines(const std::filesystem::path& path) {
  return static_cast<std::size_t>(std::ranges::count(read_file(path), '\n'));
}

/// Waits until nd-echo has written so many lines, one an --interval.
void wait_for_lines(const std::filesystem::path& path, std::size_t count) {
  for (int tries = 0; tries < 500 && lines(path) < count; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  REQUIRE(lines(path) >= count);
}

/// The Gbit/s of the lines from `first` on that nd-echo --interval has written.
std::vector<double> rates(const std::filesystem::path& path, std::size_t first, std::size_t end) {
  std::istringstream text(read_file(path));
  std::vector<double> out;
  std::string line;
  for (std::size_t i = 0; i < end && std::getline(text, line); ++i) {
    double at = 0, rate = 0;
    REQUIRE(std::sscanf(line.c_str(), "%lf s %lf Gbit/s", &at, &rate) == 2);
    if (i >= first) out.push_back(rate);
  }
  return out;
}

double median(std::vector<double> of) {
  std::ranges::sort(of);
  return of.at(of.size() / 2);
}

}  // namespace

TEST_CASE("kernel TCP and ping go on while ND runs on the interface by af_xdp", "[veth]") {
  ND_NEEDS_VETH();
  const bool same_address = GENERATE(false, true);
  const std::string encap = GENERATE("ip", "udp");
  CAPTURE(same_address, encap);
  const veth_pair pair;
  const auto address = [&](bool first) {
    return same_address ? veth_pair::kernel_address(first) : veth_pair::nd_address(first);
  };
  const auto echo = [&](bool first, words options) {
    options.insert(options.end(), {"--encap", encap, "--set", "peer_timeout=10s"});
    return pair.command_in(first, "ND_ECHO", first, vdev, address(first), options);
  };
  process server(echo(true, {"--server", "--once"}), {.err = pair.file("server.err")});
  process client(echo(false, {"--client", address(true), "--mode", "stream", "--duration", "60s",
                              "--verify", "--interval", "0.1", "--json", "-"}),
                 {.out = pair.file("json"), .err = pair.file("client.err")});
  REQUIRE(wait_for_text(pair.file("client.err"), "Gbit/s"));
  CHECK(pair.ip(true, {"link", "show", "nd0"}).find(" xdp ") != std::string::npos);

  use_kernel(pair);
  // ND has not stopped meanwhile: another line every 100 ms.
  const std::size_t said = lines(pair.file("client.err"));
  wait_for_lines(pair.file("client.err"), said + 1);

  client.signal(SIGINT);
  check_end(client, 0, pair.file("client.err"));
  check_end(server, 0, pair.file("server.err"));
  const nlohmann::json j = nlohmann::json::parse(read_file(pair.file("json")));
  CHECK(j["verify_failures"] == 0);
  CHECK(j["errors"] == 0);
  CHECK(j["goodput_gbps"].get<double>() > 0.01);
  // The program goes with the process.
  CHECK(pair.ip(true, {"link", "show", "nd0"}).find(" xdp ") == std::string::npos);
}

TEST_CASE("ND keeps its goodput while the kernel uses the interface beside it", "[veth][long]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  words server_words{"--server", "--once"};
  words client_words{"--client",   veth_pair::nd_address(true),
                     "--mode",     "stream",
                     "--duration", "60s",
                     "--interval", "0.1"};
  for (words* w : {&server_words, &client_words})
    w->insert(w->end(), patient.begin(), patient.end());
  process server(pair.command("ND_ECHO", true, vdev, server_words),
                 {.err = pair.file("server.err")});
  const auto out = pair.file("client.out");
  process client(pair.command("ND_ECHO", false, vdev, client_words),
                 {.out = out, .err = pair.file("client.err")});
  REQUIRE(wait_for_text(out, "Gbit/s"));

  // In turns, so that what else the machine does meets both.
  constexpr std::size_t phase = 7;
  std::vector<double> alone, beside;
  unsigned uses = 0;
  for (int turn = 0; turn < 6; ++turn) {
    // The line that is under way belongs to the turn before.
    const std::size_t first = lines(out) + 1;
    const bool busy = turn % 2 == 1;
    while (busy && lines(out) < first + phase) {
      use_kernel(pair);
      ++uses;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    wait_for_lines(out, first + phase);
    std::ranges::copy(rates(out, first, first + phase), std::back_inserter(busy ? beside : alone));
  }
  client.signal(SIGINT);
  check_end(client, 0, pair.file("client.err"));
  check_end(server, 0, pair.file("server.err"));
  WARN("ND over af_xdp: " << median(alone) << " Gbit/s alone, " << median(beside)
                          << " Gbit/s while the kernel moved " << uses << " x 1 MiB by TCP and "
                          << uses * pings << " pings over the same interface");
  CHECK(median(alone) > 0.01);
  // Generous: the kernel traffic takes its part of the cores, which may be two.
  CHECK(median(beside) > median(alone) * 0.6);
}

TEST_CASE("one process an interface, and what a killed one left is removed", "[veth]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  const words listen{"--server", "--once", "--set", "peer_timeout=10s"};
  process first(pair.command("ND_ECHO", true, vdev, listen), {.err = pair.file("first.err")});
  REQUIRE(pair.wait_for_link_text(true, " xdp "));
  process second(pair.command("ND_ECHO", true, vdev, listen), {.err = pair.file("second.err")});
  check_end(second, 1, pair.file("second.err"));
  CHECK(read_file(pair.file("second.err")).find("another process") != std::string::npos);

  first.signal(SIGKILL);
  CHECK(first.wait() == 128 + SIGKILL);
  CHECK(pair.ip(true, {"link", "show", "nd0"}).find(" xdp ") != std::string::npos);
  process third(pair.command("ND_ECHO", true, vdev, listen), {.err = pair.file("third.err")});
  process client(pair.command("ND_ECHO", false, vdev,
                              {"--client", veth_pair::nd_address(true), "--duration", "100ms",
                               "--set", "peer_timeout=10s"}),
                 {.err = pair.file("client.err")});
  check_end(client, 0, pair.file("client.err"));
  check_end(third, 0, pair.file("third.err"));
  CHECK(pair.ip(true, {"link", "show", "nd0"}).find(" xdp ") == std::string::npos);
}

TEST_CASE("an XDP program of somebody else is left alone", "[veth]") {
  ND_NEEDS_VETH();
  const veth_pair pair;
  const char* program = std::getenv("ND_FOREIGN_XDP");
  REQUIRE(program != nullptr);
  pair.ip(true, {"link", "set", "dev", "nd0", "xdp", "obj", program, "sec", "xdp"});
  process p(pair.command("ND_ECHO", true, vdev, {"--server"}), {.err = pair.file("err")});
  check_end(p, 1, pair.file("err"));
  CHECK(read_file(pair.file("err"))
            .find("'foreign_pass'; if nobody needs it: ip link set dev nd0 "
                  "xdp off") != std::string::npos);
  CHECK(pair.ip(true, {"link", "show", "nd0"}).find(" xdp ") != std::string::npos);
}
