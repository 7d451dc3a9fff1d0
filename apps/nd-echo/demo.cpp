#include "nd-echo/demo.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/command_line.hpp"
#include "common/signal.hpp"
#include "nd-echo/child.hpp"

namespace nd::apps::echo {
namespace {

using std::chrono::steady_clock;

// The two ends' CPUs: the first two that we may use, or one for both.
std::array<int, 2> choose_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> allowed;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(static_cast<std::size_t>(i), &set)) allowed.push_back(i);
    }
  }
  if (allowed.empty()) allowed.push_back(0);
  return {allowed.front(), allowed.size() > 1 ? allowed[1] : allowed.front()};
}

class demo {
 public:
  demo(const options& o, std::vector<std::string> passed_on)
      : options_(o), passed_on_(std::move(passed_on)), cpus_(choose_cpus()) {}

  int run() {
    for (const mode m : {mode::rr, mode::pipeline, mode::stream, mode::crr, mode::mixed}) {
      if (const int code = run_mode(m); code != exit_good) return code;
      if (stop_requested()) break;
    }
    return exit_good;
  }

 private:
  std::vector<std::string> common_arguments(bool server) const {
    const std::string name = server ? "server" : "client";
    const std::string socket = (folder_.path() / "memif.sock").string();
    return {
        "-l",
        std::to_string(cpus_[server ? 0 : 1]),
        "--no-huge",
        "-m",
        "256",
        "--no-pci",
        "--no-telemetry",
        fmt::format("--file-prefix=nd-echo-{}-{}", ::getpid(), name),
        fmt::format("--vdev=net_memif0,role={},socket={},socket-abstract=no,bsize=9216,rsize=10",
                    name, socket),
        "--",
        "--ip",
        server ? "10.19.0.1/24" : "10.19.0.2/24"};
  }

  int run_mode(mode m) {
    const std::filesystem::path server_log = folder_.path() / "server.log";
    const std::filesystem::path client_log = folder_.path() / "client.log";
    std::vector<std::string> arguments = common_arguments(true);
    arguments.insert(arguments.end(), passed_on_.begin(), passed_on_.end());
    arguments.insert(arguments.end(), {"--server", "--once"});
    child server(arguments, server_log, false);

    arguments = common_arguments(false);
    for (const char* text : {"--warmup", "200ms", "--verify", "--duration"}) {
      arguments.emplace_back(text);
    }
    arguments.push_back(fmt::format("{}ns", options_.duration.count()));
    arguments.insert(arguments.end(), passed_on_.begin(), passed_on_.end());
    arguments.insert(arguments.end(), {"--client", "10.19.0.1", "--mode"});
    arguments.emplace_back(to_string(m));
    child client(arguments, client_log, true);

    const auto limit = steady_clock::now() + options_.duration + std::chrono::seconds(30);
    while (!(client.exit_code() && server.exit_code())) {
      // A server that cannot start, or a client that failed: the other one would wait in vain.
      const bool lost = server.exit_code().value_or(0) != 0 || client.exit_code().value_or(0) != 0;
      if (stop_requested() || lost || steady_clock::now() > limit) break;
      ::poll(nullptr, 0, 10);
    }
    if (stop_requested()) return exit_good;
    if (client.exit_code() == exit_good && server.exit_code() == exit_good) return exit_good;
    show("server", server.exit_code(), server_log);
    show("client", client.exit_code(), client_log);
    const int worst = std::max(client.exit_code().value_or(0), server.exit_code().value_or(0));
    return worst == exit_usage ? exit_usage : exit_failed;
  }

  static void show(const char* who, std::optional<int> code, const std::filesystem::path& log) {
    std::ifstream in(log);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    fmt::print(stderr, "nd-echo: the {} {}; it said:\n{}", who,
               code ? fmt::format("ended with {}", *code) : "did not end", text);
  }

  const options& options_;
  std::vector<std::string> passed_on_;
  std::array<int, 2> cpus_;
  private_folder folder_;
};

}  // namespace

int run_demo(const options& o, const std::vector<std::string>& arguments) {
  std::vector<std::string> passed_on;
  std::ranges::copy_if(arguments, std::back_inserter(passed_on),
                       [](const std::string& a) { return !a.starts_with("--demo"); });
  fmt::print("nd-echo: two processes over memif, every byte checked at both ends\n");
  std::fflush(stdout);
  return demo(o, std::move(passed_on)).run();
}

}  // namespace nd::apps::echo
