#include "pmd_glue/kernel_devices.hpp"

#include <linux/bpf.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <system_error>
#include <vector>

#include "base/mbuf.hpp"
#include "nd/error.hpp"
#include "pmd_glue/log.hpp"
#include "pmd_glue/mempool.hpp"
#include "pmd_glue/netdev.hpp"
#include "pmd_glue/vdev_args.hpp"
#include "pmd_glue/xdp_share.hpp"

namespace nd::pmd {
namespace {

// net_af_packet (22.11). The kernel puts a frame behind the slot's header, 16 bytes and its
// alignment (packet_mmap.rst): 66 bytes for an Ethernet frame. The driver takes all but 32.
constexpr std::uint32_t slot_header = 66;
constexpr std::uint32_t slot_header_of_driver = 32;
constexpr std::uint32_t standard_slot = 2048;
// Of a ring with larger slots; with them it takes no more than 4 MiB.
constexpr std::uint32_t large_slots = 256;
constexpr std::uint16_t most_mtu = 9000;

// net_af_xdp (22.11): its fill ring, which is full from the start and which it leaves behind.
constexpr unsigned xdp_fill_ring = 2048;

std::uint32_t mtu_of(const vdev_args& vdev) {
  const std::string interface = vdev.find("iface").value_or("");
  const std::vector<netdev> all = list_netdevs();
  if (const netdev* d = find_by_name(all, interface)) return d->mtu;
  throw std::system_error(
      make_error_code(errc::no_device),
      "--vdev=" + vdev.text() +
          (interface.empty() ? ": iface= is missing"
                             : ": this network namespace has no interface '" + interface + "'"));
}

void size_slots(vdev_args& vdev) {
  const std::uint32_t mtu = std::min<std::uint32_t>(mtu_of(vdev), most_mtu);
  const std::uint32_t slot = std::bit_ceil(mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + slot_header);
  if (slot <= standard_slot || vdev.find("framesz") || vdev.find("blocksz")) return;
  vdev.add("framesz", std::to_string(slot));
  vdev.add("blocksz", std::to_string(std::max<long>(slot, sysconf(_SC_PAGESIZE))));
  if (!vdev.find("framecnt")) vdev.add("framecnt", std::to_string(large_slots));
}

void share_interface(vdev_args& vdev) {
  mtu_of(vdev);
  if (vdev.find("xdp_prog")) return;
  if (xdp_program().empty()) {
    log(log_level::warning,
        "this build has no XDP program (no clang): the driver's own takes all frames of '" +
            *vdev.find("iface") + "' from the kernel");
    return;
  }
  vdev.add("xdp_prog", prepare_xdp_interface(*vdev.find("iface")));
}

/// The largest frame whose mbuf fits one umem chunk, which is at most a page.
std::uint16_t largest_umem_mtu() {
  const auto page = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE));
  const auto chunk = [](std::uint32_t mtu) {
    const std::uint32_t room = rx_data_room(static_cast<std::uint16_t>(mtu), XDP_PACKET_HEADROOM);
    return rte_mempool_calc_obj_size(
        static_cast<std::uint32_t>(sizeof(rte_mbuf)) + mbuf_private_size + room, 0, nullptr);
  };
  std::uint32_t mtu = page;
  while (chunk(mtu) > page) mtu -= 2;
  return static_cast<std::uint16_t>(mtu);
}

}  // namespace

void prepare_kernel_devices(std::vector<std::string>& eal_args) {
  for_each_vdev(eal_args, [](vdev_args& vdev) {
    if (vdev.is("net_af_packet") || vdev.is("eth_af_packet")) size_slots(vdev);
    if (vdev.is("net_af_xdp")) share_interface(vdev);
  });
}

std::optional<kernel_device> kernel_device_of(const rte_eth_dev_info& info) {
  const std::string_view driver = info.driver_name;
  if (driver != "net_af_packet" && driver != "net_af_xdp") return std::nullopt;
  const std::vector<netdev> all = list_netdevs();
  const netdev* device = find_by_index(all, info.if_index);
  const std::uint32_t interface = device != nullptr ? device->mtu : RTE_ETHER_MTU;
  const auto at_most = [&](std::uint32_t limit) {
    return static_cast<std::uint16_t>(std::min({interface, limit, std::uint32_t{most_mtu}}));
  };
  // It registers as many bytes as there are mbufs of their size, from the first page of the pool
  // on: with gaps that is too few, and the kernel drops what lies behind (DPDK 22.11).
  if (driver == "net_af_xdp")
    return kernel_device{.made_by = kernel_device::driver::af_xdp,
                         .mtu = at_most(largest_umem_mtu()),
                         .buffer = 0,
                         .buffer_headroom = XDP_PACKET_HEADROOM,
                         .kept = xdp_fill_ring,
                         .layout = pool_layout::without_gaps};
  // dev_info says 1500, whatever the slots hold.
  std::uint32_t slot = standard_slot;
  const rte_devargs* arguments = rte_dev_devargs(info.device);
  if (arguments != nullptr && arguments->args != nullptr) {
    const auto text = vdev_args("," + std::string(arguments->args)).find("framesz").value_or("");
    std::from_chars(text.data(), text.data() + text.size(), slot);
  }
  return kernel_device{.made_by = kernel_device::driver::af_packet,
                       .mtu = at_most(slot - slot_header - RTE_ETHER_HDR_LEN),
                       .buffer = slot - slot_header_of_driver,
                       .buffer_headroom = 0,
                       .kept = 0,
                       .layout = pool_layout::standard};
}

}  // namespace nd::pmd
