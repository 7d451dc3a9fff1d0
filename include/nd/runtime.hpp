// The runtime: EAL, device, and the loop that drives the stack.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nd/config.hpp"
#include "nd/endpoint.hpp"
#include "nd/stats.hpp"

namespace nd {

namespace api {
class runtime_impl;
}

/// Says that the app has called rte_eal_init() itself and keeps the EAL.
struct existing_eal_t {
  explicit existing_eal_t() = default;
};
inline constexpr existing_eal_t existing_eal{};

/// One host on one ethdev port: its addresses, channels and sockets.
///
/// Inline mode (default): the loop runs inside the library's calls, on the thread that makes them;
/// use a runtime and everything made from it from one thread. Blocking calls poll. An app that
/// computes for long between calls should call poll() now and then: bytes leave, and peers hear
/// from us, only while somebody polls.
///
/// Lcore mode (setting `io_lcores`): the loop runs on an EAL lcore of its own; any thread may use
/// the runtime, and each socket may be used by one reading and one writing thread at a time.
///
/// Sockets and acceptors must be destroyed before their runtime.
class runtime {
 public:
  /// Takes `prog [EAL options] -- [ND options and the app's own]`. Without "--" all options are
  /// ND's and the app's. ND options: --ip A.B.C.D/N, --encap ip|udp, --fault SPEC,
  /// --io-lcores LIST, --dcopy-lcores LIST, --config FILE, --set name=value. What is neither stays,
  /// in order, in args().
  ///
  /// Throws std::system_error: errc::bad_option (message says what would be right),
  /// errc::eal_failed, errc::no_device, errc::no_buffer_space.
  runtime(int argc, char** argv);
  /// From settings; initialises the EAL with `cfg.eal_args()`, unless this process has one that an
  /// earlier runtime initialised: then those arguments must be empty, and that runtime, which also
  /// cleans the EAL up, must outlive this one.
  explicit runtime(const config& cfg);
  /// From text as it would stand behind the program's name on a command line, split at blanks.
  explicit runtime(std::string_view command_line);
  /// On an EAL that the app initialised. The app also cleans it up, after this object's end.
  runtime(existing_eal_t, const config& cfg);

  /// Sends what sockets still hold for at most the setting `linger`, tells the peers, stops the
  /// device, and cleans the EAL up where this object initialised it.
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// The app's own arguments: [0] is the program's name.
  const std::vector<std::string>& args() const noexcept;

  /// One turn of the loop: receive, run timers, send. Returns how many frames were received plus
  /// how many requests of sockets were served; 0 means that there was nothing to do. Does nothing
  /// in lcore mode. Never blocks.
  std::size_t poll();

  /// For loops over non-blocking sockets that found nothing to do: polls until a turn had something
  /// to do, for at most `most`, and passes the time in between as the setting `idle` says. Returns
  /// what poll() would, 0 when the time is over or after interrupt(). In lcore mode it waits for
  /// the lcore's next turn of that kind since this thread's last wait_for(). Inline: the runtime's
  /// thread; lcore mode: any. nanoseconds::max() is for ever.
  std::size_t wait_for(std::chrono::nanoseconds most);

  /// Makes every blocking call of this runtime, now and from now on, return errc::interrupted.
  /// Async-signal-safe: meant for a SIGINT handler.
  void interrupt() noexcept;
  bool interrupted() const noexcept;
  /// Lets blocking calls block again (to say goodbye to the peer after a SIGINT, say).
  void clear_interrupt() noexcept;

  nd::address address() const noexcept;
  /// Payload bytes that fit one packet when the path takes the device's MTU.
  std::size_t max_payload() const noexcept;
  /// The value in force of a setting, as text. Throws on a wrong name.
  std::string setting(std::string_view name) const;

  /// All counters, and how many mbufs are in use (docs/usage.md). In lcore mode they may be a few
  /// microseconds old.
  std::vector<counter> stats() const;

  /// For the library's own parts.
  api::runtime_impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<api::runtime_impl> impl_;
};

}  // namespace nd
