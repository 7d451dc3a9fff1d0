// The listener of a memif server, mended (memif_guard.hpp).
// The handles that rte_intr_callback_register takes can be made only by calls that 22.11 still
// calls experimental. They are stable since.
#define ALLOW_EXPERIMENTAL_API

#include <rte_interrupts.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pmd_glue/memif_guard.hpp"

namespace nd::pmd {

namespace {

bool listens_at(int fd, const sockaddr_un& wanted, std::size_t length) noexcept {
  int listening = 0;
  socklen_t size = sizeof(listening);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
    return false;
  }
  sockaddr_un address{};
  socklen_t found = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &found) != 0) return false;
  if (address.sun_family != AF_UNIX) return false;
  // The length of a path's address includes padding or does not; that of an abstract name counts.
  if (wanted.sun_path[0] == '\0' && found != length) return false;
  return std::memcmp(address.sun_path, wanted.sun_path, sizeof(address.sun_path)) == 0;
}

/// The PMD does not tell its listener's descriptor.
int find_listener(const memif_args& args) noexcept {
  sockaddr_un wanted{};
  const std::size_t length = memif_address(args, wanted);
  rlimit limit{};
  if (length == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  constexpr rlim_t enough = 65'536;
  const int end = static_cast<int>(limit.rlim_cur < enough ? limit.rlim_cur : enough);
  for (int fd = 0; fd < end; ++fd) {
    if (listens_at(fd, wanted, length)) return fd;
  }
  return -1;
}

/// Only to name a callback that nobody registers.
void no_callback(void*) noexcept {}

/// Asking to remove a callback that is not there removes nothing, and tells whether the EAL has the
/// descriptor in its list.
bool is_listed(rte_intr_handle* handle) noexcept {
  return rte_intr_callback_unregister(handle, no_callback, nullptr) != -ENOENT;
}

/// On the interrupt thread, right after the PMD's listener. What it closed is the lowest free
/// number.
void plug_closed_descriptor(void*) noexcept {
  const int plug = eventfd(0, EFD_CLOEXEC);
  if (plug < 0) return;
  rte_intr_handle* const handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
  // In the list before it was opened: it stays open, for ever, and is never ready.
  const bool stale = handle != nullptr && rte_intr_fd_set(handle, plug) == 0 && is_listed(handle);
  rte_intr_instance_free(handle);
  if (!stale) ::close(plug);
}

}  // namespace

memif_listener_mend::memif_listener_mend(const memif_args& args) {
  if (args.role != memif_role::server) return;
  const int listener = find_listener(args);
  if (listener < 0) return;
  rte_intr_handle* const handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
  if (handle == nullptr) return;
  if (rte_intr_fd_set(handle, listener) == 0 &&
      rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT) == 0 &&
      rte_intr_callback_register(handle, plug_closed_descriptor, this) == 0) {
    handle_ = handle;
  } else {
    rte_intr_instance_free(handle);
  }
}

memif_listener_mend::~memif_listener_mend() {
  if (handle_ == nullptr) return;
  {
    // No callback runs, so none is active and the removal cannot be refused.
    const interrupt_pause pause;
    rte_intr_callback_unregister(handle_, plug_closed_descriptor, this);
    const int plug = eventfd(0, EFD_CLOEXEC);
    if (plug >= 0) {
      dup2(plug, rte_intr_fd_get(handle_));
      ::close(plug);
    }
  }
  rte_intr_instance_free(handle_);
}

}  // namespace nd::pmd
