// nd-cat: netcat over libndstack.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <nd/nd.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "common/command_line.hpp"
#include "common/nd_main.hpp"
#include "common/nd_stream.hpp"
#include "common/signal.hpp"
#include "common/stdout_guard.hpp"
#include "common/two_hosts.hpp"
#include "nd-cat/transfer.hpp"

namespace {

using namespace nd::apps;
using namespace nd::apps::cat;

struct options {
  std::optional<std::uint16_t> listen;
  std::string address;
  std::string port;
  host_port peer;
  bool demo = false;
  bool hash = false;
  std::chrono::nanoseconds wait{std::chrono::seconds(5)};

  // What is wrong and what would be right; empty if all is well.
  std::string finish() {
    if (demo) {
      if (listen || !address.empty()) return "--demo is both ends; leave --listen and ADDR out";
      listen = 4000;
      peer = *parse_host_port(two_hosts::far_address, *listen);
      return {};
    }
    if (listen) return address.empty() ? "" : "--listen PORT or ADDR PORT, not both";
    if (address.empty() || port.empty())
      return "say --listen PORT, ADDR PORT to connect to, or --demo";
    const auto parsed = parse_host_port(address + ":" + port, 0);
    if (!parsed) {
      return fmt::format("'{} {}' is not an address and a port; write A.B.C.D PORT", address, port);
    }
    peer = *parsed;
    return {};
  }
};

// Between looks at what is not the library's: a signal, a pipe.
constexpr std::chrono::milliseconds longest_wait{1};

std::optional<nd_stream> accept_one(nd::runtime& rt, std::uint16_t port) {
  nd_listener listener(rt, port);
  while (!stop_requested()) {
    if (auto stream = listener.accept(true)) return stream;
  }
  return std::nullopt;
}

// Tries until `wait` is over while nobody is there.
std::optional<nd_stream> connect_to(nd::runtime& rt, const options& o) {
  using clock = std::chrono::steady_clock;
  const clock::time_point deadline = clock::now() + o.wait;
  while (!stop_requested()) {
    nd_stream stream(rt, o.peer, nd::traffic_class::throughput);
    io_status status = io_status::would_block;
    while (!stop_requested() && (status = stream.connect_status()) == io_status::would_block) {
      rt.wait_for(longest_wait);
    }
    if (status == io_status::ok) return stream;
    if (stop_requested()) break;
    const bool absent = classify_connect(stream.error()) == connect_failure::no_server;
    if (!absent || clock::now() >= deadline) {
      throw std::system_error(stream.error(), to_string(o.peer));
    }
    const clock::time_point next = clock::now() + std::chrono::milliseconds(50);
    while (!stop_requested() && clock::now() < next) rt.wait_for(longest_wait);
  }
  return std::nullopt;
}

// What is wrong; empty if every byte has arrived.
std::string copy(nd::runtime& rt, nd_stream& stream, source& from, sink& to, digests* hashes) {
  transfer<nd_stream> t(stream, from, to, hashes);
  progress shown(from.size());
  bool goes_on = true;
  bool moving = true;
  while (!stop_requested() && goes_on) {
    const moved before = t.bytes();
    if (moving)
      rt.poll();
    else
      rt.wait_for(longest_wait);
    goes_on = t.step();
    moving = t.bytes() != before;
    shown.turn(t.bytes());
  }
  // The peer may have ended first, and our last bytes be still on their way.
  std::string wrong = t.error();
  while (!stop_requested() && wrong.empty() && stream.unacknowledged() != 0) {
    rt.wait_for(longest_wait);
    if (stream.connect_status() == io_status::failed) {
      wrong = stream.peer() + ": " + stream.error().message();
    }
  }
  shown.finish(t.bytes());
  return stop_requested() ? "interrupted" : wrong;
}

// One end. True if every byte has arrived.
bool run_end(nd::runtime& rt, bool listens, const options& o, source& from, sink& to,
             digests* hashes) {
  std::optional<nd_stream> stream = listens ? accept_one(rt, *o.listen) : connect_to(rt, o);
  const std::string wrong = stream ? copy(rt, *stream, from, to, hashes) : "interrupted";
  if (!wrong.empty()) fmt::print(stderr, "nd-cat: {}\n", wrong);
  return wrong.empty();
}

void tell(const std::string& sent, const std::string& received) {
  fmt::print(stderr, "nd-cat: SHA-256 sent     {}\nnd-cat: SHA-256 received {}\n", sent, received);
}

int run(int argc, char** argv, const options& o) {
  stdout_guard guard;
  sink to(guard.release());
  source from(STDIN_FILENO);
  digests hashes;
  nd::runtime rt(argc, argv);
  const stop_hook hook([](void* r) { static_cast<nd::runtime*>(r)->interrupt(); }, &rt);
  if (!run_end(rt, o.listen.has_value(), o, from, to, o.hash ? &hashes : nullptr))
    return exit_failed;
  if (o.hash) tell(hashes.sent.text(), hashes.received.text());
  return exit_good;
}

int run_demo(const options& o, const std::vector<std::string>& arguments) {
  stdout_guard guard;
  digests sender;
  digests receiver;
  const auto send = [&](nd::runtime& rt) {
    source from(STDIN_FILENO);
    sink nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    return run_end(rt, false, o, from, nowhere, &sender);
  };
  const auto receive = [&](nd::runtime& rt) {
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    source from(nothing);
    sink to(guard.release());
    const bool good = run_end(rt, true, o, from, to, &receiver);
    ::close(nothing);
    return good;
  };
  if (!two_hosts("nd-cat", arguments).run(send, receive)) return exit_failed;
  const std::string sent = sender.sent.text();
  const std::string received = receiver.received.text();
  tell(sent, received);
  return sent == received ? exit_good : exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Copies stdin to a peer and what the peer sends to stdout, at the same time.",
               "nd-cat");
  prepare(app,
          "Usage: nd-cat [EAL options] -- --ip A.B.C.D/N --listen PORT > file\n"
          "       nd-cat [EAL options] -- --ip A.B.C.D/N ADDR PORT < file\n"
          "       nd-cat -- --demo < file > copy");
  app.footer(
      "\nThe end of stdin half-closes the connection; it is over when both sides have ended.\n"
      "Exit code: 0 all has arrived, 1 it has not, 2 the command line is wrong.");
  options o;
  app.add_option("--listen", o.listen, "wait for one peer on this port")
      ->type_name("PORT")
      ->check(CLI::Range(1, 65535));
  app.add_option("ADDR", o.address, "connect to this host ...")->type_name("");
  app.add_option("PORT", o.port, "... and port")->type_name("");
  add_duration(app, "--wait", o.wait, "how long to try until the peer is there (default 5 s)");
  app.add_flag("--sha256", o.hash, "print the SHA-256 of what was sent and of what was received");
  app.add_flag("--demo", o.demo,
               "both ends inside this process, over net_ring: stdin to stdout, SHA-256 of both");
  add_nd_options(app);
  const command_line arguments(argc, argv);
  if (const auto code = parse(app, arguments)) return *code;
  if (const std::string wrong = o.finish(); !wrong.empty()) return usage_error(app, wrong);
  if (o.demo && !arguments.eal.empty())
    return usage_error(app, "--demo chooses the EAL options itself; it takes none");

  catch_stop_signals();
  return guarded("nd-cat",
                 [&] { return o.demo ? run_demo(o, arguments.app) : run(argc, argv, o); });
}
