// Pipes that hold more than the 64 KiB they start with.
#pragma once

#include <fcntl.h>

namespace nd::apps::cat {

/// Asks for 1 MiB, what an unprivileged process may have: each end then sleeps a sixteenth as
/// often. A refusal costs nothing but speed.
inline void enlarge_pipe(int fd) noexcept {
  ::fcntl(fd, F_SETPIPE_SZ, 1 << 20);
}

}  // namespace nd::apps::cat
