// nd-sim: runs seeds, and says which of them fail and how to play them again.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "sim/simulation.hpp"
#include "unit/support/eal.hpp"

namespace nd::sim {
namespace {

volatile std::sig_atomic_t interrupted = 0;

// What is being played, for the handler of crashes.
char replay_line[512];

extern "C" void on_interrupt(int) {
  interrupted = 1;
}

extern "C" void on_crash(int signal) {
  [[maybe_unused]] const auto ignored = write(STDOUT_FILENO, replay_line, std::strlen(replay_line));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

struct options {
  std::string program;
  std::string profile = "default";
  std::uint64_t seeds = 1;
  std::uint64_t from = 1;
  std::optional<std::uint64_t> seed;
  bool trace = false;
  bool progress = false;
  bool counters = false;
};

std::string replay(const options& o, std::string_view profile, std::uint64_t seed) {
  return fmt::format("{} --profile {} --seed {} --trace", o.program, profile, seed);
}

run_result play(const options& o, std::string_view profile, std::uint64_t seed) {
  const std::string line =
      fmt::format("FAILED: the process crashed: {}\n", replay(o, profile, seed));
  line.copy(replay_line, sizeof(replay_line) - 1);
  replay_line[std::min(line.size(), sizeof(replay_line) - 1)] = 0;
  run_result r = run_seed(profile, seed, o.trace ? stdout : nullptr);
  if (!r.passed()) fmt::print("FAILED: {}: {}\n", r.failure, replay(o, profile, seed));
  if (o.seed)
    fmt::print("seed {}: trace {:016x}, {} frames, {} turns, {} us simulated\n", seed, r.trace_hash,
               r.frames, r.turns, r.simulated.ns() / 1000);
  std::fflush(stdout);
  return r;
}

int run(const options& o) {
  std::vector<std::string_view> played{o.profile};
  if (o.profile == "all") played.assign(profiles.begin(), profiles.end());
  const std::uint64_t first = o.seed.value_or(o.from), last = first + (o.seed ? 1 : o.seeds);
  std::uint64_t passed = 0, failed = 0;
  counter_sums sums;
  for (std::uint64_t seed = first; seed != last && interrupted == 0; ++seed) {
    for (const std::string_view profile : played) {
      if (interrupted != 0) break;
      const run_result r = play(o, profile, seed);
      ++(r.passed() ? passed : failed);
      sums.add(r.counted);
    }
    if (o.progress && (seed - first) % 100 == 99)
      fmt::print(stderr, "{} seeds, {} runs failed\n", seed - first + 1, failed);
  }
  if (o.counters)
    for (const auto& [name, n] : sums.by_name()) fmt::print("{:>14} {}\n", n, name);
  if (interrupted != 0) fmt::print("interrupted\n");
  fmt::print("{} passed, {} failed\n", passed, failed);
  return failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace nd::sim

int main(int argc, char** argv) {
  using namespace nd::sim;
  options o;
  o.program = argv[0];
  CLI::App app("Plays whole hosts on a made network and clock. A run follows from its seed.");
  std::vector<std::string> names(profiles.begin(), profiles.end());
  names.emplace_back("all");
  app.add_option("--seeds", o.seeds, "how many seeds to play")->check(CLI::PositiveNumber);
  app.add_option("--from", o.from, "the first of them (default 1)");
  app.add_option("--profile", o.profile, "which faults; 'all': each seed under each profile")
      ->check(CLI::IsMember(names));
  auto* seed = app.add_option("--seed", o.seed, "play this seed alone");
  app.add_flag("--trace", o.trace, "print every frame and event")->needs(seed);
  app.add_flag("--progress", o.progress, "a line on stderr every 100 seeds");
  app.add_flag("--counters", o.counters, "print what all hosts have counted, in sum");
  CLI11_PARSE(app, argc, argv);

  const nd::test::eal eal("nd-sim");
  if (!eal.started()) {
    fmt::print(stderr, "nd-sim: rte_eal_init failed\n");
    return 2;
  }
  std::signal(SIGINT, on_interrupt);
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, on_crash);
  if (o.trace) std::setvbuf(stdout, nullptr, _IOLBF, 0);  // all of it before a crash
  return run(o);
}
