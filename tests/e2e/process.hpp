// Child processes of the end-to-end tests: started, watched, ended by their id.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace nd::e2e {

/// A folder that goes with its owner.
class temp_dir {
 public:
  temp_dir();
  ~temp_dir();
  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

struct redirects {
  std::filesystem::path in = "/dev/null";
  std::filesystem::path out = "/dev/null";
  std::filesystem::path err = "/dev/null";
};

/// A running program. Killed when the object goes.
class process {
 public:
  process(const std::vector<std::string>& command, const redirects& files);
  ~process();
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  void signal(int number) const;
  /// What its threads have used of CPUs so far.
  std::chrono::nanoseconds cpu_time() const;
  /// The exit status once it has ended (128 + n after signal n); -1 if it still runs after `limit`.
  int wait(std::chrono::milliseconds limit = std::chrono::seconds(60));

 private:
  pid_t pid_ = -1;
  int status_ = -1;
};

std::string read_file(const std::filesystem::path& path);

/// Waits until the file contains `text`; false after `limit`.
bool wait_for_text(const std::filesystem::path& path, const std::string& text,
                   std::chrono::milliseconds limit = std::chrono::seconds(20));

}  // namespace nd::e2e
