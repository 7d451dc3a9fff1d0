// The server: any number of connections, one after the other or at a time.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <list>
#include <string>
#include <utility>

#include "common/signal.hpp"
#include "nd-echo/served_connection.hpp"
#include "nd-echo/summary.hpp"

namespace nd::apps::echo {

template <network Net>
class server {
 public:
  server(Net& net, const options& o, const output& out, std::string tool)
      : net_(net), options_(o), out_(out), tool_(std::move(tool)), listener_(net.listen(o.port)) {}

  /// Until a signal, or with --once until the first client is done.
  summary run() {
    bool idle = false;
    while (!stop_requested() && !done()) {
      net_.poll(idle);
      clock_.turn();
      idle = !turn();
      if (options_.interval.count() != 0) print_interval();
    }
    // Those who are still connected learn from our closing that we ended.
    connections_.clear();
    streams_.clear();
    return make_summary();
  }

 private:
  using connection = served_connection<typename Net::stream>;

  // True if something could go on at once.
  bool turn() {
    bool busy = false;
    if (auto stream = listener_.accept(connections_.empty() && streams_.empty())) {
      connections_.emplace_back(std::move(*stream));
      busy = true;
    }
    for (auto it = connections_.begin(); it != connections_.end();) {
      busy = step(connections_, it) || busy;
    }
    for (auto it = streams_.begin(); it != streams_.end();) {
      busy = step(streams_, it) || busy;
      busy = look() || busy;
    }
    if (began_ == turn_clock::time_point{} && sums_.connections != 0) began_ = clock_.refresh();
    return busy;
  }

  // One of `list`, and on to the next one. True as above.
  bool step(std::list<connection>& list, typename std::list<connection>::iterator& it) {
    const auto here = it++;
    bool busy = here->step(clock_, sums_);
    if (here->ended()) {
      if (!here->error().empty()) {
        ++sums_.errors;
        fmt::print(stderr, "{}: {}: {}\n", tool_, here->peer(), here->error());
      }
      if (next_look_ == here) ++next_look_;
      list.erase(here);
      last_end_ = clock_.refresh();
      busy = true;
    } else if (&list == &connections_ && here->is_stream()) {
      if (next_look_ == here) ++next_look_;
      streams_.splice(streams_.end(), connections_, here);
    }
    return busy;
  }

  // After each stream's turn, one of the others: where there are some, they shall not wait until
  // all streams had theirs.
  bool look() {
    if (next_look_ == connections_.end()) next_look_ = connections_.begin();
    return next_look_ != connections_.end() && step(connections_, next_look_);
  }

  bool done() {
    if (!options_.once || !connections_.empty() || !streams_.empty() || !sums_.last) return false;
    // A crr client has no connection between two cycles.
    const auto patience = std::chrono::seconds(sums_.last->mode == mode::crr ? 1 : 0);
    return clock_.now() - last_end_ >= patience;
  }

  void print_interval() {
    const turn_clock::time_point now = clock_.now();
    if (now < next_line_) return;
    if (next_line_ != turn_clock::time_point{} && sums_.bytes != line_bytes_) {
      const double elapsed = seconds(now - next_line_ + options_.interval);
      const auto messages = static_cast<double>(sums_.messages - line_messages_);
      out_.line(fmt::format("{:9.3f} Gbit/s received, {}, {} connections",
                            static_cast<double>(sums_.bytes - line_bytes_) * 8e-9 / elapsed,
                            with_prefix(messages / elapsed, "msg/s"),
                            connections_.size() + streams_.size()));
    }
    line_bytes_ = sums_.bytes;
    line_messages_ = sums_.messages;
    next_line_ = now + options_.interval;
  }

  summary make_summary() const {
    summary s;
    s.mode = sums_.last ? to_string(sums_.last->mode) : "none";
    s.size = sums_.last ? sums_.last->message_size : 0;
    s.connections = sums_.connections;
    const bool any = began_ != turn_clock::time_point{} && last_end_ > began_;
    s.duration_s = any ? seconds(last_end_ - began_) : 0;
    s.total.messages = sums_.messages;
    s.total.bytes = sums_.bytes;
    s.errors = sums_.errors;
    s.verify_failures = sums_.verify_failures;
    s.verified = sums_.verified;
    return s;
  }

  Net& net_;
  const options& options_;
  const output& out_;
  std::string tool_;
  typename Net::listener listener_;
  std::list<connection> connections_;  // all but
  std::list<connection> streams_;      // those that only send
  typename std::list<connection>::iterator next_look_ = connections_.end();
  turn_clock clock_;
  server_sums sums_;
  turn_clock::time_point began_{};     // the first hello
  turn_clock::time_point last_end_{};  // of a connection

  turn_clock::time_point next_line_{};
  std::uint64_t line_bytes_ = 0;
  std::uint64_t line_messages_ = 0;
};

template <network Net>
summary run_server(Net& net, const options& o, const output& out, const std::string& tool) {
  return server<Net>(net, o, out, tool).run();
}

}  // namespace nd::apps::echo
