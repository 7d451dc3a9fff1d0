// The applications of a run, and the model that their bytes are compared with.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "sim/machine.hpp"
#include "unit/support/app.hpp"

namespace nd::sim {

enum class side_state : std::uint8_t {
  idle,        ///< not opened, or not accepted yet
  connecting,  ///< the client's side
  open,
  done,     ///< read to the end, wrote everything, closed
  stopped,  ///< closed or reset before that, as it was planned
  failed,   ///< the stack gave an error
  crashed,  ///< went with its host
};
constexpr bool is_over(side_state s) noexcept {
  return s >= side_state::done;
}

/// One end of a connection.
struct side {
  std::size_t host = 0;
  unsigned boot = 0;  ///< of its host
  side_state state = side_state::idle;
  test::app_socket socket;
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  bool shut = false;   ///< nothing follows `written`
  bool ended = false;  ///< has read the end of the stream
  instant write_at;
  instant read_at;
  instant opened;
  std::uint16_t local_port = 0;  ///< the client's
};

struct connection {
  connection_plan plan;
  std::size_t number = 0;
  std::array<side, 2> sides;  ///< client, server
  bool excused = false;       ///< the simulator itself could not tell what it was
  bool over = false;
};

class workload {
 public:
  using machines = std::vector<std::unique_ptr<machine>>;

  workload(const scenario& s, machines& all, trace& t);
  ~workload();

  // Hosts come and go.

  void on_boot(std::size_t host);
  /// Before the machine stops: its applications are gone with all they hold; `how` is `crashed`, or
  /// `stopped` where the stack will still do what they asked for.
  void on_exit(std::size_t host, side_state how, instant now);

  // What may end connections.

  void disturb(std::size_t host);
  void disturb(std::size_t a, std::size_t b) { disturbed_.insert(std::minmax(a, b)); }

  /// Connects may fail; connections that stand must not.
  void hinder(std::size_t a, std::size_t b) { hindered_.insert(std::minmax(a, b)); }

  // Time.

  /// Readers and writers are in a hurry from now on.
  void hurry() noexcept { hurry_ = true; }
  void open(const connection_plan& plan, instant now);
  /// When the applications of a host want to run, given that its stack had a turn at `turned`.
  instant next_run(std::size_t host) const noexcept { return hosts_[host].next_run; }
  void on_turn(std::size_t host, instant now);
  void run(std::size_t host, instant now);

  /// Of the connections opened so far.
  std::size_t unfinished() const noexcept { return opened_ - over_; }
  const connection& last() const { return connections_.back(); }
  /// Throws violation: what has not come to an end, for a message.
  [[noreturn]] void tell_unfinished(duration bound) const;
  /// Closes listeners.
  void close_all();
  bool was_opened(const connection& c) const noexcept { return c.sides[0].boot != 0; }

 private:
  struct end {
    connection* of;
    std::size_t which;
  };
  struct host_apps {
    std::vector<std::unique_ptr<test::app_listener>> listeners;  ///< one an io lcore
    std::vector<end> active;
    instant last_run;
    instant next_run = instant::never();
  };

  void accept(std::size_t host, test::app_listener& listener, instant now);
  connection* opener_of(std::size_t host, test::app_socket& s, bool& ambiguous);
  void old_boots_are_gone(std::size_t host, std::size_t peer, unsigned boot) const;
  void step(connection& c, std::size_t which, instant now);
  void write(connection& c, std::size_t which, instant now);
  bool read(connection& c, std::size_t which, instant now);
  void on_end_of_stream(connection& c, std::size_t which);
  void finish(connection& c, std::size_t which, side_state state, instant now, errc error = {});
  void judge(const connection& c, std::size_t which, errc error) const;
  std::uint64_t salt(const connection& c, std::size_t which) const noexcept {
    return (scenario_.seed << 20) + c.number * 2 + which;
  }
  duration around(duration mean) {
    if (hurry_) return {};
    return duration(
        static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(mean.ns()) * 2 + 1)));
  }
  bool is_disturbed(const connection& c) const;

  const scenario& scenario_;
  machines& machines_;
  trace& trace_;
  rng random_;
  std::deque<connection> connections_;
  std::vector<host_apps> hosts_;
  std::set<std::pair<std::size_t, std::size_t>> disturbed_;
  std::set<std::pair<std::size_t, std::size_t>> hindered_;
  bool hurry_ = false;
  std::size_t opened_ = 0;
  std::size_t over_ = 0;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> expected_;
};

}  // namespace nd::sim
