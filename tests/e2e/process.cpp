#include "process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace nd::e2e {
namespace {

constexpr auto poll_interval = std::chrono::milliseconds(2);

bool open_as(const std::filesystem::path& path, int flags, int target) {
  const int fd = open(path.c_str(), flags, 0600);
  return fd >= 0 && dup2(fd, target) >= 0;
}

}  // namespace

temp_dir::temp_dir() {
  std::string name = (std::filesystem::temp_directory_path() / "nd-e2e-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  path_ = name;
}

temp_dir::~temp_dir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

process::process(const std::vector<std::string>& command, const redirects& files) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ > 0) return;
  if (open_as(files.in, O_RDONLY, 0) && open_as(files.out, O_WRONLY | O_CREAT | O_TRUNC, 1) &&
      open_as(files.err, O_WRONLY | O_CREAT | O_TRUNC, 2))
    execv(argv[0], argv.data());
  _exit(127);
}

process::~process() {
  if (status_ >= 0) return;
  signal(SIGKILL);
  wait();
}

void process::signal(int number) const {
  if (status_ < 0) kill(pid_, number);
}

std::chrono::nanoseconds process::cpu_time() const {
  std::chrono::nanoseconds sum{0};
  const std::string tasks = "/proc/" + std::to_string(pid_) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::int64_t ns = 0;
    if (std::ifstream(task.path() / "schedstat") >> ns) sum += std::chrono::nanoseconds(ns);
  }
  return sum;
}

int process::wait(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (status_ < 0) {
    int raw = 0;
    if (waitpid(pid_, &raw, WNOHANG) == pid_) {
      status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    } else if (std::chrono::steady_clock::now() >= deadline) {
      return -1;
    } else {
      std::this_thread::sleep_for(poll_interval);
    }
  }
  return status_;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool wait_for_text(const std::filesystem::path& path, const std::string& text,
                   std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (read_file(path).find(text) == std::string::npos) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(poll_interval);
  }
  return true;
}

}  // namespace nd::e2e
