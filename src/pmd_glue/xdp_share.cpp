#include "pmd_glue/xdp_share.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "nd/error.hpp"
#include "pmd_glue/descriptor.hpp"

namespace nd::pmd {
namespace {

constexpr std::string_view program_name = "nd_share";
constexpr std::string_view config_map = "nd_config";

[[noreturn]] void refuse(const std::string& interface, const std::string& why) {
  throw std::system_error(make_error_code(errc::no_device),
                          "interface '" + interface + "': " + why);
}

/// The id of the XDP program on an interface; 0: none.
std::uint32_t attached_program(unsigned interface_index) noexcept {
  std::uint32_t id = 0;
  return bpf_xdp_query_id(static_cast<int>(interface_index), 0, &id) == 0 ? id : 0;
}

struct program {
  std::string name;
  std::array<std::uint32_t, 8> maps{};
  std::size_t map_count = 0;
};

program look_at(std::uint32_t program_id) noexcept {
  program out;
  const descriptor fd(bpf_prog_get_fd_by_id(program_id));
  if (!fd) return out;
  bpf_prog_info info{};
  info.map_ids = reinterpret_cast<std::uintptr_t>(out.maps.data());
  info.nr_map_ids = static_cast<std::uint32_t>(out.maps.size());
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) return out;
  out.name = info.name;
  out.map_count = std::min<std::size_t>(info.nr_map_ids, out.maps.size());
  return out;
}

/// One process an interface. An abstract address is in the network namespace, as interfaces are,
/// and the kernel gives it back however its owner ends.
void take_interface(const std::string& interface) {
  descriptor lock(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "libndstack/xdp/" + interface;
  std::ranges::copy(name, address.sun_path + 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::bind(lock.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    lock.keep();
    return;
  }
  refuse(interface, errno == EADDRINUSE ? "another process of libndstack has it (net_af_xdp)"
                                        : std::string("cannot be taken: ") + std::strerror(errno));
}

/// The program in a file without a name, so that it need not be found on a disk.
int program_file() {
  static const int file = [] {
    const auto bytes = xdp_program();
    descriptor fd(::memfd_create("nd_xdp", MFD_CLOEXEC));
    if (!fd || ::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      throw std::system_error(errno, std::generic_category(), "memfd for the XDP program");
    return fd.keep();
  }();
  return file;
}

}  // namespace

std::string prepare_xdp_interface(const std::string& interface) {
  const unsigned index = if_nametoindex(interface.c_str());
  take_interface(interface);
  if (const std::uint32_t id = attached_program(index); id != 0) {
    const program found = look_at(id);
    const std::string off = "ip link set dev " + interface + " xdp off";
    if (found.name != program_name)
      refuse(interface, "has the XDP program " + std::to_string(id) +
                            (found.name.empty() ? "" : " '" + found.name + "'") +
                            "; if nobody needs it: " + off);
    // Whoever attached it has ended, or the interface could not have been taken.
    if (const int error = bpf_xdp_detach(static_cast<int>(index), 0, nullptr); error != 0)
      refuse(interface, std::string("keeps the XDP program of an ended process (") +
                            std::strerror(-error) + "); try: " + off);
  }
  return "/proc/self/fd/" + std::to_string(program_file());
}

bool tell_xdp_program(unsigned interface_index, const nd_xdp_config& config) {
  const std::uint32_t id = attached_program(interface_index);
  if (id == 0) return false;
  const program found = look_at(id);
  if (found.name != program_name) return false;
  for (std::size_t i = 0; i < found.map_count; ++i) {
    const descriptor map(bpf_map_get_fd_by_id(found.maps[i]));
    bpf_map_info info{};
    std::uint32_t size = sizeof info;
    if (!map || bpf_obj_get_info_by_fd(map.get(), &info, &size) != 0 || info.name != config_map)
      continue;
    const std::uint32_t first = 0;
    if (bpf_map_update_elem(map.get(), &first, &config, BPF_ANY) == 0) return true;
    throw std::system_error(errno, std::generic_category(), "configuring the XDP program");
  }
  return false;
}

}  // namespace nd::pmd
