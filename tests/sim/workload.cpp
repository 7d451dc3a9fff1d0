#include "sim/workload.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "unit/support/traffic.hpp"

namespace nd::sim {
namespace {

constexpr std::uint16_t listening_port = 80;
constexpr std::size_t piece = 65536;  ///< bytes that a side reads or writes at once, at most
constexpr int writes_a_run = 16;
// Longer than any wait of the stack for a peer that lives.
constexpr duration longest_silence = duration::seconds(2);

std::string_view name_of(side_state s) noexcept {
  constexpr std::array<std::string_view, 7> names{"idle",    "connecting", "open",   "done",
                                                  "stopped", "failed",     "crashed"};
  return names[static_cast<std::size_t>(s)];
}

std::string describe(const connection& c) {
  std::string text =
      fmt::format("connection {} from {} to {}", c.number, c.plan.client, c.plan.server);
  for (std::size_t i = 0; i < 2; ++i) {
    const side& s = c.sides[i];
    text += fmt::format(", {} {} wrote {} of {} read {}{}{}", i == 0 ? "client" : "server",
                        name_of(s.state), s.written, c.plan.sides[i].bytes, s.read,
                        s.shut ? " shut" : "", s.ended ? " ended" : "");
  }
  return text;
}

}  // namespace

workload::workload(const scenario& s, machines& all, trace& t)
    : scenario_(s),
      machines_(all),
      trace_(t),
      random_(s.seed + 2),
      hosts_(s.hosts),
      buffer_(piece),
      expected_(piece) {}

// Links must not outlive the hosts they post to.
workload::~workload() {
  for (connection& c : connections_)
    for (side& s : c.sides)
      if (s.socket && !machines_[s.host]->up()) std::abort();
}

void workload::on_boot(std::size_t host) {
  machine& m = *machines_[host];
  for (std::size_t i = 0; i < m.lcores(); ++i)
    hosts_[host].listeners.push_back(std::make_unique<test::app_listener>(
        m.host(i), listening_port, scenario_.backlog, m.copies()));
}

void workload::on_exit(std::size_t host, side_state how, instant now) {
  host_apps& apps = hosts_[host];
  machines_[host]->finish_copies();
  apps.listeners.clear();
  for (const end e : std::exchange(apps.active, {})) {
    side& s = e.of->sides[e.which];
    if (is_over(s.state)) continue;
    s.shut = s.shut || how == side_state::stopped;
    finish(*e.of, e.which, how, now);
  }
  apps.next_run = instant::never();
}

void workload::disturb(std::size_t host) {
  for (std::size_t other = 0; other < scenario_.hosts; ++other)
    if (other != host) disturb(host, other);
}

bool workload::is_disturbed(const connection& c) const {
  return scenario_.peers_may_be_lost ||
         disturbed_.contains(std::minmax(c.plan.client, c.plan.server));
}

void workload::open(const connection_plan& plan, instant now) {
  connection& c = connections_.emplace_back();
  c.plan = plan;
  c.number = connections_.size() - 1;
  side& s = c.sides[0];
  s.host = plan.client;
  c.sides[1].host = plan.server;
  if (!machines_[plan.client]->up() || hosts_[plan.client].listeners.empty()) return;
  ++opened_;
  s.boot = machines_[plan.client]->boot();
  s.state = side_state::connecting;
  machine& m = *machines_[plan.client];
  s.socket = test::app_socket(m.host(c.number % m.lcores()), test::made_ip(plan.server),
                              listening_port, plan.traffic_class, scenario_.values, m.copies());
  hosts_[plan.client].active.push_back({&c, 0});
  trace_.note(now, "{} connects to {}: connection {}", plan.client, plan.server, c.number);
}

void workload::on_turn(std::size_t host, instant now) {
  host_apps& apps = hosts_[host];
  apps.next_run = earlier(apps.next_run, std::max(now, apps.last_run + scenario_.app_period));
}

void workload::run(std::size_t host, instant now) {
  host_apps& apps = hosts_[host];
  apps.last_run = now;
  apps.next_run = instant::never();
  if (apps.listeners.empty()) return;
  for (const auto& listener : apps.listeners) accept(host, *listener, now);
  std::size_t waiting = 0;
  for (std::size_t i = 0; i < apps.active.size(); ++i) {
    const end e = apps.active[i];
    step(*e.of, e.which, now);
    side& s = e.of->sides[e.which];
    if (is_over(s.state)) continue;
    apps.active[waiting++] = e;
    if (s.state != side_state::open) continue;
    for (const instant wake : {s.write_at, s.read_at})
      if (wake > now) apps.next_run = earlier(apps.next_run, wake);
  }
  apps.active.resize(waiting);
}

void workload::accept(std::size_t host, test::app_listener& listener, instant now) {
  while (test::app_socket socket = listener.accept()) {
    bool ambiguous = false;
    connection* c = opener_of(host, socket, ambiguous);
    if (c == nullptr) throw violation(fmt::format("host {} accepted what nobody opened", host));
    if (ambiguous) {
      socket.abort();
      continue;
    }
    side& s = c->sides[1];
    // A client that never got an answer may ask the next boot, or again after its peer gave it up.
    if (s.state == side_state::open && s.socket.failed()) {
      machines_[host]->finish_copies();
      std::erase_if(hosts_[host].active, [&](const end& e) { return e.of == c && e.which == 1; });
      finish(*c, 1, side_state::failed, now, s.socket.error());
    }
    const bool again = is_over(s.state);
    const bool forgotten = s.boot != machines_[host]->boot() || is_disturbed(*c);
    if (s.state != side_state::idle && !(again && forgotten))
      throw violation(fmt::format("accepted twice: {}", describe(*c)));
    if (again && c->over) {
      c->over = false;
      --over_;
    }
    s = side{};
    s.host = host;
    s.boot = machines_[host]->boot();
    s.state = side_state::open;
    s.opened = now;
    s.socket = std::move(socket);
    old_boots_are_gone(host, c->plan.client, c->sides[0].boot);
    hosts_[host].active.push_back({c, 1});
    trace_.note(now, "{} accepts connection {}", host, c->number);
  }
}

/// The latest connection with these ports. `ambiguous`: an earlier boot had one as well.
connection* workload::opener_of(std::size_t host, test::app_socket& s, bool& ambiguous) {
  const std::size_t client = s.link().peer_address - test::made_ip(0);
  connection* found = nullptr;
  for (connection& c : connections_) {
    side& opener = c.sides[0];
    if (c.plan.client != client || c.plan.server != host || opener.boot == 0) continue;
    if (opener.socket) opener.local_port = opener.socket.link().local_port;
    if (opener.local_port != s.link().peer_port) continue;
    if (found != nullptr && !hurry_) {
      ambiguous = true;
      found->excused = c.excused = true;
    }
    found = &c;
  }
  return found;
}

/// `host` has met a boot of `peer`: its connections to earlier ones must have ended.
void workload::old_boots_are_gone(std::size_t host, std::size_t peer, unsigned boot) const {
  for (const end e : hosts_[host].active) {
    side& mine = e.of->sides[e.which];
    const side& theirs = e.of->sides[1 - e.which];
    if (theirs.host != peer || theirs.boot == 0 || theirs.boot >= boot) continue;
    // What both have ended is over, though not all of it was read.
    if (mine.state != side_state::open || (mine.shut && theirs.shut)) continue;
    // Or it is one with the new boot, whose application has not accepted it yet.
    if (mine.opened >= machines_[peer]->booted_at()) continue;
    const std::uint32_t gone = core::socket_link::failed | core::socket_link::closed;
    if ((mine.socket.link().status.load() & gone) == 0)
      throw violation(fmt::format("host {} knows boot {} of {}, but keeps {}", host, boot, peer,
                                  describe(*e.of)));
  }
}

void workload::step(connection& c, std::size_t which, instant now) {
  side& s = c.sides[which];
  const side_plan& plan = c.plan.sides[which];
  if (s.state == side_state::connecting) {
    if (s.socket.failed()) return finish(c, which, side_state::failed, now, s.socket.error());
    if (!s.socket.connected()) return;
    s.state = side_state::open;
    s.opened = now;
    s.local_port = s.socket.link().local_port;
    if (c.sides[1].boot != 0) old_boots_are_gone(s.host, c.plan.server, c.sides[1].boot);
  }
  if (s.socket.is_copying()) return;      // in a call
  const bool failed = s.socket.failed();  // before the last look for bytes
  write(c, which, now);
  const bool more = read(c, which, now);
  if (s.socket.is_copying()) return;
  if (s.socket.at_end() && !s.ended) on_end_of_stream(c, which);
  if (failed) {
    if (!more && now >= s.read_at) finish(c, which, side_state::failed, now, s.socket.error());
    return;
  }
  if (s.socket.unacknowledged() > 0) machines_[s.host]->expect_deadline(now, longest_silence);
  const bool all_written = s.written == plan.bytes;
  const bool early = plan.end == ending::stops_early || plan.end == ending::aborts;
  if (early ? s.written >= plan.stop_at : plan.end == ending::impatient && all_written) {
    s.shut = true;
    if (plan.end == ending::aborts) s.socket.abort();
    return finish(c, which, side_state::stopped, now);
  }
  if (all_written && !s.shut && (plan.end != ending::after_peer || s.ended)) {
    s.socket.shut_down_send();
    s.shut = true;
  }
  if (s.shut && s.ended) finish(c, which, side_state::done, now);
}

void workload::write(connection& c, std::size_t which, instant now) {
  side& s = c.sides[which];
  const side_plan& plan = c.plan.sides[which];
  for (int n = 0; n < writes_a_run && s.written < plan.bytes && now >= s.write_at; ++n) {
    const auto size = std::min<std::uint64_t>(
        {1 + random_.below(plan.write_most), plan.bytes - s.written, piece});
    const auto bytes = std::span(buffer_).first(size);
    test::fill_stream(bytes, s.written, salt(c, which));
    const bool lends = plan.lent > 0 && random_.chance(plan.lent);
    const std::size_t taken =
        lends ? s.socket.write_lent(bytes, machines_[s.host]->lent()) : s.socket.write(bytes);
    s.written += taken;
    if (taken < size) return;
    if (plan.write_pause > duration()) s.write_at = now + around(plan.write_pause);
  }
}

/// Whether there may be more to read.
bool workload::read(connection& c, std::size_t which, instant now) {
  side& s = c.sides[which];
  const side_plan& plan = c.plan.sides[which];
  while (now >= s.read_at) {
    const auto bytes =
        std::span(buffer_).first(std::min<std::size_t>(1 + random_.below(plan.read_most), piece));
    const std::size_t n = s.socket.read(bytes);
    if (n == 0) return false;
    const auto expected = std::span(expected_).first(n);
    test::fill_stream(expected, s.read, salt(c, 1 - which));
    const auto wrong = std::ranges::mismatch(bytes.first(n), expected).in1 - bytes.begin();
    if (wrong != static_cast<std::ptrdiff_t>(n))
      throw violation(fmt::format("byte {} is wrong: {}",
                                  s.read + static_cast<std::uint64_t>(wrong), describe(c)));
    s.read += n;
    if (s.read > c.sides[1 - which].written)
      throw violation(fmt::format("read more than was written: {}", describe(c)));
    if (plan.read_pause > duration()) s.read_at = now + around(plan.read_pause);
  }
  return true;
}

void workload::on_end_of_stream(connection& c, std::size_t which) {
  side& s = c.sides[which];
  const side& peer = c.sides[1 - which];
  s.ended = true;
  if (!peer.shut || s.read != peer.written)
    throw violation(fmt::format("the {}'s stream ends after {} bytes: {}",
                                which == 0 ? "server" : "client", s.read, describe(c)));
}

void workload::finish(connection& c, std::size_t which, side_state state, instant now, errc error) {
  side& s = c.sides[which];
  if (state == side_state::failed) judge(c, which, error);
  s.state = state;
  if (s.socket) s.local_port = s.socket.link().local_port;
  s.socket.close();
  trace_.note(now, "{} of connection {} {} {}", which == 0 ? "client" : "server", c.number,
              name_of(state), error == errc{} ? "" : make_error_code(error).message());
  // A client that is over without ever having met a server is all there is.
  const side& client = c.sides[0];
  const side& server = c.sides[1];
  const bool over =
      is_over(client.state) && (is_over(server.state) || server.state == side_state::idle);
  if (over && !c.over) {
    c.over = true;
    ++over_;
  }
}

/// An error needs a reason: something that was done to the hosts or to the network between them, or
/// an application that ended early.
void workload::judge(const connection& c, std::size_t which, errc error) const {
  const auto unexplained = [&] {
    throw violation(fmt::format("{} got '{}' for no reason: {}", which == 0 ? "client" : "server",
                                make_error_code(error).message(), describe(c)));
  };
  if (error == errc::protocol_error) unexplained();
  if (c.excused || is_disturbed(c)) return;
  const bool connecting = c.sides[which].state == side_state::connecting;
  // A reset that comes before the answer to SYNC is told as a refusal (docs/wire.md).
  const bool reset =
      error == errc::connection_reset || (connecting && error == errc::connection_refused);
  if (reset && !c.plan.orderly()) return;
  const bool hindered = hindered_.contains(std::minmax(c.plan.client, c.plan.server));
  const bool client_gave_up = which == 1 && c.sides[0].state == side_state::failed;
  if (hindered && client_gave_up && error == errc::connection_reset) return;
  const bool no_answer = error == errc::host_unreachable || error == errc::timed_out;
  if (hindered && connecting && no_answer) return;
  const bool scarce = scenario_.short_of_memory || scenario_.backlog < 100;
  if (scarce && (error == errc::connection_refused || error == errc::no_buffer_space)) return;
  unexplained();
}

void workload::tell_unfinished(duration bound) const {
  for (const connection& c : connections_)
    if (was_opened(c) && !c.over)
      throw violation(fmt::format("not over {} s after the faults: {}", bound.ns() / 1'000'000'000,
                                  describe(c)));
  throw violation("connections are miscounted");
}

void workload::close_all() {
  for (host_apps& apps : hosts_) apps.listeners.clear();
}

}  // namespace nd::sim
