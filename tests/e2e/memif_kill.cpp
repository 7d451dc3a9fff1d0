// One of two processes on a memif link is killed, again and again, at moments nobody chose. The
// other must live, notice, and talk to the next one. Both roles take both parts.
//
//   memif_kill [kills] [--lcores n] [--seed n] [--limit-ms n] [--unguarded]
//              [--server-only | --client-only]
//
// --lcores is how many threads poll at the survivor's end (1), each with queues of its own as the
// library has them; those killed have as many, one less, and so on.
// --limit-ms is how soon the survivor must notice (300): after memif_guard::silence, what is above
// that is how long a busy machine lets the EAL's interrupt thread wait for a core.
// --unguarded polls without memif_guard. It is there to show that this test can fail: the survivor
// then dies of SIGSEGV, mostly within 20 kills (it takes luck: use 100 to be sure).
// Needs neither root nor hugepages. Exit code 0 or 1.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.hpp"
#include "memif_kill_end.hpp"
#include "pmd_glue/memif_args.hpp"

namespace {

using nd::duration;
using nd::instant;
using nd::e2e::event_kind;
using nd::e2e::kill_event;
using nd::pmd::memif_role;

instant clock_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return instant(t.tv_sec * 1'000'000'000 + t.tv_nsec);
}

// --- the parent ----------------------------------------------------------------------------------

constexpr duration connect_limit = duration::seconds(20);

struct options {
  int kills = 20;
  duration detect_limit = duration::milliseconds(300);
  std::uint64_t seed = 1;
  unsigned lcores = 1;
  bool guarded = true;
  bool server_survives = true;
  bool client_survives = true;
};

class child {
 public:
  child(memif_role role, unsigned lcores, const std::string& directory, const std::string& tag,
        bool guarded) {
    const bool server = role == memif_role::server;
    const std::string vdev = std::string("net_memif0,socket-abstract=no,role=") +
                             (server ? "server" : "client") + ",socket=" + directory +
                             "/memif.sock";
    const std::string count = std::to_string(lcores);
    const std::string prefix = tag + (server ? "s" : "c");
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) std::abort();
    const std::string fd = std::to_string(fds[1]);
    pid_ = fork();
    if (pid_ == 0) {
      fcntl(fds[1], F_SETFD, 0);
      execl("/proc/self/exe", "memif_kill", "--child", vdev.c_str(), prefix.c_str(), count.c_str(),
            guarded ? "guarded" : "unguarded", fd.c_str(), nullptr);
      std::_Exit(127);
    }
    close(fds[1]);
    fd_ = fds[0];
    fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~child() {
    kill_now();
    close(fd_);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  void kill_now() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  /// Says on stderr of what it died, once.
  bool alive() {
    int status = 0;
    if (pid_ <= 0) return false;
    if (waitpid(pid_, &status, WNOHANG) == 0) return true;
    pid_ = -1;
    if (WIFSIGNALED(status)) {
      std::fprintf(stderr, "memif_kill: the survivor died of signal %d (%s)\n", WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
    } else {
      std::fprintf(stderr, "memif_kill: the survivor ended with %d\n", WEXITSTATUS(status));
    }
    return false;
  }

  /// Takes in what it has said, waiting up to `patience` for something.
  void pump(duration patience) {
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    poll(&readable, 1, static_cast<int>(patience.ns() / 1'000'000));
    kill_event e{};
    while (read(fd_, &e, sizeof(e)) == sizeof(e)) {
      last_ = e;
      if (e.kind == event_kind::ready) ready_ = true;
      if (e.kind != event_kind::ready) up_ = e.kind != event_kind::down;
      heard_ = e.kind == event_kind::heard;
    }
  }

  template <class Condition>
  bool wait_for(Condition condition, duration limit) {
    const instant deadline = clock_now() + limit;
    while (!condition(*this)) {
      if (clock_now() >= deadline || !alive()) return condition(*this);
      pump(duration::milliseconds(2));
    }
    return true;
  }

  bool ready() const { return ready_; }
  bool up() const { return up_; }
  /// It is up, and what the victim sent has come.
  bool heard() const { return heard_; }
  const kill_event& last() const { return last_; }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  kill_event last_{};
  bool ready_ = false;
  bool up_ = false;
  bool heard_ = false;
};

void sleep_for(duration d) {
  const timespec t{.tv_sec = d.ns() / 1'000'000'000, .tv_nsec = d.ns() % 1'000'000'000};
  nanosleep(&t, nullptr);
}

bool fail(const char* what, int kills) {
  std::fprintf(stderr, "memif_kill: FAIL after %d kills: %s\n", kills, what);
  return false;
}

bool survive(memif_role survivor_role, const options& opt, const std::string& directory,
             const std::string& tag, std::mt19937_64& random) {
  const bool server = survivor_role == memif_role::server;
  const memif_role victim_role = server ? memif_role::client : memif_role::server;
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const auto is_down = [](const child& c) { return !c.up(); };

  child survivor(survivor_role, opt.lcores, directory, tag, opt.guarded);
  if (!survivor.wait_for([](const child& c) { return c.ready(); }, connect_limit)) {
    return fail("the survivor did not start", 0);
  }
  duration slowest;
  double may_poll_ns = 0;
  std::uint64_t packets = 0;
  for (int kills = 0; kills < opt.kills; ++kills) {
    // Of several lcores it has all, one less, and so on: queues that the last one had are gone.
    const unsigned victims = opt.lcores - static_cast<unsigned>(kills) % opt.lcores;
    const auto is_up = [victims](const child& c) { return c.up() && c.last().lcores == victims; };
    child victim(victim_role, victims, directory, tag, opt.guarded);
    // One in four dies while it connects, the others under traffic.
    const bool while_connecting = kills % 4 == 3;
    if (while_connecting) {
      if (!victim.wait_for([](const child& c) { return c.ready(); }, connect_limit)) {
        return fail("the victim did not start", kills);
      }
      sleep_for(duration::microseconds(below(5'000)));
    } else {
      if (!survivor.wait_for(is_up, connect_limit)) {
        survivor.alive();
        return fail("the link did not come up", kills);
      }
      // How soon is the machine's affair: it may have fewer CPUs than there are lcores.
      if (!survivor.wait_for([](const child& c) { return c.heard(); }, connect_limit)) {
        survivor.alive();
        return fail("nothing was received while the link was up", kills);
      }
      may_poll_ns = survivor.last().may_poll_ns;
      sleep_for(duration::microseconds(30'000 + below(60'000)));
    }
    const instant killed = clock_now();
    victim.kill_now();
    // The limit is on what the survivor says of its own clock; the wait allows for a busy machine.
    if (while_connecting) survivor.pump(duration::milliseconds(20));
    const bool was_up = survivor.up();
    if (!survivor.wait_for(is_down, duration::seconds(2)) && survivor.alive()) {
      return fail("the link did not go down", kills + 1);
    }
    if (!survivor.alive()) return fail("the survivor died of its peer's death", kills + 1);
    if (!was_up && survivor.last().kind != event_kind::down) continue;
    packets += survivor.last().packets_received;
    const duration took = instant(survivor.last().at_ns) - killed;
    if (took > slowest) slowest = took;
    if (took > opt.detect_limit) {
      std::fprintf(stderr, "memif_kill: down after %.1f ms\n",
                   static_cast<double>(took.ns()) / 1e6);
      return fail("the link took too long to go down", kills + 1);
    }
  }
  sleep_for(duration::milliseconds(50));
  if (!survivor.alive()) return fail("the survivor died of its peer's death", opt.kills);
  std::printf(
      "memif_kill: the %s with %u lcore%s survived %d kills; link down after %.1f ms at most; %llu "
      "packets; "
      "may_poll %.1f ns\n",
      server ? "server" : "client", opt.lcores, opt.lcores == 1 ? "" : "s", opt.kills,
      static_cast<double>(slowest.ns()) / 1e6, static_cast<unsigned long long>(packets),
      may_poll_ns);
  std::fflush(stdout);
  return true;
}

/// The EAL leaves a directory for each prefix, in one of these places.
void remove_runtime_files(const std::string& tag) {
  const char* xdg = std::getenv("XDG_RUNTIME_DIR");
  for (const std::string& base :
       {std::string("/var/run"), std::string("/tmp"), std::string(xdg != nullptr ? xdg : "/tmp")}) {
    for (const char* end : {"s", "c"}) {
      std::error_code ignored;
      std::filesystem::remove_all(base + "/dpdk/" + tag + end, ignored);
    }
  }
}

std::optional<options> parse(std::span<char* const> argv) {
  options opt;
  for (std::size_t i = 1; i < argv.size(); ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--unguarded") {
      opt.guarded = false;
    } else if (arg == "--server-only") {
      opt.client_survives = false;
    } else if (arg == "--client-only") {
      opt.server_survives = false;
    } else if (arg == "--limit-ms" && i + 1 < argv.size()) {
      opt.detect_limit = duration::milliseconds(std::atoi(argv[++i]));
    } else if (arg == "--lcores" && i + 1 < argv.size()) {
      opt.lcores = static_cast<unsigned>(std::clamp(std::atoi(argv[++i]), 1, 16));
    } else if (arg == "--seed" && i + 1 < argv.size()) {
      opt.seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (const int kills = std::atoi(argv[i]); kills > 0) {
      opt.kills = kills;
    } else {
      std::fprintf(stderr,
                   "memif_kill: unknown argument '%s'; usage: memif_kill [kills] [--lcores n] "
                   "[--seed n] [--limit-ms n] [--unguarded] [--server-only | --client-only]\n",
                   argv[i]);
      return std::nullopt;
    }
  }
  return opt;
}

int parent_main(const options& opt) {
  alarm(static_cast<unsigned>(60 + 10 * opt.kills));  // bounded, whatever happens; children follow
  std::string directory = std::filesystem::temp_directory_path() / "memif_kill.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) {
    std::perror("memif_kill: mkdtemp");
    return 1;
  }
  const std::string tag = "memif_kill" + std::to_string(getpid());
  std::printf("memif_kill: %d kills, seed %llu%s\n", opt.kills,
              static_cast<unsigned long long>(opt.seed), opt.guarded ? "" : ", unguarded");
  std::fflush(stdout);
  std::mt19937_64 random(opt.seed);
  bool passed = true;
  if (opt.server_survives) passed &= survive(memif_role::server, opt, directory, tag, random);
  if (opt.client_survives) passed &= survive(memif_role::client, opt, directory, tag, random);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  remove_runtime_files(tag);
  std::printf("memif_kill: %s\n", passed ? "PASS" : "FAIL");
  return passed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::span<char* const> args(argv, static_cast<std::size_t>(argc));
  if (args.size() == 7 && std::string_view(args[1]) == "--child") {
    return nd::e2e::run_kill_end({.vdev = args[2],
                                  .file_prefix = args[3],
                                  .lcores = static_cast<unsigned>(std::atoi(args[4])),
                                  .guarded = std::string_view(args[5]) == "guarded",
                                  .report_fd = std::atoi(args[6])});
  }
  const std::optional<options> opt = parse(args);
  return opt ? parent_main(*opt) : 1;
}
