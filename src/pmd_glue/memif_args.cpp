#include "pmd_glue/memif_args.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "pmd_glue/descriptor.hpp"

namespace nd::pmd {
namespace {

constexpr std::string_view driver_name = "net_memif";
constexpr std::string_view vdev_option = "--vdev";

bool says(std::string_view value, std::string_view word) {
  return value.find(word) != std::string_view::npos;
}

unsigned long number(std::string_view value) {
  return std::strtoul(std::string(value).c_str(), nullptr, 10);
}

void apply(memif_args& args, std::string_view key, std::string_view value) {
  if (key == "role") {
    // "master" and "slave" are the deprecated spellings, which the PMD still takes.
    if (says(value, "server") || says(value, "master")) args.role = memif_role::server;
    if (says(value, "client") || says(value, "slave")) args.role = memif_role::client;
  } else if (key == "socket") {
    args.socket = value;
  } else if (key == "socket-abstract") {
    if (says(value, "yes")) {
      args.socket_abstract = true;
    } else if (says(value, "no")) {
      args.socket_abstract = false;
    }
  } else if (key == "secret") {
    args.secret = value;
  } else if (key == "id") {
    args.id = static_cast<std::uint32_t>(number(value));
  } else if (key == "bsize") {
    const unsigned long bytes = number(value);
    if (bytes > 0 && bytes <= std::numeric_limits<std::uint16_t>::max()) {
      args.bsize = static_cast<std::uint16_t>(bytes);
    }
  } else if (key == "rsize") {
    // The PMD refuses more.
    if (const unsigned long log2 = number(value); log2 <= 14)
      args.rsize = static_cast<std::uint16_t>(log2);
  }
}

/// The part of `rest` before `separator`; `rest` keeps what is behind it.
std::string_view take(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view head = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return head;
}

}  // namespace

std::optional<memif_args> parse_memif_vdev(std::string_view vdev) {
  std::string_view rest = vdev;
  memif_args args;
  args.name = take(rest, ',');
  if (!args.name.starts_with(driver_name)) return std::nullopt;
  while (!rest.empty()) {
    std::string_view value = take(rest, ',');
    const std::string_view key = take(value, '=');
    apply(args, key, value);
  }
  return args;
}

std::size_t memif_address(const memif_args& args, sockaddr_un& address) noexcept {
  address = {};
  address.sun_family = AF_UNIX;
  // An abstract name follows a NUL and its length counts; a path is ended by a NUL.
  const std::size_t first = args.socket_abstract ? 1 : 0;
  if (args.socket.empty() || args.socket.size() + 1 > sizeof(address.sun_path)) return 0;
  std::memcpy(address.sun_path + first, args.socket.data(), args.socket.size());
  return args.socket_abstract ? offsetof(sockaddr_un, sun_path) + 1 + args.socket.size()
                              : sizeof(address);
}

stale_socket remove_stale_socket(const std::string& path) noexcept {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? stale_socket::missing : stale_socket::failed;
  }
  if (!S_ISSOCK(status.st_mode)) return stale_socket::not_a_socket;

  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) return stale_socket::failed;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());

  // A datagram socket, though the PMD's is SOCK_SEQPACKET: if any live socket is bound to the file
  // the kernel says EPROTOTYPE (or connects two datagram sockets, which nobody notices), if none
  // is, ECONNREFUSED. A real connection would disturb a live server: one that greets it after we
  // have hung up panics.
  const descriptor probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (probe.get() < 0) return stale_socket::failed;
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return stale_socket::in_use;
  }
  switch (errno) {
    case ECONNREFUSED: break;
    case ENOENT: return stale_socket::missing;  // its owner took it away meanwhile
    case EPROTOTYPE: return stale_socket::in_use;
    default: return stale_socket::failed;
  }
  if (::unlink(path.c_str()) == 0) return stale_socket::removed;
  return errno == ENOENT ? stale_socket::missing : stale_socket::failed;
}

unsigned prepare_memif_servers(std::span<const char* const> eal_args) {
  unsigned removed = 0;
  for (std::size_t i = 0; i < eal_args.size(); ++i) {
    std::string_view arg = eal_args[i];
    if (arg == "--") break;  // what follows is the application's
    if (arg == vdev_option) {
      if (++i == eal_args.size()) break;
      arg = eal_args[i];
    } else if (arg.starts_with(vdev_option) && arg.substr(vdev_option.size()).starts_with('=')) {
      arg.remove_prefix(vdev_option.size() + 1);
    } else {
      continue;
    }
    const std::optional<memif_args> args = parse_memif_vdev(arg);
    if (!args || !args->leaves_a_file()) continue;
    if (remove_stale_socket(args->socket) == stale_socket::removed) ++removed;
  }
  return removed;
}

}  // namespace nd::pmd
