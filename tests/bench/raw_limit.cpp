// raw-limit: what a transport can do at most: two ports, one core each, one copy at either end, and
// no protocol. scripts/bench compares libndstack to it.
#include <CLI/CLI.hpp>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/command_line.hpp"
#include "common/nd_main.hpp"
#include "common/signal.hpp"
#include "common/stdout_guard.hpp"
#include "nd-echo/summary.hpp"
#include "pmd_glue/eal.hpp"
#include "pmd_glue/ethdev_port.hpp"
#include "pmd_glue/mempool.hpp"
#include "raw_link.hpp"

namespace {

using namespace nd::apps;
using nd::duration;
using nd::instant;
using nd::bench::frame_kind;
using nd::bench::raw_link;

struct raw_options {
  bool server = false;
  bool client = false;
  std::string mode = "echo";
  std::uint64_t size = 64;
  std::uint64_t depth = 1;
  std::chrono::nanoseconds measured{std::chrono::seconds(1)};
  std::chrono::nanoseconds warmup{std::chrono::milliseconds(200)};
  std::chrono::nanoseconds wait{std::chrono::seconds(5)};
  std::string json;

  bool stream() const noexcept { return mode == "stream"; }
  duration warm_up() const noexcept { return duration(warmup.count()); }
  duration length() const noexcept { return duration(measured.count()); }
};

// An end that hears nothing for this long asks again, or goes.
constexpr duration patience = duration::milliseconds(20);

/// How long the whole run may take.
instant limit_of(const raw_link& link, const raw_options& o) {
  return link.now() + duration(o.wait.count()) + o.warm_up() + o.length() + duration::seconds(2);
}

void say(raw_link& link, frame_kind kind) {
  link.send(kind, 0);
  link.flush();
}

/// Until the server answers; false if it does not.
bool greet(raw_link& link, instant limit) {
  instant next;
  while (!stop_requested()) {
    const instant now = link.now();
    if (now >= limit) break;
    if (now >= next) {
      say(link, frame_kind::hello);
      next = now + patience;
    }
    if (link.receive().welcome) return true;
  }
  return false;
}

/// Tells the other end that it is over, and waits a little for its answer.
void say_goodbye(raw_link& link) {
  instant next;
  const instant limit = link.now() + duration::milliseconds(500);
  for (instant now = link.now(); now < limit; now = link.now()) {
    if (now >= next) {
      say(link, frame_kind::stop);
      next = now + patience;
    }
    link.flush();
    if (link.receive().stopped) return;
  }
}

/// The end that heard a stop answers until it hears nothing more.
void answer_goodbye(raw_link& link) {
  instant quiet = link.now() + patience * 3;
  say(link, frame_kind::stopped);
  while (link.now() < quiet) {
    link.flush();
    if (link.receive().stop) {
      say(link, frame_kind::stopped);
      quiet = link.now() + patience * 3;
    }
  }
}

/// Sends messages and waits for them: `depth` are on their way. Whole messages that have come back
/// are sent again.
std::optional<echo::summary> echo_client(raw_link& link, const raw_options& o) {
  const instant limit = limit_of(link, o);
  if (!greet(link, limit)) return std::nullopt;
  echo::summary s;
  std::uint64_t lost = 0;
  std::uint64_t to_send = o.depth * o.size;
  std::uint64_t back = 0;
  const instant begin = link.now() + o.warm_up();
  const instant end = begin + o.length();
  instant sent_at = link.now();
  instant heard = sent_at;
  for (instant now = sent_at; now < end && !stop_requested(); now = link.now()) {
    if (to_send != 0) to_send -= link.send_data(to_send);
    link.flush();
    const auto in = link.receive();
    if (in.bytes == 0) {
      if (now - heard < patience) continue;
      // Something was lost. Both ends start again.
      ++lost;
      if (!greet(link, limit)) return std::nullopt;
      back = 0;
      to_send = o.depth * o.size;
      sent_at = heard = link.now();
      continue;
    }
    heard = now;
    back += in.bytes;
    const std::uint64_t messages = back / o.size;
    if (messages == 0) continue;
    back -= messages * o.size;
    to_send += messages * o.size;
    const instant arrived = link.now();
    if (arrived >= begin) {
      s.total.messages += messages;
      s.total.bytes += messages * o.size;
      if (o.depth == 1)
        s.total.latency.record(static_cast<std::uint64_t>((arrived - sent_at).ns()));
    }
    sent_at = arrived;
  }
  s.duration_s = static_cast<double>((link.now() - begin).ns()) * 1e-9;
  s.counters.emplace_back("restarts", lost);
  say_goodbye(link);
  return s;
}

/// Sends back whole messages.
std::optional<echo::summary> echo_server(raw_link& link, const raw_options& o) {
  const instant limit = limit_of(link, o);
  std::uint64_t in_part = 0;
  std::uint64_t to_send = 0;
  while (link.now() < limit && !stop_requested()) {
    const auto in = link.receive();
    if (in.hello) {
      in_part = to_send = 0;
      say(link, frame_kind::welcome);
    }
    in_part += in.bytes;
    if (const std::uint64_t messages = in_part / o.size; messages != 0) {
      in_part -= messages * o.size;
      to_send += messages * o.size;
    }
    if (to_send != 0) to_send -= link.send_data(to_send);
    link.flush();
    if (in.stop) {
      answer_goodbye(link);
      return echo::summary{};
    }
  }
  return std::nullopt;
}

/// Sends as fast as the device takes it, until the server has enough.
std::optional<echo::summary> stream_client(raw_link& link, const raw_options& o) {
  const instant limit = limit_of(link, o);
  if (!greet(link, limit)) return std::nullopt;
  while (!stop_requested() && link.now() < limit) {
    while (link.send(frame_kind::data, o.size)) {
    }
    link.flush();
    // The device frees what it has sent here, and the server's stop comes here.
    if (link.receive().stop) {
      // Room for the answer.
      while (!link.flush() && link.now() < limit) link.receive();
      answer_goodbye(link);
      return echo::summary{};
    }
  }
  return std::nullopt;
}

/// Counts what comes.
std::optional<echo::summary> stream_server(raw_link& link, const raw_options& o) {
  const instant limit = limit_of(link, o);
  echo::summary s;
  instant first;
  instant begin;
  while (!stop_requested()) {
    const auto in = link.receive();
    const instant now = link.now();
    if (now >= limit) return std::nullopt;
    if (in.hello) say(link, frame_kind::welcome);
    if (in.bytes == 0 && first == instant()) continue;
    if (first == instant()) first = now;
    if (now < first + o.warm_up()) continue;
    if (begin == instant()) {
      begin = now;
      continue;
    }
    s.total.messages += in.packets;
    s.total.bytes += in.bytes;
    if (now - begin < o.length()) continue;
    s.duration_s = static_cast<double>((now - begin).ns()) * 1e-9;
    break;
  }
  say_goodbye(link);
  return s;
}

int run(const command_line& arguments, raw_options o) {
  const stdout_guard guard;
  const echo::output out(guard.fd(), o.json);
  const nd::pmd::eal eal(arguments.eal);
  nd::pmd::register_thread();
  nd::settings values;
  // What a device is to hand to us instead of the kernel.
  values.set("ip", o.server ? "10.19.0.1/24" : "10.19.0.2/24");
  const std::uint16_t mtu = nd::pmd::port_mtu(values);
  const nd::pmd::rx_pool_needs needs = nd::pmd::port_rx_pool_needs(values, mtu);
  auto pool = nd::pmd::make_mbuf_pool("raw", 0, needs.data_room, needs.reserved, needs.layout);
  pool.get_deleter().kept = needs.kept;
  constexpr std::uint32_t server_ip = 0x0a130001;
  constexpr std::uint32_t client_ip = 0x0a130002;
  raw_link link(nd::pmd::open_port(values, mtu, pool.get()), pool.get(),
                o.server ? server_ip : client_ip, o.server ? client_ip : server_ip);
  if (o.stream() && (o.size == 0 || o.size > link.payload_max())) o.size = link.payload_max();
  const auto work = o.stream() ? (o.server ? stream_server : stream_client)
                               : (o.server ? echo_server : echo_client);
  auto result = work(link, o);
  if (!result) {
    fmt::print(stderr, "raw-limit: the other end was not there, or went\n");
    return exit_failed;
  }
  if (!link.received_well()) {
    fmt::print(stderr, "raw-limit: other bytes came than were sent\n");
    return exit_failed;
  }
  // The other end knows nothing.
  if (o.stream() != o.server) return exit_good;
  result->tool = "raw-limit";
  result->mode = o.mode;
  result->size = o.size;
  result->connections = 1;
  result->depth = o.depth;
  result->encap = "none";
  return out.results(*result) ? exit_good : exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures a port without a protocol.", "raw-limit");
  prepare(app, "Usage: raw-limit [EAL options] -- --server|--client [options]");
  raw_options o;
  app.add_flag("--server", o.server, "answers, or counts the stream");
  app.add_flag("--client", o.client, "sends");
  app.add_option("--mode", o.mode, "echo: messages that come back; stream: one way")
      ->check(CLI::IsMember({"echo", "stream"}));
  add_size(app, "--size", o.size, 0, 1 << 20, "bytes a message; stream: a packet, 0 for the MTU's");
  add_size(app, "--depth", o.depth, 1, 65536, "echo: messages on their way (default 1)");
  add_duration(app, "--duration", o.measured, "how long to measure (default 1 s)");
  add_duration(app, "--warmup", o.warmup, "how long to run before (default 0.2 s)");
  add_duration(app, "--wait", o.wait, "how long to wait for the other end (default 5 s)");
  app.add_option("--json", o.json, "write the results as JSON")->type_name("FILE|-");
  const command_line arguments(argc, argv);
  if (const auto code = parse(app, arguments)) return *code;
  if (o.server == o.client) return usage_error(app, "one role: --server or --client");
  if (!o.stream() && o.size == 0) return usage_error(app, "--size 0 goes with --mode stream");
  catch_stop_signals();
  return guarded("raw-limit", [&] { return run(arguments, o); });
}
