// A peer that dies and comes back, a thousand times: how long until it is noticed, until its next
// life is reached, and whether anything of an earlier one is delivered.
#include <fmt/core.h>

#include <cstdlib>
#include <optional>

#include "base/rng.hpp"
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

struct worst_and_mean {
  duration worst;
  std::int64_t sum_ns = 0;
  std::int64_t count = 0;
  void add(duration d) {
    worst = std::max(worst, d);
    sum_ns += d.ns();
    ++count;
  }
};

void print(const char* what, const worst_and_mean& w) {
  fmt::print(
      "{:<44} {:5} times, mean {:5.1f} ms, worst {:5.1f} ms\n", what, w.count,
      static_cast<double>(w.sum_ns) / 1e6 / static_cast<double>(std::max<std::int64_t>(w.count, 1)),
      static_cast<double>(w.worst.ns()) / 1e6);
}

/// Host 0 stays; host 1 dies and boots again. What each life says has contents of its own.
class cycles {
 public:
  explicit cycles(bool asks_for_addresses)
      : p_({.static_neighbors = !asks_for_addresses, .adjust = [=](settings& s) {
              if (asks_for_addresses) s.arp_probes = 3;
              s.channels_throughput = 2;
            }}) {
    p_.net.on_frame = [this](made_frame& f, frame_fate& fate) { keep(f, fate); };
    listen();
  }
  ~cycles() {
    drop_connection();
    listener_.reset();
    p_.net.on_frame = nullptr;
    for (std::size_t i = 0; i < 2; ++i) p_.stop(i);
    CHECK(p_.mbufs_in_use() == 0);
  }

  /// One life of host 1, from its connection to the next one's.
  void play() {
    const bool busy = random_.chance(0.7), stays_down = random_.chance(0.6);
    connect();
    const duration life = milliseconds(busy ? 1 + random_.below(8) : 150 + random_.below(100));
    p_.run_until([&] { return talk(busy, true); }, life);
    REQUIRE_FALSE(client_.failed());
    die();
    const instant died = p_.now;
    if (stays_down) {
      REQUIRE(p_.run_until([&] { return talk(busy, false) || client_.failed(); },
                           duration::seconds(2)));
      CHECK(client_.error() == errc::peer_lost);
      (busy ? noticed_busy : noticed_idle).add(p_.now - died);
    }
    // A client that asks again at once, and a peer that takes its time.
    if (random_.chance(0.5)) client_ = p_.connect(0, 80);
    p_.run_until([&] { return talk(busy, false); }, milliseconds(random_.below(400)));
    boot();
    const instant booted = p_.now;
    bring_old_frames();
    if (client_.connected()) client_ = p_.connect(0, 80);  // it does not know yet
    connect();
    reached.add(p_.now - booted);
  }

  worst_and_mean noticed_busy, noticed_idle, reached;
  std::uint64_t old_frames = 0;

  std::uint64_t wrong() const { return wrong_; }
  const host_pair& pair() const { return p_; }

 private:
  static duration milliseconds(std::uint64_t n) {
    return duration::milliseconds(static_cast<std::int64_t>(n));
  }

  void listen() { listener_.emplace(p_.host(1), 80); }

  void drop_connection() {
    client_.close();
    server_.close();
  }

  /// Until a connection to the life that is stands: a client that fails tries again.
  void connect() {
    if (client_ && client_.connected() && server_ && !client_.failed()) return;
    if (!client_) client_ = p_.connect(0, 80);
    REQUIRE(p_.run_until(
        [&] {
          if (client_.failed()) client_ = p_.connect(0, 80);
          while (app_socket s = listener_->accept()) server_ = std::move(s);
          return client_.connected() && server_ && !server_.failed();
        },
        duration::seconds(5)));
    ++connection_;
  }

  /// Both sides write and read; each byte must be this connection's.
  bool talk(bool busy, bool both) {
    const auto step = [&](app_socket& s, std::uint64_t in, std::uint64_t out) {
      if (!s || s.failed() || !s.connected()) return;
      if (busy && s.unacknowledged() < 10'000) {
        std::array<std::byte, 1000> bytes;
        fill_stream(bytes, s.written(), out);
        s.write(bytes);
      }
      reader r{s, in};
      r.run();
      wrong_ += r.wrong;
    };
    step(client_, connection_ * 2 + 1, connection_ * 2);
    if (both) step(server_, connection_ * 2, connection_ * 2 + 1);
    return false;
  }

  void die() {
    listener_->forget();
    listener_.reset();
    p_.kill(1);
    server_.forget();
  }

  void boot() {
    p_.start(1);
    listen();
  }

  /// Some of what was sent is kept, and comes again in a later life.
  void keep(made_frame& f, frame_fate&) {
    if (f.is_arp() || kept_.size() >= 200 || !random_.chance(0.02)) return;
    kept_.push_back({f.from == 0 ? std::size_t{1} : std::size_t{0}, f.bytes});
  }
  void bring_old_frames() {
    for (const kept_frame& f : kept_) {
      const instant when = p_.now + milliseconds(random_.below(20));
      p_.net.inject(when, p_.device(f.to).number(), f.bytes);
      ++old_frames;
    }
    kept_.clear();
  }

  struct kept_frame {
    std::size_t to;  ///< which host
    std::vector<std::byte> bytes;
  };

  host_pair p_;
  rng random_{7};
  std::optional<app_listener> listener_;
  app_socket client_, server_;
  std::uint64_t connection_ = 0;  ///< which one this is: its contents
  std::uint64_t wrong_ = 0;
  std::vector<kept_frame> kept_;
};

TEST_CASE("A peer that dies and comes back, 1,000 times", "[recovery]") {
  for (const bool asks : {false, true}) {
    cycles c(asks);
    const int times = std::getenv("ND_SANITIZED") != nullptr ? 100 : 500;
    for (int n = 0; n < times; ++n) {
      CAPTURE(asks, n);
      c.play();
    }
    fmt::print("neighbours {}:\n", asks ? "found by ARP" : "given");
    print("  death noticed, bytes in flight", c.noticed_busy);
    print("  death noticed, idle", c.noticed_idle);
    print("  connection to the next life, after its boot", c.reached);
    fmt::print("  {} frames of earlier lives, {} wrong bytes delivered\n", c.old_frames, c.wrong());
    CHECK(c.noticed_busy.worst <= duration::milliseconds(100));
    CHECK(c.noticed_idle.worst <= duration::milliseconds(500));
    CHECK(c.reached.worst <= duration::milliseconds(50));
    CHECK(c.wrong() == 0);
    CHECK(c.old_frames > static_cast<unsigned>(times));
  }
}

/// Host 1's lcore stands still for `span`, `times` times, under load; what that ends.
struct pause_cost {
  int lost = 0;
  worst_and_mean away;  ///< from the end of the pause to the next byte of a connection that lives
};

pause_cost pauses_of(duration span, int times) {
  host_pair p;
  pause_cost cost;
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80), server;
    std::array<std::byte, 1000> buffer{};
    std::uint64_t received = 0;
    const auto go_on = [&] {
      if (client.failed()) {
        client = p.connect(0, 80);
        ++cost.lost;
      }
      while (app_socket s = listener.accept()) server = std::move(s);
      if (client.connected() && client.unacknowledged() < 5'000) client.write(buffer);
      if (server) received += server.read(buffer);
      return false;
    };
    p.run_until(go_on, duration::milliseconds(20));
    for (int n = 0; n < times; ++n) {
      // Frames wait in its ring; what it would have sent is not sent.
      const instant ends = p.now + span;
      p.pause(1, ends);
      p.run_until(go_on, span);
      const std::uint64_t acked = client.written() - client.unacknowledged();
      const auto lives = [&] {
        return client.connected() && client.written() - client.unacknowledged() != acked;
      };
      REQUIRE(p.run_until([&] { return go_on() || lives(); }, duration::seconds(5)));
      cost.away.add(p.now - ends);
      p.run_until(go_on, duration::milliseconds(50));
    }
    client.abort();
    server.close();
    p.run_for(duration::milliseconds(5));
  }
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
  return cost;
}

TEST_CASE("What a pause costs", "[recovery]") {
  for (const int ms : {20, 70, 90, 140, 200, 290, 500}) {
    CAPTURE(ms);
    const pause_cost c = pauses_of(duration::milliseconds(ms), 10);
    fmt::print(
        "10 pauses of {:3} ms under load: {:2} connections lost; bytes again after {:.2f} ms "
        "at worst\n",
        ms, c.lost, static_cast<double>(c.away.worst.ns()) / 1e6);
    // The first ones teach.
    CHECK(c.lost == (ms <= 70 ? 0 : ms <= 140 ? 1 : ms <= 290 ? 2 : 10));
    CHECK(c.away.worst <= duration::milliseconds(1));
  }
}

}  // namespace
}  // namespace nd::test
