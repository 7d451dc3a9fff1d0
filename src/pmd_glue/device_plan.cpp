#include "pmd_glue/device_plan.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "base/nearest.hpp"
#include "nd/error.hpp"

namespace nd::pmd {
namespace {

// What the pools and the EAL itself need, with room to spare.
constexpr std::uint64_t memory_mib = 256;

/// One of these options is among the arguments, in any of the ways to write it.
template <std::size_t N>
bool says(const std::vector<std::string>& args, const std::array<std::string_view, N>& options) {
  return std::ranges::any_of(args, [&](std::string_view arg) {
    return std::ranges::any_of(options, [&](std::string_view option) {
      const bool is_short = option.size() == 2;  // "-l0" is "-l 0"
      return is_short ? arg.starts_with(option) : arg.substr(0, arg.find('=')) == option;
    });
  });
}

constexpr std::array<std::string_view, 5> device_options{"--vdev", "-a", "--allow", "-b",
                                                         "--block"};
constexpr std::array<std::string_view, 1> no_pci_options{"--no-pci"};
constexpr std::array<std::string_view, 8> memory_options{
    "-m",           "--no-huge",    "--huge-dir",    "--in-memory",
    "--socket-mem", "--legacy-mem", "--huge-unlink", "--single-file-segments"};
constexpr std::array<std::string_view, 5> lcore_options{"-l", "-c", "-s", "-S", "--lcores"};
constexpr std::array<std::string_view, 1> prefix_options{"--file-prefix"};

/// "0-3,8" as numbers; what is wrong is left out.
std::vector<unsigned> parse_cpus(std::string_view list) {
  std::vector<unsigned> out;
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    unsigned first = 0, last = 0;
    const char* end = part.data() + part.size();
    auto [at, ec] = std::from_chars(part.data(), end, first);
    if (ec != std::errc()) continue;
    last = first;
    if (at != end && *at == '-') std::from_chars(at + 1, end, last);
    for (unsigned cpu = first; cpu <= last && cpu < 4096; ++cpu) out.push_back(cpu);
  }
  return out;
}

std::string cpu_set(const netdev& device, const machine_facts& facts) {
  std::string text;
  for (const unsigned cpu : near_cpus(device, facts))
    text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return "(" + text + ")";
}

void choose_device(const netdev& d, const machine_facts& facts, bool no_pci, device_plan& plan) {
  const bool mlx5 = d.driver == "mlx5_core" && !d.pci.empty();
  if (mlx5 && !no_pci) {
    plan.eal_args.insert(plan.eal_args.end(), {"-a", d.pci});
    plan.reasons.push_back("device: PCI " + d.pci +
                           ", because its kernel driver mlx5_core shares the port with DPDK's");
    return;
  }
  if (!no_pci) plan.eal_args.emplace_back("--no-pci");
  if (facts.no_xdp.empty()) {
    plan.eal_args.push_back("--vdev=net_af_xdp0,iface=" + d.name);
    plan.reasons.emplace_back(
        "device: net_af_xdp, because the kernel takes an AF_XDP socket on it");
    return;
  }
  if (!facts.no_packet.empty())
    throw std::system_error(make_error_code(errc::no_device),
                            "interface " + d.name + ": neither AF_XDP (" + facts.no_xdp +
                                ") nor a packet socket (" + facts.no_packet +
                                ") can be had; run as root");
  plan.eal_args.push_back("--vdev=net_af_packet0,iface=" + d.name);
  plan.reasons.push_back("device: net_af_packet, which is slow, because there is no AF_XDP: " +
                         facts.no_xdp);
}

}  // namespace

std::vector<unsigned> near_cpus(const netdev& device, const machine_facts& facts) {
  const std::vector<unsigned> near = parse_cpus(device.cpus);
  std::vector<unsigned> chosen;
  std::ranges::copy_if(facts.cpus, std::back_inserter(chosen),
                       [&](unsigned cpu) { return std::ranges::find(near, cpu) != near.end(); });
  return chosen.empty() ? facts.cpus : chosen;
}

device_plan plan_device(const netdev& d, const machine_facts& facts,
                        const std::vector<std::string>& by_hand, std::span<const unsigned> lcores) {
  device_plan plan{.eal_args = by_hand, .reasons = {}};
  if (says(by_hand, device_options))
    plan.reasons.emplace_back("device: as the EAL options say");
  else
    choose_device(d, facts, says(by_hand, no_pci_options), plan);

  if (says(by_hand, memory_options)) {
    plan.reasons.emplace_back("memory: as the EAL options say");
  } else if (facts.free_hugepage_bytes >= memory_mib << 20) {
    plan.eal_args.emplace_back("--in-memory");
    plan.reasons.emplace_back("memory: hugepages, of which enough are free");
  } else {
    plan.eal_args.insert(plan.eal_args.end(), {"--no-huge", "-m", std::to_string(memory_mib)});
    plan.reasons.push_back("memory: " + std::to_string(memory_mib) +
                           " MiB without hugepages, of which " +
                           std::to_string(facts.free_hugepage_bytes >> 20) + " MiB are free");
  }

  if (says(by_hand, lcore_options)) {
    plan.reasons.emplace_back("lcores: as the EAL options say");
  } else if (!facts.cpus.empty()) {
    const std::string cpus = cpu_set(d, facts);
    std::string map = "0@" + cpus;
    for (const unsigned lcore : lcores)
      if (lcore > 0) map += "," + std::to_string(lcore) + "@" + cpus;
    plan.eal_args.push_back("--lcores=" + map);
    plan.reasons.push_back("lcores: not pinned, on the CPUs " + cpus +
                           "; pin with -l where CPUs are kept free");
  }

  if (!says(by_hand, prefix_options))
    plan.eal_args.push_back("--file-prefix=nd-" + d.name + "-" + std::to_string(facts.process));
  return plan;
}

const netdev& find_netdev(std::span<const netdev> all, std::string_view name) {
  const auto refuse = [](const std::string& message) {
    throw std::system_error(make_error_code(errc::bad_option), message);
  };
  const netdev* found = find_by_name(all, name);
  if (found == nullptr) {
    std::string names;
    for (const netdev& d : all) names += (names.empty() ? "" : ", ") + d.name;
    std::string message = "setting dev: no interface '" + std::string(name) + "'";
    const auto near = std::ranges::min_element(
        all, {}, [&](const netdev& d) { return edit_distance(name, d.name); });
    if (near != all.end() && edit_distance(name, near->name) <= 2)
      message += "; did you mean '" + near->name + "'?";
    refuse(message + " This network namespace has: " + names);
  }
  if (!found->ethernet) refuse("setting dev: " + found->name + " is not an Ethernet interface");
  if (!found->up)
    refuse("setting dev: interface " + found->name + " is down: ip link set " + found->name +
           " up");
  return *found;
}

}  // namespace nd::pmd
