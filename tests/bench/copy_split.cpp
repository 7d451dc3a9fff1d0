// copy-split: what a dcopy lcore, or lending, takes off the core of the application and the stack.
// One thread drives both hosts of a stream; the sender's cycles are counted by stage of the data
// path, each way in turns.
#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/made_device.hpp"
#include "lcore/app_stream.hpp"
#include "lcore/host.hpp"
#include "pmd_glue/clock.hpp"
#include "unit/support/copiers.hpp"
#include "unit/support/made_host.hpp"

namespace {

using clock_type = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

struct options {
  std::size_t block = 65536;
  std::size_t memory = 64 << 20;  ///< that the blocks come from, one after the other
  int turns = 5;
  bool checksum = true;
  seconds time{0.5};
};

constexpr std::array stages{"copy", "socket", "channel", "tx", "rx", "parse"};

enum class way : std::uint8_t { caller, dcopy, lent };
constexpr std::size_t ways = 3;
constexpr const char* name_of(way how) {
  return how == way::caller ? "caller" : how == way::dcopy ? "dcopy lcore" : "lent";
}

/// What nobody waits for: the bytes never change.
class endless_loan final : public nd::loan_count {};

/// Of one turn.
struct cost {
  std::map<std::string, double> cycles_a_byte;
  double gbps = 0;
  double by_callers = 0;  ///< share of the bytes that dcopy lcores had no time for
  double on_core() const {
    double sum = 0;
    for (const char* s : stages) sum += cycles_a_byte.at(s);
    return sum;
  }
};

/// A host with its device and its application's socket.
struct end {
  end(std::size_t number, nd::test::host_pools& pools, bool checksum, nd::instant now)
      : port(number, 9000, pools.rx()), host(configuration(number, pools, checksum), port, now) {}
  static nd::core::host_config configuration(std::size_t number, nd::test::host_pools& pools,
                                             bool checksum) {
    nd::settings values;
    if (!checksum) values.checksum = "none";
    values.arp_probes = 0;
    nd::core::host_config c = nd::test::made_config(number, values, pools);
    c.neighbors = {{nd::test::made_ip(1 - number), nd::test::made_mac(1 - number)}};
    c.epoch = 1;
    c.seed = 1 + number;
    c.cycle_clock = nd::pmd::read_cycles;
    return c;
  }
  void use(nd::core::socket_link* l, nd::core::copy_service* copies = nullptr) {
    link = l;
    stream.emplace(nd::core::app_environment{.pool = host.tx_pool(),
                                             .digests = host.digests(),
                                             .same_thread = true,
                                             .copies = copies,
                                             .can_lend = host.can_lend(),
                                             .late_digests = host.late_digests()},
                   *l);
  }
  void post(nd::core::app_end& what, std::uint32_t requests) {
    nd::core::post(host.mailbox(), what, requests, rte_pause);
  }

  nd::bench::made_device port;
  nd::core::host host;
  nd::core::socket_link* link = nullptr;
  std::optional<nd::core::app_stream> stream;
};

class run {
 public:
  run(way how, const options& o, nd::test::host_pools& near, nd::test::host_pools& far)
      : options_(o),
        how_(how),
        lent_pool_(near.lent()),
        near_(0, near, o.checksum, clock_.now()),
        far_(1, far, o.checksum, clock_.now()),
        memory_(o.memory, std::byte{0x5a}),
        buffer_(256 << 10) {
    near_.port.join(far_.port);
    far_.port.join(near_.port);
    if (how == way::dcopy) start_dcopy();
    connect();
  }
  ~run() {
    for (end* e : {&near_, &far_}) {
      e->stream.reset();
      e->post(*e->link, nd::core::request_close | nd::core::request_abort);
    }
    far_.post(*listener_, nd::core::request_close);
    for (int i = 0; i < 1000; ++i) poll();
    loan_->give_back();
    stop_.store(true);
    rte_eal_mp_wait_lcore();
  }
  run(const run&) = delete;
  run& operator=(const run&) = delete;

  cost measure() {
    for (const auto until = clock_type::now() + options_.time / 4; clock_type::now() < until;)
      turn();
    const std::uint64_t by_callers = by_callers_so_far();
    const auto before = counted();
    const auto began = clock_type::now();
    while (clock_type::now() < began + options_.time) turn();
    const seconds took = clock_type::now() - began;
    const auto after = counted();
    const auto spent = [&](const std::string& name) { return after.at(name) - before.at(name); };
    const double bytes = spent("payload_bytes_sent");
    cost c;
    for (const char* s : stages) c.cycles_a_byte[s] = spent(std::string("cycles_") + s) / bytes;
    c.cycles_a_byte["dcopy"] = spent("cycles_dcopy") / bytes;
    c.gbps = bytes * 8e-9 / took.count();
    c.by_callers = static_cast<double>(by_callers_so_far() - by_callers) / bytes;
    return c;
  }

 private:
  void start_dcopy() {
    copies_.emplace(near_.host, 1, &rte_pause, nd::pmd::read_cycles);
    const auto loop = [](void* self) {
      auto& r = *static_cast<run*>(self);
      while (!r.stop_.load(std::memory_order_relaxed))
        r.copies_->lcores.front()->poll(r.clock_.now());
      return 0;
    };
    if (rte_eal_remote_launch(loop, this, 1) != 0) throw std::runtime_error("lcore 1 is busy");
  }

  void connect() {
    listener_ = new nd::core::listener_link(1);
    listener_->port = 7;
    far_.post(*listener_, nd::core::request_listen);
    near_.use(new nd::core::socket_link, copies_ ? &*copies_ : nullptr);
    nd::core::socket_link& link = *near_.link;
    link.peer_address = nd::test::made_ip(1);
    link.peer_port = 7;
    link.send_buffer = 2 << 20;
    link.receive_buffer = 1 << 20;
    near_.post(link, nd::core::request_connect);
    while (far_.link == nullptr || (link.status.load() & nd::core::socket_link::connected) == 0) {
      poll();
      if (nd::core::socket_link* accepted = listener_->accepted.pop()) far_.use(accepted);
    }
  }

  void poll() {
    near_.host.poll(clock_.now());
    far_.host.poll(clock_.now());
  }

  void turn() {
    if (near_.stream->writable() >= options_.block) {
      {
        const nd::stage_meter::scope copying(near_.host.meter(), nd::stage::copy);
        const auto block = std::span(memory_).subspan(at_, options_.block);
        if (how_ == way::lent)
          near_.stream->put_lent(block, {*loan_, lent_pool_});
        else
          near_.stream->put(block);
      }
      near_.post(*near_.link, nd::core::request_send);
      at_ += options_.block;
      if (at_ + options_.block > memory_.size()) at_ = 0;
      while (near_.stream->copying_out()) near_.host.poll(clock_.now());
    }
    poll();
    if (far_.stream->take(buffer_) == 0) return;
    far_.stream->publish_consumed();
    far_.post(*far_.link, nd::core::request_consumed);
  }

  std::uint64_t by_callers_so_far() const { return copies_ ? copies_->by_callers.load() : 0; }
  std::map<std::string, double> counted() const {
    std::map<std::string, double> out;
    const auto add = [&](std::string_view name, auto, auto, std::uint64_t value) {
      out[std::string(name)] += static_cast<double>(value);
    };
    near_.host.stats().for_each(add);
    if (copies_)
      for (const auto& lcore : copies_->lcores) lcore->stats().for_each(add);
    return out;
  }

  const options& options_;
  way how_;
  rte_mempool* lent_pool_;
  endless_loan* loan_ = new endless_loan;  ///< of whoever has a reference last
  nd::pmd::tsc_clock clock_;
  end near_;
  end far_;
  std::optional<nd::test::copiers> copies_;
  nd::core::listener_link* listener_ = nullptr;
  std::atomic<bool> stop_{false};
  std::vector<std::byte> memory_;
  std::vector<std::byte> buffer_;
  std::size_t at_ = 0;
};

template <class F>
double median(const std::vector<cost>& of, F&& f) {
  std::vector<double> values;
  for (const cost& c : of) values.push_back(f(c));
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

void start_eal() {
  std::vector<std::string> args{"copy-split",
                                "--no-huge",
                                "-m",
                                "1024",
                                "--no-pci",
                                "--no-telemetry",
                                "--no-shconf",
                                "--log-level=*:4",
                                "--lcores=0@0,1@1",
                                fmt::format("--file-prefix=copy-split-{}", ::getpid())};
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  double time = o.time.count();
  CLI::App app(
      "What a dcopy lcore, or lending, takes off the sender's core: TSC cycles a byte by stage, "
      "each "
      "way in turns. Takes two cores; no root.");
  app.add_option("--block", o.block, "bytes a write (default 65536)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--memory", o.memory, "bytes that the blocks come from (default 64 MiB: no cache)")
      ->check(CLI::Range(1 << 20, 1 << 30));
  app.add_option("--turns", o.turns, "of each (default 5)")->check(CLI::Range(1, 20));
  app.add_option("--seconds", time, "a turn (default 0.5)")->check(CLI::Range(0.01, 60.0));
  app.add_flag("!--no-checksum", o.checksum, "both ends leave the CRC32C out");
  CLI11_PARSE(app, argc, argv);
  o.time = seconds(time);
  start_eal();
  nd::test::host_pools near(4096, 4096, 9000), far(4096, 4096, 9000);

  std::array<std::vector<cost>, ways> costs;
  for (int t = 0; t < o.turns; ++t) {
    for (const way how : {way::caller, way::dcopy, way::lent}) {
      auto& turns = costs[static_cast<std::size_t>(how)];
      turns.push_back(run(how, o, near, far).measure());
      if (turns.back().gbps > 0) continue;
      fmt::print(stderr, "copy-split: turn {}, {}: no bytes moved\n", t + 1, name_of(how));
      return 1;
    }
  }
  fmt::print("writes of {} bytes out of {} MiB, MTU 9000, checksum {}; medians of {} turns\n\n",
             o.block, o.memory >> 20, o.checksum ? "full" : "none", o.turns);
  fmt::print("{:<28}{:>12}{:>12}{:>12}\n", "cycles a byte", name_of(way::caller),
             name_of(way::dcopy), name_of(way::lent));
  const auto row = [&](const std::string& name, const auto& value) {
    fmt::print("{:<28}{:>12.4f}{:>12.4f}{:>12.4f}\n", name, median(costs[0], value),
               median(costs[1], value), median(costs[2], value));
  };
  for (const char* s : stages)
    row(std::string("  ") + s, [s](const cost& c) { return c.cycles_a_byte.at(s); });
  row("application's and io core", [](const cost& c) { return c.on_core(); });
  row("dcopy lcore", [](const cost& c) { return c.cycles_a_byte.at("dcopy"); });
  row("Gbit/s (both hosts, 1 core)", [](const cost& c) { return c.gbps; });
  const auto all = [](const cost& c) { return c.on_core(); };
  fmt::print(
      "\n{:.0f} % less on the application's and io core by dcopy, {:.0f} % by lending; {:.1f} % of "
      "dcopy's bytes were copied by the caller\n",
      100 * (1 - median(costs[1], all) / median(costs[0], all)),
      100 * (1 - median(costs[2], all) / median(costs[0], all)),
      100 * median(costs[1], [](const cost& c) { return c.by_callers; }));
  return 0;
}
