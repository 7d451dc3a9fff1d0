// nd-echo: measures libndstack between two hosts.
#include <CLI/CLI.hpp>
#include <nd/nd.hpp>

#include "common/command_line.hpp"
#include "common/nd_main.hpp"
#include "common/signal.hpp"
#include "common/stdout_guard.hpp"
#include "nd-echo/client.hpp"
#include "nd-echo/demo.hpp"
#include "nd-echo/nd_network.hpp"
#include "nd-echo/options.hpp"
#include "nd-echo/ring_demo.hpp"
#include "nd-echo/server.hpp"
#include "nd-echo/summary.hpp"

namespace {

using namespace nd::apps;
using namespace nd::apps::echo;

int run(int argc, char** argv, const options& o) {
  const stdout_guard guard;
  const output out(guard.fd(), o.json);
  nd::runtime rt(argc, argv);
  const stop_hook hook([](void* r) { static_cast<nd::runtime*>(r)->interrupt(); }, &rt);
  nd_network net(rt);
  summary s = o.role == role::server ? run_server(net, o, out, "nd-echo")
                                     : run_client(net, o, out, "nd-echo");
  s.tool = "nd-echo";
  s.encap = rt.setting("encap");
  s.checksum = rt.setting("checksum");
  for (const nd::counter& c : rt.stats()) s.counters.emplace_back(c.name, c.value);
  const bool written = out.results(s);
  return s.good() && written ? exit_good : exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures libndstack: round trips, messages a second, goodput.", "nd-echo");
  prepare(app, "Usage: nd-echo [EAL options] -- ROLE [options]");
  app.footer(
      "\nLatency is a round trip; goodput is what the other side has received.\n"
      "Exit code: 0 good, 1 the run failed, 2 the command line is wrong.");
  option_parser parser(app, true);
  add_nd_options(app);
  const command_line arguments(argc, argv);
  if (const auto code = parse(app, arguments)) return *code;
  if (const std::string wrong = parser.finish(); !wrong.empty()) return usage_error(app, wrong);

  if (parser.result().role == role::demo && !arguments.eal.empty()) {
    return usage_error(app, "--demo chooses the EAL options itself; it takes none");
  }
  catch_stop_signals();
  const options& o = parser.result();
  return guarded("nd-echo", [&] {
    if (o.role != role::demo) return run(argc, argv, o);
    return o.ring ? run_ring_demo(o, arguments.app) : run_demo(o, arguments.app);
  });
}
