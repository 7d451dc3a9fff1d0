// Child processes of the demo.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nd::apps::echo {

/// A process that does not outlive this object.
class child {
 public:
  /// Starts this program with `arguments`. Its stderr goes to the file `log`, and its stdout too
  /// unless `show`; the EAL keeps its files beside `log`. Throws std::system_error.
  child(const std::vector<std::string>& arguments, const std::filesystem::path& log, bool show);
  ~child();
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  /// The exit code if it has ended (128 + the signal, as shells say it); does not wait.
  std::optional<int> exit_code();

 private:
  pid_t pid_ = -1;
  std::optional<int> code_;
};

/// A folder of our own for as long as this object lives.
class private_folder {
 public:
  /// Throws std::system_error.
  private_folder();
  ~private_folder();
  private_folder(const private_folder&) = delete;
  private_folder& operator=(const private_folder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace nd::apps::echo
