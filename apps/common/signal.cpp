#include "common/signal.hpp"

#include <signal.h>

#include <atomic>
#include <cerrno>

namespace nd::apps {
namespace {

std::atomic<bool> stop{false};
std::atomic<void (*)(void*)> hook_call{nullptr};
std::atomic<void*> hook_argument{nullptr};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<void*>::is_always_lock_free,
              "what a signal handler touches must not lock");

void handle(int) {
  const int saved = errno;
  request_stop();
  errno = saved;
}

}  // namespace

void catch_stop_signals() noexcept {
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool stop_requested() noexcept {
  return stop.load(std::memory_order_relaxed);
}

void request_stop() noexcept {
  stop.store(true, std::memory_order_relaxed);
  // Pairs with the release in stop_hook: the argument was stored before.
  if (auto* call = hook_call.load(std::memory_order_acquire); call != nullptr) {
    call(hook_argument.load(std::memory_order_relaxed));
  }
}

stop_hook::stop_hook(void (*call)(void*), void* argument) noexcept {
  hook_argument.store(argument, std::memory_order_relaxed);
  // Pairs with the acquire in request_stop().
  hook_call.store(call, std::memory_order_release);
  if (stop_requested()) call(argument);
}

stop_hook::~stop_hook() {
  hook_call.store(nullptr, std::memory_order_release);
}

}  // namespace nd::apps
