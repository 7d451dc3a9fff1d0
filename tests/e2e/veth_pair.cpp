#include "veth_pair.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <future>
#include <stdexcept>
#include <thread>

namespace nd::e2e {
namespace {

const std::string all_prefixes = "nd-e2e-";

std::string ip_program() {
  for (const char* path : {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"})
    if (access(path, X_OK) == 0) return path;
  return "";
}

int call_ip(const words& arguments, const redirects& files = {}) {
  words command{ip_program()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return process(command, files).wait(std::chrono::seconds(20));
}

void enter_namespace(const std::string& name) {
  const int fd = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
  const std::string why = std::strerror(errno);
  if (fd >= 0) close(fd);
  if (!done) throw std::runtime_error("setns " + name + ": " + why);
}

/// Namespaces of test processes that have ended without removing them.
void remove_stale() {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns", none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(all_prefixes)) continue;
    const pid_t owner = std::atoi(name.c_str() + all_prefixes.size());
    if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH) call_ip({"netns", "del", name});
  }
}

std::string find_out_why_not() {
  if (geteuid() != 0) return "not root";
  if (ip_program().empty()) return "no program 'ip' (iproute2)";
  remove_stale();
  const temp_dir dir;
  const std::string name = all_prefixes + std::to_string(getpid()) + "-try";
  const int status = call_ip({"netns", "add", name}, {.err = dir / "err"});
  call_ip({"netns", "del", name});
  return status == 0 ? "" : read_file(dir / "err");
}

}  // namespace

std::string veth_pair::why_not() {
  static const std::string reason = find_out_why_not();
  return reason;
}

int veth_pair::run_ip(const words& arguments, const redirects& files) {
  return call_ip(arguments, files);
}

veth_pair::veth_pair(empty) {
  static int pairs = 0;
  prefix_ = all_prefixes + std::to_string(getpid()) + "-" + std::to_string(pairs++);
  for (const bool first : {true, false}) {
    REQUIRE(run_ip({"netns", "add", name(first)}) == 0);
    ip(first, {"link", "set", "lo", "up"});
  }
}

veth_pair::veth_pair(unsigned mtu) : veth_pair(empty()) {
  const std::string bytes = std::to_string(mtu);
  REQUIRE(run_ip({"link", "add", "nd0", "netns", name(true), "mtu", bytes, "type", "veth", "peer",
                  "name", "nd0", "netns", name(false), "mtu", bytes}) == 0);
  for (const bool first : {true, false}) {
    ip(first, {"address", "add", kernel_address(first) + "/24", "dev", "nd0"});
    ip(first, {"link", "set", "nd0", "up"});
  }
}

veth_pair::~veth_pair() {
  for (const bool first : {true, false}) run_ip({"netns", "del", name(first)});
}

words veth_pair::command_in(bool first_namespace, const char* variable, bool first,
                            const std::string& vdev, const std::string& address,
                            const words& nd_options) const {
  const auto comma = vdev.find(',');
  words w{ip_program(),
          "netns",
          "exec",
          name(first_namespace),
          program(variable),
          "--lcores",
          "0@" + cpu_list(first),
          "--no-huge",
          "-m",
          "256",
          "--no-pci",
          "--no-telemetry",
          "--file-prefix",
          name(first),
          "--log-level",
          "lib.eal:error",
          "--vdev=" + vdev.substr(0, comma) + "0" + vdev.substr(comma),
          "--",
          "--ip",
          address + "/24"};
  w.insert(w.end(), nd_options.begin(), nd_options.end());
  return w;
}

words veth_pair::plain_command(bool first, const char* variable, const words& arguments) const {
  words w{ip_program(), "netns", "exec", name(first), program(variable)};
  w.insert(w.end(), arguments.begin(), arguments.end());
  return w;
}

std::string veth_pair::ip(bool first, const words& arguments) const {
  words all{"-n", name(first)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const int status = run_ip(all, {.out = file("ip.out"), .err = file("ip.err")});
  INFO("ip " << arguments.front() << ": " << read_file(file("ip.err")));
  REQUIRE(status == 0);
  return read_file(file("ip.out"));
}

bool veth_pair::wait_for_link_text(bool first, const std::string& text) const {
  for (int tries = 0; tries < 200; ++tries) {
    if (ip(first, {"link", "show", "up"}).find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

void veth_pair::enter(bool first) const {
  enter_namespace(name(first));
}

routed_pair::routed_pair(unsigned mtu, unsigned route_mtu) : veth_pair(empty()) {
  const std::string bytes = std::to_string(mtu);
  const std::string router = router_name();
  REQUIRE(run_ip({"netns", "add", router}) == 0);
  for (const bool first : {true, false}) {
    const std::string end = first ? "left" : "right";
    REQUIRE(run_ip({"link", "add", "nd0", "netns", name(first), "mtu", bytes, "type", "veth",
                    "peer", "name", end, "netns", router, "mtu", bytes}) == 0);
    ip(first, {"address", "add", kernel_address(first) + "/24", "dev", "nd0"});
    ip(first, {"link", "set", "nd0", "up"});
    for (const std::string& address : {gateway(first), kernel_gateway(first)})
      REQUIRE(run_ip({"-n", router, "address", "add", address + "/24", "dev", end}) == 0);
    REQUIRE(run_ip({"-n", router, "link", "set", end, "up"}) == 0);
    if (route_mtu != 0)
      REQUIRE(run_ip({"-n", router, "route", "replace", nd_address(first) + "/32", "dev", end,
                      "mtu", std::to_string(route_mtu)}) == 0);
  }
  std::async(std::launch::async, [&router] {
    enter_namespace(router);
    std::ofstream("/proc/sys/net/ipv4/ip_forward") << "1";
  }).get();
}

routed_pair::~routed_pair() {
  run_ip({"netns", "del", router_name()});
}

}  // namespace nd::e2e
