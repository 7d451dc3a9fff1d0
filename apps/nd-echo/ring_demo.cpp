#include "nd-echo/ring_demo.hpp"

#include <array>
#include <barrier>

#include "common/command_line.hpp"
#include "common/signal.hpp"
#include "common/stdout_guard.hpp"
#include "common/two_hosts.hpp"
#include "nd-echo/client.hpp"
#include "nd-echo/nd_network.hpp"
#include "nd-echo/server.hpp"
#include "nd-echo/summary.hpp"

namespace nd::apps::echo {
namespace {

constexpr std::array modes{mode::rr, mode::pipeline, mode::stream, mode::crr, mode::mixed};

/// One party of a barrier, until it goes.
class party {
 public:
  explicit party(std::barrier<>& all) : all_(all) {}
  ~party() { all_.arrive_and_drop(); }
  party(const party&) = delete;
  party& operator=(const party&) = delete;
  void meet() { all_.arrive_and_wait(); }

 private:
  std::barrier<>& all_;
};

}  // namespace

int run_ring_demo(const options& o, const std::vector<std::string>& arguments) {
  const stdout_guard guard;
  const output out(guard.fd(), o.json);
  out.line("nd-echo: two hosts in one process over net_ring, every byte checked at both ends");
  // A client must not meet the server of the mode before, which is about to go.
  std::barrier<> rounds(2);
  const auto serve = [&](runtime& rt) {
    party p(rounds);
    nd_network net(rt);
    options server = o;
    server.once = true;
    server.interval = {};
    bool good = true;
    for ([[maybe_unused]] const mode m : modes) {
      p.meet();
      if (stop_requested()) break;
      good = run_server(net, server, out, "nd-echo server").good() && good;
    }
    return good;
  };
  const auto measure = [&](runtime& rt) {
    party p(rounds);
    nd_network net(rt);
    for (const mode m : modes) {
      p.meet();
      if (stop_requested()) break;
      options client = for_mode(o, m);
      client.peer = {nd::address(two_hosts::far_address).to_uint(), o.port};
      client.verify = true;
      summary s = run_client(net, client, out, "nd-echo");
      s.tool = "nd-echo";
      s.encap = rt.setting("encap");
      s.checksum = rt.setting("checksum");
      if (!out.results(s) || s.verify_failures != 0) return false;
      if (stop_requested()) break;  // by a signal: the server has ended as well, and so early
      if (!s.good()) return false;
    }
    return true;
  };
  return two_hosts("nd-echo", arguments).run(measure, serve) ? exit_good : exit_failed;
}

}  // namespace nd::apps::echo
