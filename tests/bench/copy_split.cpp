// copy-split: what a dcopy lcore takes off the core of the application and the stack. One thread
// drives both hosts of a stream, the sender's cycles are counted by stage of the data path, with a
// dcopy lcore and without, in turns.
#include <fmt/format.h>
#include <rte_eal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <map>
#include <nd/nd.hpp>
#include <string>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

struct options {
  std::size_t block = 65536;
  std::size_t memory = 64 << 20;  ///< that the blocks come from, one after the other
  int turns = 5;
  seconds time{0.5};
};

constexpr std::array stages{"copy", "socket", "channel", "tx", "rx", "parse"};

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

std::map<std::string, double> counters(const nd::runtime& rt) {
  std::map<std::string, double> out;
  for (const nd::counter& c : rt.stats()) out[std::string(c.name)] = static_cast<double>(c.value);
  return out;
}

class stream {
 public:
  stream(int number, bool dcopy, const options& o)
      : options_(o),
        near_(nd::existing_eal, host("10.77.0.1/24", number, dcopy)),
        far_(nd::existing_eal, host("10.77.0.2/24", number, false)),
        listener_(far_, nd::endpoint(nd::any_address, 7)),
        out_(near_),
        in_(far_),
        memory_(o.memory, std::byte{0x5a}),
        buffer_(256 << 10) {
    listener_.non_blocking(true);
    out_.non_blocking(true);
    std::error_code ec;
    out_.connect(nd::endpoint(nd::address("10.77.0.2"), 7), ec);
    for (ec = nd::errc::would_block; ec == nd::errc::would_block || !out_.connected();) {
      near_.poll();
      if (ec) in_ = listener_.accept(ec);
    }
    in_.non_blocking(true);
  }

  cost run() {
    for (const auto end = clock_type::now() + options_.time / 4; clock_type::now() < end;) turn();
    const auto before = counters(near_);
    const auto began = clock_type::now();
    while (clock_type::now() < began + options_.time) turn();
    const seconds took = clock_type::now() - began;
    const auto after = counters(near_);
    const auto spent = [&](const std::string& name) { return after.at(name) - before.at(name); };
    const double bytes = spent("payload_bytes_sent");
    cost c;
    for (const char* s : stages) c.cycles_a_byte[s] = spent(std::string("cycles_") + s) / bytes;
    c.cycles_a_byte["dcopy"] = spent("cycles_dcopy") / bytes;
    c.gbps = bytes * 8e-9 / took.count();
    c.by_callers = spent("dcopy_by_callers") / bytes;
    return c;
  }

 private:
  static nd::config host(const char* ip, int number, bool dcopy) {
    nd::config c;
    c.set("ip", ip);
    c.set("ring", fmt::format("split{}", number));
    c.set("mtu", "9000");
    c.set("idle", "spin");
    c.set("meter", "on");
    c.set("seed", "1");
    if (dcopy) c.set("dcopy_lcores", "1");
    return c;
  }

  void turn() {
    std::error_code ec;
    const std::size_t n = out_.write_some(std::span(memory_).subspan(at_, options_.block), ec);
    at_ = at_ + n + options_.block <= memory_.size() ? at_ + n : 0;
    if (n == 0) near_.poll();
    far_.poll();
    while (in_.read_some(buffer_, ec) > 0) continue;
  }

  const options& options_;
  nd::runtime near_;
  nd::runtime far_;
  nd::acceptor listener_;
  nd::socket out_;
  nd::socket in_;
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
      "What a dcopy lcore takes off the sender's core: TSC cycles a byte by stage, with it and "
      "without, in turns. Takes two cores; no root.");
  app.add_option("--block", o.block, "bytes a write (default 65536)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--memory", o.memory, "bytes that the blocks come from (default 64 MiB: no cache)")
      ->check(CLI::Range(1 << 20, 1 << 30));
  app.add_option("--turns", o.turns, "of each (default 5)")->check(CLI::Range(1, 20));
  app.add_option("--seconds", time, "a turn (default 0.5)")->check(CLI::Range(0.01, 60.0));
  CLI11_PARSE(app, argc, argv);
  o.time = seconds(time);
  start_eal();

  std::array<std::vector<cost>, 2> costs;
  for (int t = 0; t < 2 * o.turns; ++t)
    costs[static_cast<std::size_t>(t % 2)].push_back(stream(t, t % 2 == 1, o).run());
  fmt::print("writes of {} bytes out of {} MiB, MTU 9000, checksum full; medians of {} turns\n\n",
             o.block, o.memory >> 20, o.turns);
  fmt::print("{:<28}{:>12}{:>12}\n", "cycles a byte", "caller", "dcopy lcore");
  const auto row = [&](const std::string& name, const auto& value) {
    fmt::print("{:<28}{:>12.4f}{:>12.4f}\n", name, median(costs[0], value),
               median(costs[1], value));
  };
  for (const char* s : stages)
    row(std::string("  ") + s, [s](const cost& c) { return c.cycles_a_byte.at(s); });
  row("application's and io core", [](const cost& c) { return c.on_core(); });
  row("dcopy lcore", [](const cost& c) { return c.cycles_a_byte.at("dcopy"); });
  row("Gbit/s (both hosts, 1 core)", [](const cost& c) { return c.gbps; });
  const auto all = [](const cost& c) { return c.on_core(); };
  fmt::print(
      "\n{:.0f} % less on the application's and io core; {:.1f} % of the bytes were copied by "
      "the caller\n",
      100 * (1 - median(costs[1], all) / median(costs[0], all)),
      100 * median(costs[1], [](const cost& c) { return c.by_callers; }));
  return 0;
}
