// Two whole stacks on a made wire and a made clock.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "unit/support/app.hpp"
#include "unit/support/made_host.hpp"
#include "unit/support/made_wire.hpp"

namespace nd::test {

struct pair_options {
  std::uint64_t seed = 1;
  bool udp = false;
  std::uint16_t mtu = 1500;
  bool chains = false;  ///< the devices take frames in several mbufs
  unsigned rx_mbufs = 4096;
  unsigned tx_mbufs = 4096;
  bool static_neighbors = true;
  host_pools::maker make_pool = &host_pools::make_standard;
  std::function<void(settings&)> adjust = {};                           ///< of both hosts
  std::function<void(std::size_t, core::host_config&)> configure = {};  ///< each host
};

class host_pair {
 public:
  static constexpr std::uint32_t ip_of(std::size_t i) noexcept { return made_ip(i); }
  static mac_address mac_of(std::size_t i) noexcept { return made_mac(i); }
  /// The time a turn of the loop takes; one in which nothing happened is followed by longer ones,
  /// because made time costs real time.
  static constexpr duration turn = duration::microseconds(5);
  static constexpr duration longest_turn = duration::microseconds(80);

  explicit host_pair(pair_options options = {})
      : net(options.seed), options_(std::move(options)), pools_(pools_for(options_)) {
    values.ip = "10.0.0.1/24";
    values.sockets = 1024;
    values.arp_probes = 0;  // most tests count frames
    values.encap = options_.udp ? "udp" : "ip";
    if (options_.adjust) options_.adjust(values);
    in_use_before_ = mbufs_in_use();  // an earlier test may have failed
    for (std::size_t i = 0; i < 2; ++i) start(i);
  }
  ~host_pair() {
    net.on_frame = nullptr;  // what it refers to may be gone
    for (std::size_t i = 0; i < 2; ++i) stop(i);
  }
  host_pair(const host_pair&) = delete;
  host_pair& operator=(const host_pair&) = delete;

  core::host& host(std::size_t i) { return *hosts_[i]; }
  bool up(std::size_t i) const { return hosts_[i] != nullptr; }
  made_wire::made_port& device(std::size_t i) { return *devices_[i]; }
  host_pools& pools(std::size_t i) { return *(*pools_)[i]; }
  const counters& stats(std::size_t i) const { return hosts_[i]->stats(); }
  unsigned mbufs_in_use() const {
    return (*pools_)[0]->in_use() + (*pools_)[1]->in_use() - in_use_before_;
  }

  /// A crash: nothing is said to anybody. The applications' sockets must be gone.
  void stop(std::size_t i) {
    if (hosts_[i] == nullptr) return;
    do hosts_[i]->poll(now);  // closes that were posted
    while (!hosts_[i]->mailbox().empty());
    kill(i);
  }
  /// Like stop(), without a last turn.
  void kill(std::size_t i) {
    hosts_[i].reset();
    net.unplug(*devices_[i]);
  }
  /// A boot with a later epoch.
  void start(std::size_t i) {
    port_capabilities c;
    c.mac = mac_of(i);
    c.mtu = options_.mtu;
    c.tx_chains = options_.chains;
    devices_[i] = &net.plug(c, pools(i).rx());
    core::host_config config = made_config(i, values, pools(i));
    if (options_.static_neighbors) config.neighbors = {{ip_of(1 - i), mac_of(1 - i)}};
    config.epoch = ++boots_;
    config.cookie_key.fill(static_cast<std::uint8_t>(boots_));
    config.seed = options_.seed * 1000 + boots_;
    if (options_.configure) options_.configure(i, config);
    hosts_[i] = std::make_unique<core::host>(config, *devices_[i], now);
  }

  /// The lcore stands still.
  void pause(std::size_t i, instant until) { paused_until_[i] = until; }

  app_socket connect(std::size_t from, std::uint16_t port, std::uint8_t traffic_class = 0) {
    return app_socket(host(from), ip_of(1 - from), port, traffic_class, values);
  }

  /// Polls until `done()`, for at most `limit`; whether it was done. `done` is asked after each
  /// turn: it may drive applications.
  bool run_until(const std::function<bool()>& done, duration limit) {
    const instant end = now + limit;
    duration pause = turn;
    for (;;) {
      const std::uint64_t frames = net.frames();
      const std::size_t served = poll();
      if (done()) return true;
      if (now >= end) return false;
      pause = served > 0 || net.frames() != frames ? turn : std::min(pause * 2, longest_turn);
      const instant next = requested() ? now + turn : next_event();
      now = std::min(next > now ? next : earlier(now + pause, next_arrival()), end);
    }
  }
  void run_for(duration span) {
    run_until([] { return false; }, span);
  }

  /// A turn of both hosts; how much they served.
  std::size_t poll() {
    std::size_t served = 0;
    for (std::size_t i = 0; i < 2; ++i)
      if (hosts_[i] != nullptr && now >= paused_until_[i]) served += hosts_[i]->poll(now);
    ++polls;
    return served;
  }
  instant next_event() const {
    instant next = next_arrival();
    for (std::size_t i = 0; i < 2; ++i) {
      if (hosts_[i] == nullptr) continue;
      next = earlier(next, std::max(hosts_[i]->next_deadline(), paused_until_[i]));
    }
    return next;
  }

  /// At a host that takes it.
  instant next_arrival() const {
    instant next = instant::never();
    for (std::size_t i = 0; i < 2; ++i)
      next = earlier(next, std::max(devices_[i]->next_arrival(), paused_until_[i]));
    return next;
  }

  /// With all applications' sockets closed: whether everything comes to rest. A socket that is left
  /// would keep its peer's channels alive, and so frames on the wire.
  bool comes_to_rest(duration limit = duration::seconds(15)) {
    const instant end = now + limit;
    while (now < end) {
      const std::uint64_t before = net.frames();
      run_for(values.keepalive * 3);
      if (net.frames() == before && next_event() > now + duration::seconds(1)) return true;
    }
    return false;
  }

  instant now{1'234'567'891};
  made_wire net;
  settings values;
  std::uint64_t polls = 0;

 private:
  /// Applications ask for something.
  bool requested() const {
    return std::ranges::any_of(hosts_,
                               [](const auto& h) { return h != nullptr && !h->mailbox().empty(); });
  }

  using pools_pair = std::array<std::unique_ptr<host_pools>, 2>;

  static pools_pair* pools_for(const pair_options& o) {
    // Never destroyed: the EAL is gone by then.
    static auto& made =
        *new std::map<std::tuple<host_pools::maker, unsigned, unsigned, unsigned>, pools_pair>;
    pools_pair& p = made[{o.make_pool, o.rx_mbufs, o.tx_mbufs, o.mtu}];
    for (auto& one : p)
      if (one == nullptr)
        one = std::make_unique<host_pools>(o.rx_mbufs, o.tx_mbufs, o.mtu, o.make_pool);
    return &p;
  }

  pair_options options_;
  pools_pair* pools_;
  std::array<made_wire::made_port*, 2> devices_{};
  std::array<std::unique_ptr<core::host>, 2> hosts_;
  std::array<instant, 2> paused_until_{};
  std::uint64_t boots_ = 0;
  unsigned in_use_before_ = 0;
};

}  // namespace nd::test
