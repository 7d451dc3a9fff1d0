// stage-costs: what each part of a stream costs, in TSC cycles, with both hosts in this process.
// One thread drives lcore i of both hosts and the applications of their sockets, so that nothing
// waits and no cycle is lost: what passes is what it costs. Prints JSON; scripts/scale-model reads
// it.
#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/made_device.hpp"
#include "lcore/app_stream.hpp"
#include "lcore/frame_switch.hpp"
#include "lcore/host.hpp"
#include "pmd_glue/clock.hpp"
#include "unit/support/copiers.hpp"
#include "unit/support/made_host.hpp"

namespace {

using nlohmann::json;

struct options {
  std::uint16_t mtu = 9000;
  unsigned sockets = 1;
  unsigned lcores = 1;
  bool handed = false;
  bool meter = false;
  std::string dcopy;
  std::size_t block = 65536;
  std::size_t memory = 65536;
  double seconds = 0.3;
};

constexpr std::size_t pool_bytes = 20 << 20;  // as a runtime's
constexpr std::uint16_t port_number = 7;

unsigned mbufs_of(std::uint16_t mtu) {
  return static_cast<unsigned>(pool_bytes / (mtu + 512U));
}

/// One host's end of a socket.
struct stream_end {
  nd::core::socket_link* link = nullptr;
  std::optional<nd::core::app_stream> stream;
};

class end {
 public:
  end(std::size_t number, unsigned lcores, const options& o, nd::test::host_pools& pools,
      nd::instant now)
      : pools_(pools) {
    nd::settings values;
    values.arp_probes = 0;
    nd::core::host_config c = nd::test::made_config(number, values, pools);
    c.neighbors = {{nd::test::made_ip(1 - number), nd::test::made_mac(1 - number)}};
    c.epoch = 1;
    if (o.meter) c.cycle_clock = nd::pmd::read_cycles;
    address_ = c.address;
    std::vector<nd::port*> devices;
    for (unsigned i = 0; i < (o.handed ? 1 : lcores); ++i) {
      ports.push_back(std::make_unique<nd::bench::made_device>(
          number, o.mtu, pools.rx(), o.meter ? nd::pmd::read_cycles : nullptr));
      devices.push_back(ports.back().get());
    }
    if (lcores > 1) {
      exchange_ = std::make_unique<nd::core::lcore_exchange>(lcores);
      shared_ = nd::core::share_devices(*exchange_, address_, devices);
    }
    for (unsigned i = 0; i < lcores; ++i) {
      nd::core::host_config own = c;
      own.name += "-" + std::to_string(i);
      own.seed = 1 + number * 100 + i;
      own.place = {i, lcores};
      own.exchange = exchange_.get();
      nd::port& device = exchange_ ? static_cast<nd::port&>(*shared_[i]) : *ports[i];
      hosts.push_back(std::make_unique<nd::core::host>(own, device, now));
    }
  }
  void post(nd::core::app_end& what, std::uint32_t requests) {
    nd::core::post(hosts[what.lcore]->mailbox(), what, requests, rte_pause);
  }
  void use(stream_end& e, nd::core::socket_link* link) {
    e.link = link;
    e.stream.emplace(nd::core::app_environment{.pool = pools_.tx(),
                                               .digests = hosts[0]->digests(),
                                               .same_thread = true,
                                               .copies = copies ? &*copies : nullptr,
                                               .most_unsent = hosts[0]->most_unsent()},
                     *link);
  }

  std::vector<std::unique_ptr<nd::bench::made_device>> ports;
  std::optional<nd::test::copiers> copies;

 private:
  nd::test::host_pools& pools_;
  nd::core::host_address address_;
  std::unique_ptr<nd::core::lcore_exchange> exchange_;
  std::vector<std::unique_ptr<nd::core::switched_port>> shared_;

 public:
  std::vector<std::unique_ptr<nd::core::host>> hosts;
};

/// What one thread drives.
struct worker {
  std::vector<nd::core::host*> near, far;
  std::vector<std::size_t> sockets;
  std::vector<std::byte> memory, buffer;
  std::size_t at = 0, next = 0;
  alignas(64) std::atomic<std::uint64_t> bytes{0};
};

class run {
 public:
  run(const options& o, nd::test::host_pools& near, nd::test::host_pools& far)
      : options_(o),
        near_(0, o.lcores, o, near, clock_.now()),
        far_(1, o.handed ? 2 : o.lcores, o, far, clock_.now()) {
    for (std::size_t i = 0; i < near_.ports.size(); ++i) {
      near_.ports[i]->join(*far_.ports[i]);
      far_.ports[i]->join(*near_.ports[i]);
    }
    end* const copied = o.dcopy == "write" ? &near_ : o.dcopy == "read" ? &far_ : nullptr;
    if (copied != nullptr)
      copied->copies.emplace(*copied->hosts[0], 1, &rte_pause,
                             o.meter ? nd::pmd::read_cycles : nullptr);
    connect();
    for (unsigned i = 0; i < o.lcores; ++i) {
      auto w = std::make_unique<worker>();
      w->near.push_back(near_.hosts[i].get());
      w->far.push_back(far_.hosts[i].get());
      if (o.handed) w->far.push_back(far_.hosts[1].get());
      for (std::size_t s = i; s < near_ends_.size(); s += o.lcores) w->sockets.push_back(s);
      w->memory.assign(std::max(o.memory, o.block), std::byte{0x5a});
      w->buffer.resize(o.block);
      workers_.push_back(std::move(w));
    }
  }
  ~run() { rte_eal_mp_wait_lcore(); }
  run(const run&) = delete;
  run& operator=(const run&) = delete;

  json measure() {
    const auto launch = [&](auto&& loop, void* of) {
      if (rte_eal_remote_launch(loop, of, 1) != 0) throw std::runtime_error("lcore 1 is busy");
    };
    if (workers_.size() > 1)
      launch(
          [](void* self) {
            auto& r = *static_cast<run*>(self);
            while (!r.stop_.load(std::memory_order_relaxed)) r.turn(*r.workers_[1]);
            return 0;
          },
          this);
    if (near_.copies || far_.copies)
      launch(
          [](void* self) {
            auto& r = *static_cast<run*>(self);
            auto& copies = r.near_.copies ? r.near_.copies : r.far_.copies;
            while (!r.stop_.load(std::memory_order_relaxed))
              copies->lcores.front()->poll(r.clock_.now());
            return 0;
          },
          this);
    drive(options_.seconds / 4);
    const json before = counted();
    const std::uint64_t bytes = read_so_far();
    const std::uint64_t began = rte_rdtsc();
    drive(options_.seconds);
    const auto cycles = static_cast<double>(rte_rdtsc() - began);
    const auto moved = static_cast<double>(read_so_far() - bytes);
    const json after = counted();
    stop_.store(true);
    rte_eal_mp_wait_lcore();
    const auto hz = static_cast<double>(rte_get_tsc_hz());
    json out{{"hz", hz},
             {"bytes", moved},
             {"cycles", cycles},
             {"gbps", moved * 8e-9 * hz / cycles},
             {"max_segment", near_ends_[0].link->max_segment.load()}};
    for (const auto& [end, counters] : after.items())
      for (const auto& [name, value] : counters.items())
        out[end][name] = value.get<double>() - before.at(end).at(name).get<double>();
    out["idle_turn"] = idle_turn();
    return out;
  }

 private:
  void connect() {
    std::vector<nd::core::listener_link*> listeners;
    for (std::size_t i = 0; i < far_.hosts.size(); ++i) {
      listeners.push_back(new nd::core::listener_link(1024));
      listeners.back()->port = port_number;
      listeners.back()->lcore = static_cast<std::uint8_t>(i);
      far_.post(*listeners.back(), nd::core::request_listen);
    }
    near_ends_.resize(std::size_t{options_.sockets} * options_.lcores);
    far_ends_.resize(near_ends_.size());
    for (std::size_t made = 0; made < near_ends_.size();) {
      auto* link = new nd::core::socket_link;
      link->peer_address = nd::test::made_ip(1);
      link->peer_port = port_number;
      link->lcore = static_cast<std::uint8_t>(made % options_.lcores);
      link->send_buffer = 2 << 20;
      link->receive_buffer = 1 << 20;
      near_.post(*link, nd::core::request_connect);
      nd::core::socket_link* accepted = nullptr;
      while (accepted == nullptr || (link->status.load() & nd::core::socket_link::connected) == 0) {
        for (end* e : {&near_, &far_})
          for (const auto& h : e->hosts) h->poll(clock_.now());
        for (nd::core::listener_link* l : listeners)
          if (accepted == nullptr) accepted = l->accepted.pop();
      }
      // The channel is the far host's first lcore's: only sockets of its second one are handed to.
      if (options_.handed && accepted->lcore != 1) continue;  // it stays, idle
      near_.use(near_ends_[made], link);
      far_.use(far_ends_[made], accepted);
      ++made;
    }
  }

  void turn(worker& w) {
    write(w);
    for (nd::core::host* h : w.near) h->poll(clock_.now());
    for (nd::core::host* h : w.far) h->poll(clock_.now());
    for (const std::size_t s : w.sockets) read(w, far_ends_[s]);
  }
  /// Of one socket, each in turn.
  void write(worker& w) {
    stream_end& e = near_ends_[w.sockets[w.next]];
    if (e.stream->copying_out()) return;  // its application waits
    w.next = (w.next + 1) % w.sockets.size();
    if (e.stream->writable() < options_.block) return;
    {
      const nd::stage_meter::scope copying(w.near.front()->meter(), nd::stage::copy);
      e.stream->put(std::span(w.memory).subspan(w.at, options_.block));
    }
    near_.post(*e.link, nd::core::request_send);
    w.at += options_.block;
    if (w.at + options_.block > w.memory.size()) w.at = 0;
  }
  void read(worker& w, stream_end& e) {
    if (e.stream->copying_in()) return;
    if (std::exchange(taken_, false)) publish(e);  // dcopy: there is one socket
    std::size_t n = 0;
    {
      const nd::stage_meter::scope copying(w.far.back()->meter(), nd::stage::copy);
      n = e.stream->take(w.buffer);
    }
    if (n == 0) return;
    w.bytes.store(w.bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    if (!e.stream->copying_in()) return publish(e);
    taken_ = true;
  }
  void publish(stream_end& e) {
    e.stream->publish_consumed();
    far_.post(*e.link, nd::core::request_consumed);
  }

  void drive(double seconds) {
    const std::uint64_t until =
        rte_rdtsc() + static_cast<std::uint64_t>(seconds * static_cast<double>(rte_get_tsc_hz()));
    while (rte_rdtsc() < until) turn(*workers_[0]);
  }

  std::uint64_t read_so_far() const {
    std::uint64_t sum = 0;
    for (const auto& w : workers_) sum += w->bytes.load(std::memory_order_relaxed);
    return sum;
  }

  json counted() const {
    json out;
    const auto add = [&](const char* end, const nd::counters& c) {
      c.for_each([&](std::string_view name, auto, auto, std::uint64_t value) {
        json& sum = out[end][std::string(name)];
        sum = (sum.is_null() ? 0.0 : sum.get<double>()) + static_cast<double>(value);
      });
    };
    for (const auto& [name, e] : {std::pair("near", &near_), std::pair("far", &far_)}) {
      for (const auto& h : e->hosts) add(name, h->stats());
      double wire = 0;
      for (const auto& p : e->ports) wire += static_cast<double>(p->copy_cycles());
      out[name]["cycles_wire"] = wire;
      out[name]["by_callers"] = e->copies ? static_cast<double>(e->copies->by_callers.load()) : 0.0;
      if (e->copies)
        for (const auto& l : e->copies->lcores) add("dcopy", l->stats());
    }
    return out;
  }

  /// Cycles of a host's turn that finds nothing: the streams stand still.
  double idle_turn() {
    constexpr int turns = 100'000;
    for (int i = 0; i < 10'000; ++i)
      for (end* e : {&near_, &far_})
        for (const auto& h : e->hosts) h->poll(clock_.now());
    const std::uint64_t began = rte_rdtsc();
    for (int i = 0; i < turns; ++i) near_.hosts[0]->poll(clock_.now());
    return static_cast<double>(rte_rdtsc() - began) / turns;
  }

  const options& options_;
  nd::pmd::tsc_clock clock_;
  end near_;
  end far_;
  std::vector<stream_end> near_ends_, far_ends_;
  std::vector<std::unique_ptr<worker>> workers_;
  bool taken_ = false;  ///< by a dcopy lcore, and the stack was not told
  std::atomic<bool> stop_{false};
};

void start_eal() {
  std::vector<std::string> args{"stage-costs",
                                "--no-huge",
                                "-m",
                                "384",
                                "--no-pci",
                                "--no-telemetry",
                                "--no-shconf",
                                "--log-level=*:4",
                                "--lcores=0@0,1@1",
                                fmt::format("--file-prefix=stage-costs-{}", ::getpid())};
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app(
      "What each part of a stream costs, with both hosts in this process, as JSON. Takes one core, "
      "with --lcores 2 and --dcopy two; no root.");
  app.add_option("--mtu", o.mtu, "bytes (default 9000)")->check(CLI::Range(1500, 9000));
  app.add_option("--sockets", o.sockets, "of each lcore (default 1)")->check(CLI::Range(1, 64));
  app.add_option("--lcores", o.lcores, "of each host, a thread each (default 1)")
      ->check(CLI::Range(1, 2));
  app.add_flag("--handed", o.handed,
               "the receiver has a second lcore, whose sockets' packets come to the first one");
  app.add_flag("--meter", o.meter, "count cycles by stage");
  app.add_option("--dcopy", o.dcopy, "a dcopy lcore copies: write or read")
      ->check(CLI::IsMember({"write", "read"}));
  app.add_option("--block", o.block, "bytes a write and a read (default 65536)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--memory", o.memory,
                 "bytes that the blocks of an lcore come from, in turn (default 65536: a cache's)")
      ->check(CLI::Range(1 << 16, 1 << 30));
  app.add_option("--seconds", o.seconds, "(default 0.3)")->check(CLI::Range(0.01, 60.0));
  CLI11_PARSE(app, argc, argv);
  if ((o.handed && o.lcores > 1) || (!o.dcopy.empty() && o.lcores * o.sockets > 1)) {
    fmt::print(stderr, "stage-costs: --handed is for one lcore, --dcopy for one socket of one\n");
    return 2;
  }
  start_eal();
  nd::test::host_pools near(mbufs_of(o.mtu), mbufs_of(o.mtu), o.mtu);
  nd::test::host_pools far(mbufs_of(o.mtu), mbufs_of(o.mtu), o.mtu);
  try {
    const json result = run(o, near, far).measure();
    if (result.at("bytes").get<double>() == 0) throw std::runtime_error("no bytes moved");
    fmt::print("{}\n", result.dump());
  } catch (const std::exception& e) {
    fmt::print(stderr, "stage-costs: {}\n", e.what());
    return 1;
  }
  return 0;
}
