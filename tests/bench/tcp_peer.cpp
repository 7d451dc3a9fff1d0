// tcp-peer: what nd-echo does, over kernel TCP: the opponent in scripts/demo and scripts/bench.
#include <sched.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <string>
#include <system_error>

#include "common/command_line.hpp"
#include "common/signal.hpp"
#include "common/stdout_guard.hpp"
#include "nd-echo/client.hpp"
#include "nd-echo/options.hpp"
#include "nd-echo/server.hpp"
#include "nd-echo/summary.hpp"
#include "tcp_network.hpp"

namespace {

using namespace nd::apps;
using namespace nd::apps::echo;

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) {
    throw std::system_error(errno, std::generic_category(), "--cpu " + std::to_string(cpu));
  }
}

int run(const options& o, bool spin, const std::string& congestion) {
  const stdout_guard guard;
  const output out(guard.fd(), o.json);
  nd::bench::tcp_network net(spin, congestion);
  summary s = o.role == role::server ? run_server(net, o, out, "tcp-peer")
                                     : run_client(net, o, out, "tcp-peer");
  s.tool = "tcp-peer";
  s.encap = "tcp";
  const bool written = out.results(s);
  return s.good() && written ? exit_good : exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Runs the loops of nd-echo over kernel TCP.", "tcp-peer");
  prepare(app, "Usage: tcp-peer ROLE [options]");
  option_parser parser(app, false);
  bool spin = false;
  int cpu = -1;
  std::string congestion;
  app.add_flag("--spin", spin, "try to receive in a loop; default: sleep until something comes")
      ->group("Kernel TCP");
  app.add_option("--cpu", cpu, "pin to this CPU")
      ->type_name("N")
      ->check(CLI::Range(0, CPU_SETSIZE - 1))
      ->group("Kernel TCP");
  app.add_option("--congestion", congestion, "congestion control; default: the system's")
      ->type_name("NAME")
      ->group("Kernel TCP");
  if (const auto code = parse(app, command_line(argc, argv))) return *code;
  if (const std::string wrong = parser.finish(); !wrong.empty()) return usage_error(app, wrong);

  catch_stop_signals();
  try {
    if (cpu >= 0) pin_to(cpu);
    return run(parser.result(), spin, congestion);
  } catch (const std::exception& error) {
    fmt::print(stderr, "tcp-peer: {}\n", error.what());
    return exit_failed;
  }
}
