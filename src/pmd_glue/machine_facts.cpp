// What the machine lets this process do, seen by trying.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "pmd_glue/descriptor.hpp"
#include "pmd_glue/device_plan.hpp"

namespace nd::pmd {
namespace {

std::string failed(const char* what) {
  return std::string(what) + ": " + std::strerror(errno);
}

/// Loads a program that does nothing. On no interface: that would disturb it.
std::string try_xdp_program() {
  // r0 = XDP_PASS; exit
  const std::array<bpf_insn, 2> code{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 2},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  constexpr char license[] = "BSD";
  bpf_attr attributes;
  std::memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_XDP;
  attributes.insn_cnt = code.size();
  attributes.insns = reinterpret_cast<std::uintptr_t>(code.data());
  attributes.license = reinterpret_cast<std::uintptr_t>(&license[0]);
  const descriptor program(
      static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
  return program.get() < 0 ? failed("loading an XDP program") : "";
}

/// An AF_XDP socket on the interface's first queue, in copy mode: it gets nothing.
std::string try_xdp_socket(unsigned interface_index) {
  const descriptor s(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (s.get() < 0) return failed("AF_XDP socket");
  constexpr std::uint32_t chunk = 4096;
  constexpr int chunks = 64;
  const auto unmap = [](void* p) { ::munmap(p, std::size_t{chunk} * chunks); };
  void* area = ::mmap(nullptr, std::size_t{chunk} * chunks, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return failed("mmap");
  const std::unique_ptr<void, decltype(unmap)> kept(area, unmap);
  xdp_umem_reg umem{};
  umem.addr = reinterpret_cast<std::uintptr_t>(area);
  umem.len = std::uint64_t{chunk} * chunks;
  umem.chunk_size = chunk;
  if (::setsockopt(s.get(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem) != 0)
    return failed("AF_XDP memory");
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING}) {
    const int size = chunks;
    if (::setsockopt(s.get(), SOL_XDP, ring, &size, sizeof size) != 0)
      return failed("AF_XDP rings");
  }
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY;
  address.sxdp_ifindex = interface_index;
  if (::bind(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return {};
  if (errno == EBUSY) return "its queue 0 has an AF_XDP socket already";
  return failed("AF_XDP socket on the interface");
}

std::uint64_t free_hugepage_bytes() {
  constexpr std::string_view start = "hugepages-";
  std::uint64_t bytes = 0;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ec)) {
    const std::string name = entry.path().filename().string();
    std::uint64_t pages = 0;
    std::ifstream(entry.path() / "free_hugepages") >> pages;
    if (name.starts_with(start))
      bytes += pages * std::strtoull(name.c_str() + start.size(), nullptr, 10) * 1024;  // kB
  }
  return bytes;
}

}  // namespace

machine_facts examine_machine(const netdev& device) {
  machine_facts facts;
  facts.no_xdp = try_xdp_program();
  if (facts.no_xdp.empty()) facts.no_xdp = try_xdp_socket(device.index);
  const descriptor packet(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (packet.get() < 0) facts.no_packet = std::strerror(errno);
  facts.free_hugepage_bytes = free_hugepage_bytes();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed)) facts.cpus.push_back(cpu);
  }
  facts.process = ::getpid();
  return facts;
}

}  // namespace nd::pmd
