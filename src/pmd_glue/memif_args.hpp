// What a net_memif vdev argument says, and the socket file that a killed server leaves behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct sockaddr_un;

namespace nd::pmd {

enum class memif_role { client, server };

/// One `--vdev=net_memif<n>,key=value,...`, with the PMD's defaults for what is not said.
struct memif_args {
  std::string name;
  memif_role role = memif_role::client;
  std::string socket = "/run/memif.sock";
  /// The PMD's default is an abstract address: `socket` is then a name in the network namespace and
  /// no file exists. Only `socket-abstract=no` makes a file, and two ends must say the same.
  bool socket_abstract = true;
  std::uint32_t id = 0;
  /// Bytes of one ring slot. A longer frame takes several slots.
  std::uint16_t bsize = 2048;
  /// Slots of a ring, as a power of two.
  std::uint16_t rsize = 10;
  /// What the other end must say too; empty: nothing.
  std::string secret = {};

  bool leaves_a_file() const noexcept { return role == memif_role::server && !socket_abstract; }

  friend bool operator==(const memif_args&, const memif_args&) = default;
};

/// Parses the value of `--vdev`; nothing if it is not a net_memif device. Reads values as the PMD
/// does (the last of two equal keys wins, `role` and `socket-abstract` are searched for a word).
std::optional<memif_args> parse_memif_vdev(std::string_view vdev);

/// Fills `address` for connect() to the socket of `args`. Returns the length to pass, 0 if the name
/// is too long.
std::size_t memif_address(const memif_args& args, sockaddr_un& address) noexcept;

enum class stale_socket {
  missing,       ///< no such file
  not_a_socket,  ///< left alone
  in_use,        ///< somebody has it, whether or not they listen yet: left alone
  removed,       ///< nobody had it
  failed,        ///< cannot be told or cannot be removed (permissions, a name that is too long)
};

/// Removes the socket file at `path` if no live process has it: the PMD's bind() would fail on it,
/// so a server that was killed could not be restarted. A live server does not notice the question.
stale_socket remove_stale_socket(const std::string& path) noexcept;

/// Calls remove_stale_socket for each memif server in the EAL arguments. Call it just before
/// rte_eal_init, which binds. Returns how many files were removed.
unsigned prepare_memif_servers(std::span<const char* const> eal_args);

}  // namespace nd::pmd
