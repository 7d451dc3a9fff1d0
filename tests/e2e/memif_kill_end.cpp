#include "memif_kill_end.hpp"

#include <pthread.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/time.hpp"
#include "pmd_glue/ethdev_port.hpp"
#include "pmd_glue/memif_args.hpp"
#include "pmd_glue/memif_guard.hpp"

namespace nd::e2e {
namespace {

using pmd::memif_args;
using pmd::memif_guard;
using pmd::memif_listener_mend;
using pmd::memif_redial;
using pmd::memif_role;

instant clock_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return instant(t.tv_sec * 1'000'000'000 + t.tv_nsec);
}

void tell(int fd, const kill_event& e) {
  if (write(fd, &e, sizeof(e)) != sizeof(e)) std::_Exit(1);
}

rte_mempool* make_pool() {
  return rte_pktmbuf_pool_create("frames", 16'383, 128, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
}

constexpr std::uint16_t burst = 32;
constexpr std::uint16_t frame_bytes = 1400;

/// One lcore, on the driver, with the guard or without.
class node {
 public:
  node(std::uint16_t port, memif_args args, bool guarded, int report_fd)
      : guard_(port),
        redial_(port, args),
        role_(args.role),
        port_(port),
        guarded_(guarded),
        report_fd_(report_fd) {}

  int run() {
    if (!set_up()) return 1;
    report(event_kind::ready, clock_now());
    for (;;) {
      const instant now = clock_now();
      const bool may_poll = guarded_ ? guard_.may_poll(now) : port_has_link();
      note_link(guarded_ ? guard_.link_up() : may_poll, now);
      if (may_poll) {
        turn(now);
      } else if (!link_) {
        redial_.poll(now);
      }
    }
  }

 private:
  bool set_up() {
    pool_ = make_pool();
    if (pool_ == nullptr) return false;
    const rte_eth_conf conf{};
    if (rte_eth_dev_configure(port_, 1, 1, &conf) != 0) return false;
    if (rte_eth_rx_queue_setup(port_, 0, 1024, 0, nullptr, pool_) != 0) return false;
    if (rte_eth_tx_queue_setup(port_, 0, 1024, 0, nullptr) != 0) return false;
    // A client's start fails without its server; redial_ starts it when the server is there.
    return role_ == memif_role::client || rte_eth_dev_start(port_) == 0;
  }

  void turn(instant now) {
    std::array<rte_mbuf*, burst> frames;
    const std::uint16_t n = rte_eth_rx_burst(port_, 0, frames.data(), burst);
    if (n > 0) guard_.received(now);
    if (n > 0 && received_ == 0) report(event_kind::heard, now);
    received_ += n;
    if (role_ == memif_role::server) {
      send(frames.data(), n);
      return;
    }
    rte_pktmbuf_free_bulk(frames.data(), n);
    if (rte_pktmbuf_alloc_bulk(pool_, frames.data(), burst) != 0) return;
    for (rte_mbuf* frame : frames) std::memset(rte_pktmbuf_append(frame, frame_bytes), 1, 64);
    send(frames.data(), burst);
  }

  void send(rte_mbuf** frames, std::uint16_t n) {
    if (n == 0) return;
    const std::uint16_t sent = rte_eth_tx_burst(port_, 0, frames, n);
    rte_pktmbuf_free_bulk(frames + sent, static_cast<unsigned>(n - sent));
  }

  bool port_has_link() const {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  }

  void note_link(bool up, instant now) {
    if (up == link_) return;
    link_ = up;
    if (up) {
      received_ = 0;
      if (guarded_ && may_poll_ns_ == 0) measure();
    }
    report(up ? event_kind::up : event_kind::down, now);
  }

  /// What a poll pays in the steady state. Some 10 ms of it are silence, so few rounds are in it.
  void measure() {
    constexpr int calls = 2'000'000;
    const instant start = clock_now();
    int allowed = 0;
    for (int i = 0; i < calls; ++i) allowed += guard_.may_poll(start) ? 1 : 0;
    const duration spent = clock_now() - start;
    if (allowed == calls) may_poll_ns_ = static_cast<double>(spent.ns()) / calls;
  }

  void report(event_kind kind, instant now) {
    tell(report_fd_, {.kind = kind,
                      .lcores = static_cast<std::uint8_t>(link_ ? 1 : 0),
                      .at_ns = now.ns(),
                      .packets_received = received_,
                      .may_poll_ns = may_poll_ns_});
  }

  memif_guard guard_;
  memif_redial redial_;
  memif_role role_;
  std::uint16_t port_;
  bool guarded_;
  int report_fd_;
  rte_mempool* pool_ = nullptr;
  std::uint64_t received_ = 0;
  double may_poll_ns_ = 0;
  bool link_ = false;
};

/// Several lcores, each with its port, as the runtime has them.
class lcores_node {
 public:
  lcores_node(std::uint16_t id, memif_role role, unsigned lcores, int report_fd)
      : role_(role), report_fd_(report_fd), lcores_(lcores) {
    pool_ = make_pool();
    const settings values(std::map<std::string, std::string, std::less<>>{
        {"ip", "10.19.0.1/24"}, {"port", std::to_string(id)}});
    for (auto& p : pmd::open_ports(values, pmd::port_mtu(values), pool_, lcores, nullptr))
      lcores_[ports_++].port = std::move(p);
  }

  [[noreturn]] void run() {
    tell(report_fd_, {.kind = event_kind::ready, .at_ns = clock_now().ns()});
    std::vector<std::thread> others;
    for (unsigned i = 1; i < lcores_.size(); ++i)
      others.emplace_back([this, i] {
        for (;;) turn(lcores_[i]);
      });
    for (;;) {
      turn(lcores_[0]);
      note_links();
    }
  }

 private:
  struct alignas(64) lcore {
    std::unique_ptr<nd::port> port;
    std::atomic<std::uint64_t> received{0};
    std::atomic<bool> linked{false};
    std::atomic<bool> sends{false};
    std::uint64_t received_before = 0;  ///< the first lcore's, as all that follows
  };

  /// Both lanes are full of frames, as far as others take them.
  void turn(lcore& l) {
    const instant now = clock_now();
    std::array<rte_mbuf*, burst> frames;
    std::size_t n = l.port->rx_urgent(now, frames);
    answer(l, frames, n, [&](auto f) { return l.port->tx_urgent(now, f); });
    n = l.port->rx_burst(now, frames);
    answer(l, frames, n, [&](auto f) { return l.port->tx_burst(now, f); });
    l.port->tick(now);
    l.linked.store(l.port->link_up(), std::memory_order_relaxed);
    l.sends.store(l.port->sends(), std::memory_order_relaxed);
    // There may be fewer CPUs than lcores, of which one that has left the guard's gate waits.
    sched_yield();
  }

  template <class Send>
  void answer(lcore& l, std::array<rte_mbuf*, burst>& frames, std::size_t n, Send send) {
    l.received.fetch_add(n, std::memory_order_relaxed);
    if (role_ == memif_role::client) {
      rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(n));
      if (!l.port->link_up() || !l.port->sends()) return;
      n = 0;
      if (rte_pktmbuf_alloc_bulk(pool_, frames.data(), burst) != 0) return;
      for (rte_mbuf* frame : frames) std::memset(rte_pktmbuf_append(frame, frame_bytes), 1, 64);
      n = frames.size();
    }
    if (n == 0) return;
    const std::size_t sent = send(std::span(frames).first(n));
    rte_pktmbuf_free_bulk(frames.data() + sent, static_cast<unsigned>(n - sent));
  }

  void note_links() {
    const auto linked = [](const lcore& l) { return l.linked.load(std::memory_order_relaxed); };
    const auto sending = [&](const lcore& l) {
      return linked(l) && l.sends.load(std::memory_order_relaxed);
    };
    // They see one after the other that the link is gone: it is down for the last.
    const auto now_up = static_cast<unsigned>(std::ranges::count_if(lcores_, sending));
    const bool gone = std::ranges::none_of(lcores_, linked);
    if (now_up == up_ || (now_up < up_ && !gone)) {
      if (up_ > 0 && !heard_ && received_by_all() > 0) report(event_kind::heard);
      return;
    }
    const event_kind kind = now_up > 0 ? event_kind::up : event_kind::down;
    const std::uint64_t received = received_by_all();
    for (lcore& l : lcores_) l.received_before = l.received.load(std::memory_order_relaxed);
    up_ = now_up;
    report(kind, received);
  }

  /// By the one that received least, of those that have queues, since their number last changed.
  std::uint64_t received_by_all() const {
    std::uint64_t least = ~std::uint64_t{0};
    for (const lcore& l : std::span(lcores_).first(up_))
      least = std::min(least, l.received.load(std::memory_order_relaxed) - l.received_before);
    return up_ > 0 ? least : 0;
  }

  void report(event_kind kind, std::uint64_t received = 0) {
    heard_ = kind == event_kind::heard;
    tell(report_fd_, {.kind = kind,
                      .lcores = static_cast<std::uint8_t>(up_),
                      .at_ns = clock_now().ns(),
                      .packets_received = received});
  }

  memif_role role_;
  int report_fd_;
  rte_mempool* pool_ = nullptr;
  std::vector<lcore> lcores_;
  std::size_t ports_ = 0;
  unsigned up_ = 0;     ///< how many lcores send
  bool heard_ = false;  ///< all of them, and it was reported
};

/// One lcore of each end has a CPU of its own where there are two.
std::string cpus_of(const kill_end& end, memif_role role) {
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  if (end.lcores > 1) return "0@(0-" + std::to_string(count - 1) + ")";
  return role == memif_role::client && count > 1 ? "1" : "0";
}

}  // namespace

int run_kill_end(const kill_end& end) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::optional<memif_args> args = pmd::parse_memif_vdev(end.vdev);
  if (!args) return 1;
  std::vector<std::string> words{"memif_kill",
                                 "--lcores",
                                 cpus_of(end, args->role),
                                 "--no-huge",
                                 "-m",
                                 "256",
                                 "--no-pci",
                                 "--no-telemetry",
                                 "--file-prefix",
                                 end.file_prefix,
                                 "--log-level=lib.eal:warning",
                                 "--log-level=pmd.net.memif:error",
                                 "--log-level=nd:warning",
                                 "--vdev=" + end.vdev};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  pmd::prepare_memif_servers({argv.data(), argv.size()});
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) return 1;
  std::uint16_t port = 0;
  if (rte_eth_dev_get_port_by_name(args->name.c_str(), &port) != 0) return 1;
  if (end.lcores > 1) lcores_node(port, args->role, end.lcores, end.report_fd).run();
  std::optional<memif_listener_mend> mend;
  if (end.guarded) mend.emplace(*args);
  return node(port, *args, end.guarded, end.report_fd).run();
}

}  // namespace nd::e2e
