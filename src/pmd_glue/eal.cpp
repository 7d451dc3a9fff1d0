#include "pmd_glue/eal.hpp"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sodium.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "nd/error.hpp"
#include "pmd_glue/kernel_devices.hpp"
#include "pmd_glue/memif_args.hpp"

namespace nd::pmd {
namespace {

enum class life : int { none, running, ended };
std::atomic<life> eal_life{life::none};

[[noreturn]] void refuse(const std::string& message) {
  throw std::system_error(make_error_code(errc::eal_failed), message);
}

/// A `--file-prefix` with our process id, as --dev chooses it: nobody else uses the folder.
bool has_own_folder(const std::vector<std::string>& args) {
  const std::string end = "-" + std::to_string(::getpid());
  return std::ranges::any_of(args, [&end](std::string_view a) {
    return a.starts_with("--file-prefix=nd-") && a.ends_with(end);
  });
}

}  // namespace

std::string eal_refusal(const std::vector<std::string>& args, int error) {
  std::string text = "rte_eal_init() refused its arguments";
  // Of many refusals only the EAL's own lines say why.
  text +=
      error == 0 ? " (its lines above say why):" : std::string(" (") + rte_strerror(error) + "):";
  if (args.empty()) text += " none were given";
  for (const std::string& a : args) text += " " + a;
  const bool hugepages =
      std::ranges::none_of(args, [](std::string_view a) { return a == "--no-huge"; });
  if (hugepages && (error == EACCES || error == ENOMEM))
    text += "; without hugepages or root use --no-huge -m 256";
  return text;
}

eal::eal(const std::vector<std::string>& args) {
  switch (eal_life.load()) {
    case life::running:
      if (!args.empty()) refuse("the EAL runs already: it takes no more arguments");
      return;
    case life::ended: refuse("the EAL of this process has ended and cannot be started again");
    case life::none: break;
  }
  // rte_eal_init() wants writable strings, keeps pointers to them, and permutes the array.
  static std::vector<std::string> kept;
  kept.assign(1, program_invocation_name);
  kept.insert(kept.end(), args.begin(), args.end());
  prepare_kernel_devices(kept);
  std::vector<char*> argv;
  for (std::string& s : kept) argv.push_back(s.data());
  argv.push_back(nullptr);

  prepare_memif_servers(std::span<const char* const>(argv.data(), kept.size()));
  rte_errno = 0;
  if (rte_eal_init(static_cast<int>(kept.size()), argv.data()) < 0)
    refuse(eal_refusal(args, rte_errno));
  owner_ = true;
  if (has_own_folder(args)) own_folder_ = rte_eal_get_runtime_dir();
  has_memif_ = std::ranges::any_of(
      args, [](const std::string& a) { return a.find("net_memif") != std::string::npos; });
  eal_life = life::running;
}

eal::~eal() {
  if (!owner_) return;
  eal_life = life::ended;
  // net_memif (22.11) leaves its listener in the interrupt thread's list when it is closed, and
  // rte_eal_cleanup() unmaps the memory that it is in: the thread faults when it next looks (seen
  // under load). There the process's end cleans up.
  if (has_memif_) return;
  rte_eal_cleanup();
  std::error_code ignored;
  if (!own_folder_.empty()) std::filesystem::remove_all(own_folder_, ignored);
}

void register_thread() noexcept {
  if (rte_lcore_id() != LCORE_ID_ANY) return;
  struct registration {
    bool done = rte_thread_register() == 0;
    ~registration() {
      if (done) rte_thread_unregister();
    }
  };
  // Without one (all lcore ids taken) the pools work as well, only slower.
  thread_local const registration mine;
  static_cast<void>(mine);
}

std::vector<eal_lcore> eal_lcores() {
  const auto node_of = [](unsigned id) {
    // An lcore's own entry is that of the CPU with its number, wherever --lcores has put it.
    const rte_cpuset_t cpus = rte_lcore_cpuset(id);
    std::optional<int> node;
    for (unsigned cpu = 0; cpu < RTE_MAX_LCORE; ++cpu) {
      if (!CPU_ISSET(cpu, &cpus)) continue;
      const auto here = static_cast<int>(rte_lcore_to_socket_id(cpu));
      if (node.value_or(here) != here) return -1;
      node = here;
    }
    return node.value_or(-1);
  };
  std::vector<eal_lcore> out;
  for (unsigned id = 0; id < RTE_MAX_LCORE; ++id) {
    if (rte_lcore_is_enabled(id) == 0) continue;
    const bool main = id == rte_get_main_lcore();
    out.push_back({.id = id,
                   .node = node_of(id),
                   .main = main,
                   .busy = !main && rte_eal_get_lcore_state(id) != WAIT});
  }
  return out;
}

void launch_on_lcore(std::string_view setting, unsigned lcore, int (*loop)(void*), void* argument) {
  const auto refuse_lcore = [&](const std::string& why) {
    throw std::system_error(
        make_error_code(errc::bad_option),
        "setting " + std::string(setting) + ": lcore " + std::to_string(lcore) + " " + why);
  };
  if (rte_lcore_is_enabled(lcore) == 0) refuse_lcore("is not among the EAL's (-l)");
  if (lcore == rte_get_main_lcore()) refuse_lcore("is the EAL's main one, which runs the app");
  if (rte_eal_remote_launch(loop, argument, lcore) != 0) refuse_lcore("is busy");
}

void wait_for_lcore(unsigned lcore) noexcept {
  rte_eal_wait_lcore(lcore);
}

void fill_random(void* bytes, std::size_t size) {
  if (sodium_init() < 0)
    throw std::system_error(std::make_error_code(std::errc::io_error),
                            "libsodium: no random numbers");
  randombytes_buf(bytes, size);
}

std::uint64_t wall_clock_ns() noexcept {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(t.tv_nsec);
}

}  // namespace nd::pmd
