#include "pmd_glue/netdev.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "nd/error.hpp"

namespace nd::pmd {
namespace {

[[noreturn]] void refuse(const char* what) {
  throw std::system_error(
      make_error_code(errc::no_device),
      std::string("rtnetlink: ") + what + ": " + std::generic_category().message(errno));
}

/// The attributes of a message, by type.
template <std::size_t N>
class attributes {
 public:
  template <class Fixed>
  attributes(const nlmsghdr* message, const Fixed*) {
    mnl_attr_parse(message, sizeof(Fixed), keep, this);
  }
  const nlattr* operator[](std::size_t type) const noexcept { return found_[type]; }
  std::uint32_t number(std::size_t type) const noexcept {
    return found_[type] == nullptr ? 0 : mnl_attr_get_u32(found_[type]);
  }
  std::uint32_t ip(std::size_t type) const noexcept { return ntohl(number(type)); }
  bool mac(std::size_t type, mac_address& out) const noexcept {
    if (found_[type] == nullptr || mnl_attr_get_payload_len(found_[type]) != out.size())
      return false;
    std::memcpy(out.data(), mnl_attr_get_payload(found_[type]), out.size());
    return true;
  }

 private:
  static int keep(const nlattr* a, void* self) {
    const std::size_t type = mnl_attr_get_type(a);
    if (type < N) static_cast<attributes*>(self)->found_[type] = a;
    return MNL_CB_OK;
  }
  std::array<const nlattr*, N> found_{};
};

class netlink_socket {
 public:
  /// `groups`: bits of RTMGRP_*.
  netlink_socket(int flags, unsigned groups) : socket_(mnl_socket_open2(NETLINK_ROUTE, flags)) {
    if (socket_ == nullptr) refuse("socket");
    if (mnl_socket_bind(socket_, groups, MNL_SOCKET_AUTOPID) < 0) {
      mnl_socket_close(socket_);
      refuse("bind");
    }
  }
  ~netlink_socket() { mnl_socket_close(socket_); }
  netlink_socket(const netlink_socket&) = delete;
  netlink_socket& operator=(const netlink_socket&) = delete;

  bool send(const nlmsghdr* message) noexcept {
    return mnl_socket_sendto(socket_, message, message->nlmsg_len) >= 0;
  }
  /// Bytes of one batch of messages; -1 with errno.
  ssize_t receive() noexcept {
    return mnl_socket_recvfrom(socket_, buffer_.data(), buffer_.size());
  }
  const char* bytes() const noexcept { return buffer_.data(); }
  unsigned id() const noexcept { return mnl_socket_get_portid(socket_); }

 private:
  mnl_socket* socket_;
  alignas(nlmsghdr) std::array<char, 32768> buffer_;
};

/// A request with its fixed part, to which attributes can be added.
template <class Fixed>
struct netlink_request {
  netlink_request(std::uint16_t type, unsigned flags) noexcept {
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  }
  netlink_request(const netlink_request&) = delete;
  netlink_request& operator=(const netlink_request&) = delete;

  alignas(nlmsghdr) std::array<char, 256> bytes{};
  nlmsghdr* const header = mnl_nlmsg_put_header(bytes.data());
  Fixed* const fixed = static_cast<Fixed*>(mnl_nlmsg_put_extra_header(header, sizeof(Fixed)));
};

/// Calls `each(message)` for all that the kernel lists of this type.
template <class Fixed, class Each>
void dump(std::uint16_t type, Each each) {
  netlink_socket s(SOCK_CLOEXEC, 0);
  netlink_request<Fixed> request(type, NLM_F_DUMP);
  request.header->nlmsg_seq = 1;
  // The family is the first byte of each of these.
  const unsigned char family = type == RTM_GETLINK ? AF_UNSPEC : AF_INET;
  std::memcpy(request.fixed, &family, 1);
  if (!s.send(request.header)) refuse("send");
  const auto call = [](const nlmsghdr* m, void* f) {
    (*static_cast<Each*>(f))(m);
    return int{MNL_CB_OK};
  };
  for (;;) {
    const ssize_t n = s.receive();
    if (n < 0) refuse("receive");
    const int more = mnl_cb_run(s.bytes(), static_cast<std::size_t>(n), 1, s.id(), call, &each);
    if (more < 0) refuse("dump");
    if (more == 0) return;
  }
}

/// Where a sysfs link leads, or its last part; empty where there is none.
std::string link_target(const std::filesystem::path& path) {
  std::error_code ec;
  const std::filesystem::path target = std::filesystem::read_symlink(path, ec);
  return ec ? "" : target.filename().string();
}

class netdev_link final : public kernel_link {
 public:
  netdev_link(const netdev& d, bool has_our_address)
      : index_(d.index),
        has_our_address_(has_our_address),
        socket_(SOCK_CLOEXEC | SOCK_NONBLOCK, RTMGRP_LINK | RTMGRP_NEIGH) {
    // How it stands now is the first news.
    netlink_request<ifinfomsg> request(RTM_GETLINK, 0);
    request.fixed->ifi_index = static_cast<int>(index_);
    if (!socket_.send(request.header)) refuse("send");
  }

  bool has_our_address() const noexcept override { return has_our_address_; }

  /// Makes the kernel look for the neighbour (NTF_USE), and asks for what it knows already.
  void resolve(std::uint32_t ip) override {
    ask(ip, RTM_NEWNEIGH, NLM_F_CREATE, NTF_USE);
    ask(ip, RTM_GETNEIGH, 0, 0);
  }

  std::optional<kernel_news> next() override {
    while (news_.empty()) {
      const ssize_t n = socket_.receive();
      // ENOBUFS: some were lost, and more can be read.
      if (n < 0 && errno == ENOBUFS) continue;
      if (n <= 0) return std::nullopt;
      int left = static_cast<int>(n);
      const auto* bytes = static_cast<const void*>(socket_.bytes());
      for (auto* m = static_cast<const nlmsghdr*>(bytes); mnl_nlmsg_ok(m, left);
           m = mnl_nlmsg_next(m, &left))
        read(m);
    }
    const kernel_news out = news_.front();
    news_.pop_front();
    return out;
  }

 private:
  void ask(std::uint32_t ip, std::uint16_t type, unsigned flags, std::uint8_t neighbor_flags) {
    netlink_request<ndmsg> request(type, flags);
    request.fixed->ndm_family = AF_INET;
    request.fixed->ndm_ifindex = static_cast<int>(index_);
    request.fixed->ndm_flags = neighbor_flags;
    mnl_attr_put_u32(request.header, NDA_DST, htonl(ip));
    socket_.send(request.header);  // asked again where it fails
  }

  void read(const nlmsghdr* m) {
    if (m->nlmsg_type == RTM_NEWLINK || m->nlmsg_type == RTM_DELLINK) {
      const auto* link = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(m));
      // A bridge that the interface leaves says DELLINK too, in a family of its own.
      if (static_cast<unsigned>(link->ifi_index) != index_ || link->ifi_family != AF_UNSPEC) return;
      const bool up = (link->ifi_flags & IFF_UP) != 0 && (link->ifi_flags & IFF_RUNNING) != 0;
      kernel_news n;
      n.what = m->nlmsg_type == RTM_DELLINK ? kernel_news::kind::gone
               : up                         ? kernel_news::kind::link_up
                                            : kernel_news::kind::link_down;
      news_.push_back(n);
    } else if (m->nlmsg_type == RTM_NEWNEIGH) {
      const auto* neighbor = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(m));
      const attributes<NDA_MAX + 1> a(m, neighbor);
      constexpr unsigned known =
          NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
      kernel_news n{.what = kernel_news::kind::neighbor, .ip = a.ip(NDA_DST)};
      if (neighbor->ndm_family == AF_INET &&
          static_cast<unsigned>(neighbor->ndm_ifindex) == index_ &&
          (neighbor->ndm_state & known) != 0 && n.ip != 0 && a.mac(NDA_LLADDR, n.mac))
        news_.push_back(n);
    }
  }

  unsigned index_;
  bool has_our_address_;
  netlink_socket socket_;
  std::deque<kernel_news> news_;
};

}  // namespace

std::vector<netdev> list_netdevs() {
  std::vector<netdev> out;
  dump<ifinfomsg>(RTM_GETLINK, [&out](const nlmsghdr* m) {
    const auto* link = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(m));
    const attributes<IFLA_MAX + 1> a(m, link);
    if (a[IFLA_IFNAME] == nullptr) return;
    netdev d;
    d.name = mnl_attr_get_str(a[IFLA_IFNAME]);
    d.index = static_cast<unsigned>(link->ifi_index);
    d.mtu = a.number(IFLA_MTU);
    d.ethernet = link->ifi_type == ARPHRD_ETHER && a.mac(IFLA_ADDRESS, d.mac);
    d.up = (link->ifi_flags & IFF_UP) != 0;
    d.running = d.up && (link->ifi_flags & IFF_RUNNING) != 0;
    out.push_back(std::move(d));
  });
  const auto find = [&out](std::uint32_t index) {
    return std::ranges::find(out, index, &netdev::index);
  };
  dump<ifaddrmsg>(RTM_GETADDR, [&](const nlmsghdr* m) {
    const auto* address = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(m));
    const attributes<IFA_MAX + 1> a(m, address);
    const auto d = find(address->ifa_index);
    if (d == out.end() || address->ifa_family != AF_INET || a[IFA_LOCAL] == nullptr) return;
    d->addresses.push_back({a.ip(IFA_LOCAL), address->ifa_prefixlen});
  });
  std::vector<std::uint32_t> metric(out.size(), ~std::uint32_t{0});
  dump<rtmsg>(RTM_GETROUTE, [&](const nlmsghdr* m) {
    const auto* route = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(m));
    const attributes<RTA_MAX + 1> a(m, route);
    if (route->rtm_family != AF_INET || route->rtm_dst_len != 0 ||
        route->rtm_table != RT_TABLE_MAIN || a[RTA_GATEWAY] == nullptr)
      return;
    const auto d = find(a.number(RTA_OIF));
    if (d == out.end()) return;
    std::uint32_t& best = metric[static_cast<std::size_t>(d - out.begin())];
    if (d->gateway != 0 && a.number(RTA_PRIORITY) >= best) return;
    best = a.number(RTA_PRIORITY);
    d->gateway = a.ip(RTA_GATEWAY);
  });
  return out;
}

void read_hardware(netdev& d) {
  const std::filesystem::path device = std::filesystem::path("/sys/class/net") / d.name / "device";
  d.driver = link_target(device / "driver");
  if (link_target(device / "subsystem") == "pci") d.pci = link_target(device);
  std::ifstream cpus(device / "local_cpulist");
  std::getline(cpus, d.cpus);
}

const netdev* find_by_name(std::span<const netdev> all, std::string_view name) noexcept {
  const auto found = std::ranges::find(all, name, &netdev::name);
  return found == all.end() ? nullptr : &*found;
}

const netdev* find_by_index(std::span<const netdev> all, unsigned index) noexcept {
  const auto found = std::ranges::find(all, index, &netdev::index);
  return found == all.end() ? nullptr : &*found;
}

bool kernel_has(std::span<const netdev> all, std::uint32_t ip) noexcept {
  return std::ranges::any_of(all, [ip](const netdev& d) {
    return std::ranges::find(d.addresses, ip, &netdev::address::ip) != d.addresses.end();
  });
}

std::unique_ptr<kernel_link> watch_netdev(const netdev& device, bool has_our_address) {
  return std::make_unique<netdev_link>(device, has_our_address);
}

}  // namespace nd::pmd
