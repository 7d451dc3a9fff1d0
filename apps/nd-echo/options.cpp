#include "nd-echo/options.hpp"

#include <fmt/format.h>

#include "common/command_line.hpp"

namespace nd::apps::echo {

std::string_view to_string(mode m) noexcept {
  switch (m) {
    case mode::rr: return "rr";
    case mode::stream: return "stream";
    case mode::pipeline: return "pipeline";
    case mode::crr: return "crr";
    case mode::mixed: return "mixed";
  }
  return "none";
}

options for_mode(options o, mode m) {
  o.mode = m;
  if (o.size == 0) o.size = m == mode::stream ? 65536 : 64;
  if (m != mode::pipeline) o.depth = 1;
  return o;
}

option_parser::option_parser(CLI::App& app, bool demo)
    : roles_(demo ? "--server, --client ADDR[:PORT] or --demo"
                  : "--server or --client ADDR[:PORT]") {
  options& o = result_;
  app.add_option("--port", o.port, "the server's port (default 4000)")
      ->type_name("PORT")
      ->check(CLI::Range(1, 65535))
      ->group("Server and client");
  add_duration(app, "--interval", o.interval, "print a line this often while it runs")
      ->group("Server and client");
  app.add_option("--json", o.json,
                 "write the results as JSON; - is stdout, text then goes to stderr")
      ->type_name("FILE|-")
      ->group("Server and client");

  app.add_flag("--server", server_, "wait for clients, serve what they ask for")->group("Roles");
  add_host_port(app, "--client", client_, o.port, "connect to a server and measure")
      ->group("Roles");
  if (demo)
    app.add_flag("--demo{memif}", demo_,
                 "all modes: between two processes of its own over memif, or with --demo=ring "
                 "between two hosts inside this process")
        ->type_name("[=memif|ring]")
        ->check(CLI::IsMember({"memif", "ring"}))
        ->group("Roles");

  app.add_flag("--once", o.once, "end when the first client is done")->group("Server");

  const std::string group = "Client (the server learns them from its clients)";
  app.add_option(
         "--mode", mode_,
         "rr: ping-pong (default); stream: client sends, server consumes; pipeline: --depth "
         "messages outstanding; crr: connect, one exchange, close; mixed: one connection "
         "ping-pongs, "
         "beside it --connections stream")
      ->type_name("rr|stream|pipeline|crr|mixed")
      ->check(CLI::IsMember({"rr", "stream", "pipeline", "crr", "mixed"}))
      ->group(group);
  add_size(app, "--size", o.size, 1, size_max,
           "bytes a message (default 64), or a block of the stream (65536)")
      ->group(group);
  add_size(app, "--block", o.block, 1, size_max,
           "mixed: bytes of a block of its streams (default 65536)")
      ->group(group);
  add_size(app, "--connections", o.connections, 1, 10000, "connections at a time (default 1)")
      ->group(group);
  add_size(app, "--depth", o.depth, 1, 65536,
           "messages outstanding on each connection (default 32)")
      ->group(group);
  duration_ = add_duration(
      app, "--duration", o.duration,
      demo ? "how long to measure (default 5 s, --demo 1 s)" : "how long to measure (default 5 s)");
  duration_->group(group);
  add_duration(app, "--warmup", o.warmup, "how long to run before measuring (default 0.5 s)")
      ->group(group);
  add_duration(app, "--pause", o.pause,
               "rr: wait this long between round trips, to see what a rare message finds")
      ->group(group);
  add_duration(app, "--wait", o.wait, "how long to try until the server is there (default 5 s)")
      ->group(group);
  if (demo)
    app.add_flag("--zero-copy", o.zero_copy, "stream: send blocks from where they lie")
        ->group(group);
  app.add_flag("--verify", o.verify, "check every byte, at both ends")->group(group);
}

std::string option_parser::finish() {
  const int roles = int{server_} + int{!demo_.empty()} + int{client_.has_value()};
  if (roles == 0) return "a role is missing: " + roles_;
  if (roles > 1) return "one role only: " + roles_;
  options& o = result_;
  o.role = server_ ? role::server : !demo_.empty() ? role::demo : role::client;
  o.ring = demo_ == "ring";
  if (client_) o.peer = *client_;

  for (const mode m : {mode::rr, mode::stream, mode::pipeline, mode::crr, mode::mixed}) {
    if (mode_ == to_string(m)) o.mode = m;
  }
  if (o.role == role::demo) {
    if (!o.json.empty()) return "--json goes with --server or --client";
    if (duration_->count() == 0) o.duration = std::chrono::seconds(1);
  } else {
    o = for_mode(o, o.mode);
  }
  if (o.pause.count() != 0 && (o.role != role::client || o.mode != mode::rr))
    return "--pause goes with --client and --mode rr";
  if (o.zero_copy && (o.role != role::client || o.mode != mode::stream))
    return "--zero-copy goes with --client and --mode stream";
  if (o.duration <= std::chrono::nanoseconds(0)) return "--duration must be more than 0";
  return {};
}

}  // namespace nd::apps::echo
