// SIGINT and SIGTERM end a run; they do not kill it.
#pragma once

namespace nd::apps {

/// Makes SIGINT and SIGTERM set the flag of stop_requested(), once: a second signal kills, for
/// whoever does not want to wait for the goodbye. SIGPIPE is ignored, so that writing to a closed
/// pipe is an error of that write. Call once, early in main().
void catch_stop_signals() noexcept;

/// True once a signal came. Cheap enough for each turn of a loop; any thread.
bool stop_requested() noexcept;

/// As a signal does.
void request_stop() noexcept;

/// Also calls `call(argument)` from the signal handler while this object lives, or from the
/// constructor if the signal has already come. `call` must be async-signal-safe. One at a time.
class stop_hook {
 public:
  stop_hook(void (*call)(void*), void* argument) noexcept;
  ~stop_hook();
  stop_hook(const stop_hook&) = delete;
  stop_hook& operator=(const stop_hook&) = delete;
};

}  // namespace nd::apps
