// One of the two processes of a soak (tests/soak/soak.py starts them): opens connections to the
// other and accepts its, as commands on stdin say, and tells on stdout how it goes.
//
//   nd-soak EAL options -- ND options PEER SEED CONNECTIONS
//
// Commands: "go", "rest" (open none any more), "stop"; the end of stdin is "stop". A line of JSON
// four times a second, and one for each failure. Uses the public API only.
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <nd/nd.hpp>
#include <string>
#include <vector>

#include "soak/conversation.hpp"

namespace {

using nd::soak::clock;
using nd::soak::conversation;
using nd::soak::outcome;

constexpr std::uint16_t port = 7000;
constexpr auto report_interval = std::chrono::milliseconds(250);
// A reset against the plan is explained by a peer that was lost (or started again) this close to
// it.
constexpr auto explanation = std::chrono::seconds(5);

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

class worker {
 public:
  worker(nd::runtime& rt, nd::endpoint peer, std::uint64_t seed, std::size_t connections)
      : rt_(rt),
        peer_(peer),
        random_(seed),
        connections_(connections),
        acceptor_(rt, {nd::any_address, port}),
        disturbed_(clock::now()) {
    acceptor_.non_blocking(true);
  }

  void run() {
    while (!stopped_) {
      const auto now = clock::now();
      if (now >= next_report_) {
        next_report_ = now + report_interval;
        listen_to_commands();
        look_for_disturbances(now);
        judge_resets(now);
        report();
      }
      accept(now);
      open(now);
      step(now);
      rt_.poll();
    }
    for (const auto& talk : talks_) talk->abort();
  }

 private:
  struct reset_seen {
    clock::time_point at;
    std::string what;
  };

  void listen_to_commands() {
    pollfd in{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    while (::poll(&in, 1, 0) > 0) {
      char text[64];
      const ssize_t n = ::read(STDIN_FILENO, text, sizeof text);
      if (n <= 0) {
        stopped_ = true;
        return;
      }
      for (ssize_t i = 0; i < n; ++i) {
        if (text[i] != '\n') {
          command_ += text[i];
          continue;
        }
        going_ = command_ == "go";
        stopped_ = stopped_ || command_ == "stop";
        command_.clear();
      }
    }
  }

  void accept(clock::time_point now) {
    std::error_code ec;
    for (nd::socket s = acceptor_.accept(ec); !ec; s = acceptor_.accept(ec)) {
      s.non_blocking(true);
      talks_.push_back(std::make_unique<conversation>(std::move(s), now));
    }
  }

  void open(clock::time_point now) {
    if (!going_ || now < next_open_ || talks_.size() >= 4 * connections_) return;
    if (opened_now_ >= connections_) return;
    const std::uint64_t seed = random_() >> 1;
    nd::socket s(rt_);
    s.non_blocking(true);
    s.set_option(nd::soak::make_plan(seed).priority);
    std::error_code ec;
    s.connect(peer_, ec);
    if (ec && ec != nd::errc::in_progress) {
      ++refused_;
      next_open_ = now + std::chrono::milliseconds(10);
      return;
    }
    talks_.push_back(std::make_unique<conversation>(std::move(s), seed, now));
    ++opened_now_;
    if (nd::soak::chance(random_, 5))
      next_open_ = now + std::chrono::milliseconds(nd::soak::below(random_, 50));
  }

  void step(clock::time_point now) {
    for (std::size_t i = 0; i < talks_.size();) {
      const outcome o = talks_[i]->step(now, !going_);
      if (o == outcome::running) {
        ++i;
        continue;
      }
      end(*talks_[i], o, now);
      std::swap(talks_[i], talks_.back());
      talks_.pop_back();
    }
  }

  void end(const conversation& talk, outcome o, clock::time_point now) {
    bytes_ += talk.bytes_checked();
    if (talk.is_opener()) --opened_now_;
    switch (o) {
      case outcome::as_planned: ++as_planned_; break;
      case outcome::lost: ++lost_; break;
      case outcome::refused:
        ++refused_;
        next_open_ = now + std::chrono::milliseconds(10);
        break;
      case outcome::reset: resets_.push_back({now, talk.what()}); break;
      case outcome::wrong:
      case outcome::running: fail(talk.what()); break;
    }
  }

  void fail(const std::string& why) {
    ++failed_;
    fmt::print("{{\"failure\": \"{}\"}}\n", why);
  }

  std::uint64_t counter(std::string_view name) const {
    for (const nd::counter& c : rt_.stats())
      if (c.name == name) return c.value;
    throw std::logic_error("no counter " + std::string(name));
  }

  void look_for_disturbances(clock::time_point now) {
    const std::uint64_t gone = counter("peers_lost") + counter("peers_closed");
    if (gone != peers_gone_) disturbed_ = now;
    peers_gone_ = gone;
  }

  void judge_resets(clock::time_point now) {
    while (!resets_.empty() && now - resets_.front().at > explanation) {
      if (disturbed_ + 2 * explanation > resets_.front().at + explanation)
        ++lost_;
      else
        fail(resets_.front().what);
      resets_.pop_front();
    }
  }

  void report() {
    std::string counters;
    for (const char* name :
         {"packets_lost", "records_retransmitted", "drop_checksum", "drop_duplicate",
          "drop_no_memory", "peers_lost", "protocol_errors", "tx_no_mbuf", "probe_timeouts",
          "rx_mbufs_in_use", "tx_mbufs_in_use", "packet_mbufs_in_use"})
      counters += fmt::format(", \"{}\": {}", name, counter(name));
    fmt::print(
        "{{\"talking\": {}, \"waiting\": {}, \"as_planned\": {}, \"lost\": {}, \"refused\": {}, "
        "\"failed\": {}, \"bytes\": {}, \"rss\": {}{}}}\n",
        talks_.size(), resets_.size(), as_planned_, lost_, refused_, failed_, bytes_,
        resident_bytes(), counters);
    std::fflush(stdout);
  }

  nd::runtime& rt_;
  nd::endpoint peer_;
  nd::soak::random random_;
  std::size_t connections_;
  nd::acceptor acceptor_;
  std::vector<std::unique_ptr<conversation>> talks_;
  std::deque<reset_seen> resets_;  ///< not judged yet
  std::size_t opened_now_ = 0;
  std::uint64_t as_planned_ = 0, lost_ = 0, refused_ = 0, failed_ = 0, bytes_ = 0;
  std::uint64_t peers_gone_ = 0;
  clock::time_point disturbed_, next_open_, next_report_;
  std::string command_;
  bool going_ = false, stopped_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    nd::runtime rt(argc, argv);
    const auto& args = rt.args();
    if (args.size() != 4) throw std::invalid_argument("arguments: PEER SEED CONNECTIONS");
    worker(rt, {nd::address(args[1]), port}, std::stoull(args[2]), std::stoul(args[3])).run();
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "nd-soak: {}\n", e.what());
    return 1;
  }
}
