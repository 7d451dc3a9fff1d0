// Two hosts with several io lcores each, on a made wire and a made clock.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "lcore/frame_switch.hpp"
#include "unit/support/app.hpp"
#include "unit/support/made_host.hpp"
#include "unit/support/made_wire.hpp"

namespace nd::test {

class lcore_pair {
 public:
  static constexpr duration turn = duration::microseconds(5);
  static constexpr std::uint16_t port_number = 80;

  explicit lcore_pair(std::array<unsigned, 2> lcores,
                      const std::function<void(settings&)>& adjust = {},
                      bool static_neighbors = true)
      : net(1), lcores_(lcores), static_neighbors_(static_neighbors) {
    values.ip = "10.0.0.1/24";
    values.sockets = 1024;
    values.arp_probes = 0;
    if (adjust) adjust(values);
    in_use_before_ = mbufs_in_use();
    for (std::size_t i = 0; i < 2; ++i) start(i);
  }
  ~lcore_pair() {
    for (std::size_t i = 0; i < 2; ++i) stop(i);
  }
  lcore_pair(const lcore_pair&) = delete;
  lcore_pair& operator=(const lcore_pair&) = delete;

  void start(std::size_t i) {
    one& h = hosts_[i];
    port_capabilities c;
    c.mac = made_mac(i);
    h.device = &net.plug(c, pools(i).rx());
    h.address = made_address(i, false);
    h.exchange = std::make_unique<core::lcore_exchange>(lcores_[i]);
    port* const device = h.device;
    h.ports = core::share_devices(*h.exchange, h.address, std::span(&device, 1));
    ++boots_;
    for (unsigned n = 0; n < lcores_[i]; ++n) {
      core::host_config config = made_config(i, values, pools(i));
      config.name += "-" + std::to_string(n);
      if (static_neighbors_) config.neighbors = {{made_ip(1 - i), made_mac(1 - i)}};
      config.epoch = boots_;
      config.cookie_key.fill(static_cast<std::uint8_t>(boots_));
      config.seed = boots_ * 100 + n;
      config.place = {n, lcores_[i]};
      config.exchange = h.exchange.get();
      h.lcores.push_back(std::make_unique<core::host>(config, *h.ports[n], now));
      h.paused.push_back(false);
      h.listeners.push_back(std::make_unique<app_listener>(*h.lcores[n], port_number));
    }
  }
  /// A crash. The applications' sockets must be gone.
  void stop(std::size_t i) {
    one& h = hosts_[i];
    h.listeners.clear();
    for (const auto& l : h.lcores) l->poll(now);  // what was posted
    h.lcores.clear();
    h.ports.clear();
    h.exchange.reset();
    h.paused.clear();
    if (h.device != nullptr) net.unplug(*std::exchange(h.device, nullptr));
  }

  core::host& host(std::size_t i, unsigned lcore) { return *hosts_[i].lcores[lcore]; }
  core::lcore_exchange& exchange(std::size_t i) { return *hosts_[i].exchange; }
  unsigned lcores(std::size_t i) const { return lcores_[i]; }
  void pause(std::size_t i, unsigned lcore, bool on) { hosts_[i].paused[lcore] = on; }
  /// Over all lcores of a host.
  template <class Counter>
  std::uint64_t sum(std::size_t i, Counter counters::*which) {
    std::uint64_t n = 0;
    for (const auto& l : hosts_[i].lcores) n += (l->stats().*which).value();
    return n;
  }

  app_socket connect(std::size_t from, unsigned lcore, std::uint8_t traffic_class = 0) {
    return app_socket(host(from, lcore), made_ip(1 - from), port_number, traffic_class, values);
  }
  /// Of whichever lcore has one.
  app_socket accept(std::size_t i) {
    for (const auto& listener : hosts_[i].listeners)
      if (app_socket s = listener->accept()) return s;
    return {};
  }

  bool run_until(const std::function<bool()>& done, duration limit) {
    for (const instant end = now + limit; now < end; now = now + turn) {
      for (one& h : hosts_)
        for (std::size_t n = 0; n < h.lcores.size(); ++n)
          if (!h.paused[n]) h.lcores[n]->poll(now);
      if (done()) return true;
    }
    return false;
  }
  void run_for(duration span) {
    run_until([] { return false; }, span);
  }

  unsigned mbufs_in_use() { return pools(0).in_use() + pools(1).in_use() - in_use_before_; }

  instant now{1'234'567'891};
  made_wire net;
  settings values;

 private:
  struct one {
    made_wire::made_port* device = nullptr;
    core::host_address address;
    std::unique_ptr<core::lcore_exchange> exchange;
    std::vector<std::unique_ptr<core::switched_port>> ports;
    std::vector<std::unique_ptr<core::host>> lcores;
    std::vector<bool> paused;
    std::vector<std::unique_ptr<app_listener>> listeners;
  };

  static host_pools& pools(std::size_t i) {
    // Never destroyed: the EAL is gone by then.
    static auto& made =
        *new std::array<host_pools, 2>{host_pools(8192, 4096, 1500), host_pools(8192, 4096, 1500)};
    return made[i];
  }

  std::array<unsigned, 2> lcores_;
  bool static_neighbors_;
  std::array<one, 2> hosts_;
  std::uint64_t boots_ = 0;
  unsigned in_use_before_ = 0;
};

}  // namespace nd::test
