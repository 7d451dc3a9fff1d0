// Ends of a memif in this process: the library's, opened as the runtime does it, and another kind.
//
// Time is the machine's, because the driver's half of it runs on the EAL's interrupt thread.
#pragma once

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pmd_glue/ethdev_port.hpp"
#include "pmd_glue/memif_guard.hpp"
#include "unit/support/pool.hpp"

namespace nd::test {

inline instant machine_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return instant(t.tv_sec * 1'000'000'000 + t.tv_nsec);
}

/// Each turn until `done`; false after a time that no working end needs.
template <class Turn, class Done>
bool run_until(Turn turn, Done done) {
  for (const instant start = machine_now(); machine_now() - start < duration::seconds(20);) {
    turn();
    if (done()) return true;
  }
  return false;
}

/// Where two ends meet.
class memif_socket {
 public:
  memif_socket() {
    folder_ = std::filesystem::temp_directory_path() / "nd-memif.XXXXXX";
    REQUIRE(mkdtemp(folder_.data()) != nullptr);
  }
  ~memif_socket() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  memif_socket(const memif_socket&) = delete;
  memif_socket& operator=(const memif_socket&) = delete;
  std::string path() const { return folder_ + "/socket"; }

 private:
  std::string folder_;
};

/// The driver's device, which goes with its owner.
class memif_vdev {
 public:
  memif_vdev(const memif_socket& at, const std::string& role)
      : arguments_("role=" + role + ",socket=" + at.path() + ",socket-abstract=no,rsize=7") {
    static unsigned devices = 0;
    name_ = "net_memif" + std::to_string(devices++);
    REQUIRE(rte_eal_hotplug_add("vdev", name_.c_str(), arguments_.c_str()) == 0);
    REQUIRE(rte_eth_dev_get_port_by_name(name_.c_str(), &id_) == 0);
  }
  ~memif_vdev() { rte_eal_hotplug_remove("vdev", name_.c_str()); }
  memif_vdev(const memif_vdev&) = delete;
  memif_vdev& operator=(const memif_vdev&) = delete;
  std::uint16_t id() const noexcept { return id_; }
  pmd::memif_args arguments() const { return *pmd::parse_memif_vdev(name_ + "," + arguments_); }

 private:
  std::string arguments_;
  std::string name_;
  std::uint16_t id_ = 0;
};

/// What is in a frame of a test's, behind the addresses: which queue it was sent on.
inline constexpr std::uint8_t no_queue = 255;

inline rte_mbuf* frame_of(rte_mempool* from, std::uint8_t queue) {
  rte_mbuf* const m = rte_pktmbuf_alloc(from);
  REQUIRE(m != nullptr);
  auto* const bytes = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(m, 60));
  std::fill_n(bytes, 60, queue);
  return m;
}

/// The first byte of each frame that is a test's, in their order; frees all.
inline std::vector<std::uint8_t> queues_of(std::span<rte_mbuf*> frames) {
  std::vector<std::uint8_t> out;
  for (rte_mbuf* m : frames) {
    const auto* const bytes = rte_pktmbuf_mtod(m, const std::uint8_t*);
    if (m->data_len == 60 && bytes[13] == bytes[0] && bytes[59] == bytes[0]) out.push_back(*bytes);
    rte_pktmbuf_free(m);
  }
  return out;
}

using options = std::map<std::string, std::string, std::less<>>;

/// The library's, with the ports of so many lcores, all polled by the test's thread.
class memif_end {
 public:
  memif_end(const memif_socket& at, const std::string& role, unsigned lcores, options more = {})
      : device_(at, role), values_(with_port(std::move(more))) {
    ports_ = pmd::open_ports(values_, pmd::port_mtu(values_), mbufs_.get(), lcores, nullptr);
    REQUIRE(ports_.size() == lcores);
  }

  port& of(unsigned lcore) { return *ports_.at(lcore); }
  unsigned lcores() const noexcept { return static_cast<unsigned>(ports_.size()); }
  std::uint16_t id() const noexcept { return device_.id(); }
  pmd::memif_args arguments() const { return device_.arguments(); }

  /// One look of an lcore: what came on its first lane, and on its second.
  struct seen {
    std::vector<std::uint8_t> bulk;
    std::vector<std::uint8_t> urgent;
  };
  seen poll(unsigned lcore) {
    const instant now = machine_now() + ahead;
    std::array<rte_mbuf*, 32> frames{};
    seen s;
    s.urgent = queues_of(std::span(frames).first(of(lcore).rx_urgent(now, frames)));
    s.bulk = queues_of(std::span(frames).first(of(lcore).rx_burst(now, frames)));
    of(lcore).tick(now);
    return s;
  }
  void poll_all() {
    for (unsigned i = 0; i < ports_.size(); ++i) poll(i);
  }
  /// False if the port took nothing.
  bool send(unsigned lcore, bool urgent, std::uint8_t text) {
    rte_mbuf* m = frame_of(mbufs_.get(), text);
    const std::span one(&m, 1);
    const std::size_t n =
        urgent ? of(lcore).tx_urgent(machine_now(), one) : of(lcore).tx_burst(machine_now(), one);
    if (n == 0) rte_pktmbuf_free(m);
    return n == 1;
  }
  /// Its clock is ahead of the machine's by so much.
  duration ahead{};

  unsigned sending() const {
    unsigned n = 0;
    for (const auto& p : ports_) n += p->link_up() && p->sends() ? 1u : 0u;
    return n;
  }

 private:
  settings with_port(options more) const {
    more.try_emplace("ip", "10.0.0.1/24");
    more.try_emplace("port", std::to_string(device_.id()));
    return settings(more);
  }

  memif_vdev device_;
  settings values_;
  pool mbufs_{4096};
  std::vector<std::unique_ptr<port>> ports_;
};

/// Somebody else's, who knows the protocol of the rings and not our words.
class foreign_memif {
 public:
  foreign_memif(const memif_socket& at, const std::string& role, std::uint16_t receiving,
                std::uint16_t sending)
      : device_(at, role), sending_(sending) {
    const rte_eth_conf configuration{};
    REQUIRE(rte_eth_dev_configure(id(), receiving, sending, &configuration) == 0);
    for (std::uint16_t q = 0; q < receiving; ++q)
      REQUIRE(rte_eth_rx_queue_setup(id(), q, 128, 0, nullptr, mbufs_.get()) == 0);
    for (std::uint16_t q = 0; q < sending; ++q)
      REQUIRE(rte_eth_tx_queue_setup(id(), q, 128, 0, nullptr) == 0);
    const pmd::interrupt_pause pause;
    started_ = rte_eth_dev_start(id()) == 0;
  }
  ~foreign_memif() {
    const pmd::interrupt_pause pause;
    rte_eth_dev_stop(id());
    rte_eth_dev_close(id());
  }

  std::uint16_t id() const noexcept { return device_.id(); }
  bool started() const noexcept { return started_; }
  bool linked() const {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(id(), &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  }
  /// On each of its queues a frame that names it.
  void send_on_all() {
    for (std::uint16_t q = 0; q < sending_; ++q) {
      rte_mbuf* m = frame_of(mbufs_.get(), static_cast<std::uint8_t>(q));
      if (rte_eth_tx_burst(id(), q, &m, 1) == 0) rte_pktmbuf_free(m);
    }
  }
  std::vector<std::uint8_t> receive(std::uint16_t queue) {
    std::array<rte_mbuf*, 32> frames{};
    return queues_of(
        std::span(frames).first(rte_eth_rx_burst(id(), queue, frames.data(), frames.size())));
  }

 private:
  memif_vdev device_;
  std::uint16_t sending_;
  pool mbufs_{4096};
  bool started_ = false;
};

}  // namespace nd::test
