// The EAL of a test program: without root, hugepages or a device.
#pragma once

#include <rte_eal.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace nd::test {

// The EAL's runtime directory, so that runs in parallel and runs without root leave nothing behind.
class scratch_dir {
 public:
  scratch_dir() : path_((std::filesystem::temp_directory_path() / "nd-test-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) {
      std::perror("mkdtemp");
      std::exit(2);
    }
    setenv("RUNTIME_DIRECTORY", path_.c_str(), 1);
    setenv("XDG_RUNTIME_DIR", path_.c_str(), 1);
  }
  ~scratch_dir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch_dir(const scratch_dir&) = delete;
  scratch_dir& operator=(const scratch_dir&) = delete;

 private:
  std::string path_;
};

// "0@(2,5),1@(2,5)": lcore 0 is this thread, lcore 1 a worker for tests of lcore mode, and both may
// run on every CPU that this process may use, whatever their numbers.
inline std::string two_lcores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof(allowed), &allowed);
  std::string cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (!cpus.empty()) cpus += ',';
    cpus += std::to_string(cpu);
  }
  return "0@(" + cpus + "),1@(" + cpus + ")";
}

class eal {
 public:
  explicit eal(const std::string& program) {
    std::vector<std::string> args = {
        program,
        "--no-huge",
        "--no-pci",
        "--no-telemetry",
        "-m",
        "1024",
        "--log-level=*:4",
        "--file-prefix=" + program + "-" + std::to_string(getpid()),
        "--lcores=" + two_lcores(),
    };
    std::vector<char*> argv;
    argv.reserve(args.size() + 1);
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    started_ = rte_eal_init(static_cast<int>(args.size()), argv.data()) >= 0;
  }
  ~eal() {
    if (started_) rte_eal_cleanup();
  }
  eal(const eal&) = delete;
  eal& operator=(const eal&) = delete;

  bool started() const noexcept { return started_; }

 private:
  scratch_dir dir_;
  bool started_ = false;
};

}  // namespace nd::test
