// Two hosts in this process, joined by net_ring, each with a thread of its own.
#pragma once

#include <functional>
#include <nd/nd.hpp>
#include <string>
#include <vector>

namespace nd::apps {

class two_hosts {
 public:
  static constexpr const char* near_address = "10.19.0.2";
  static constexpr const char* far_address = "10.19.0.1";

  /// `options`: ND options for both, and what the runtimes leave to the app.
  two_hosts(std::string program, std::vector<std::string> options)
      : program_(std::move(program)), options_(std::move(options)) {}

  /// Calls `far` on a thread of its own and `near` on this one; each gets its host. When one of
  /// them throws, or says by returning false that it has failed, the other one is asked to stop
  /// (request_stop()). True if both were good. Throws what they have thrown.
  bool run(const std::function<bool(runtime&)>& near, const std::function<bool(runtime&)>& far);

 private:
  std::vector<std::string> command_line(bool near) const;

  std::string program_;
  std::vector<std::string> options_;
};

}  // namespace nd::apps
