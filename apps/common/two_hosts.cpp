#include "common/two_hosts.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <exception>
#include <future>

#include "common/signal.hpp"

namespace nd::apps {
namespace {

/// The CPUs that we may use, as the EAL writes them: it would pin both threads to one.
std::string allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string text;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (std::size_t i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) text += (text.empty() ? "" : ",") + std::to_string(i);
  }
  return text.empty() ? "0" : text;
}

/// A runtime for this command line, and `work` with it.
bool host(const std::vector<std::string>& words, const std::function<bool(runtime&)>& work,
          const std::function<void()>& started) {
  try {
    std::vector<char*> argv;
    for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
    runtime rt(static_cast<int>(argv.size()), argv.data());
    started();
    if (work(rt)) return true;
  } catch (...) {
    request_stop();
    throw;
  }
  request_stop();
  return false;
}

}  // namespace

std::vector<std::string> two_hosts::command_line(bool near) const {
  std::vector<std::string> words{program_};
  // The EAL is the near one's, which ends last.
  if (near) {
    words.insert(words.end(),
                 {fmt::format("--lcores=0@({})", allowed_cpus()), "--no-huge", "-m", "384",
                  "--no-pci", "--no-telemetry", "--no-shconf", "--log-level=lib.eal:error"});
  }
  words.insert(words.end(),
               {"--", "--ip", fmt::format("{}/24", near ? near_address : far_address)});
  words.insert(words.end(), options_.begin(), options_.end());
  words.insert(words.end(), {"--set", "ring=" + program_});
  return words;
}

bool two_hosts::run(const std::function<bool(runtime&)>& near,
                    const std::function<bool(runtime&)>& far) {
  std::future<bool> other;
  const auto start_other = [&] {
    other = std::async(std::launch::async, [&] { return host(command_line(false), far, [] {}); });
  };
  const auto both = [&](runtime& rt) {
    std::exception_ptr thrown;
    bool good = false;
    try {
      good = near(rt);
    } catch (...) {
      thrown = std::current_exception();
    }
    if (!good) request_stop();
    // Before `rt` goes, which ends the EAL.
    good = other.get() && good;
    if (thrown != nullptr) std::rethrow_exception(thrown);
    return good;
  };
  return host(command_line(true), both, start_other);
}

}  // namespace nd::apps
