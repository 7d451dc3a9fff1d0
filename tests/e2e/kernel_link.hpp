// A link between two hosts by one of the drivers on kernel interfaces.
#pragma once

#include <string>

#include "veth_pair.hpp"

namespace nd::e2e {

/// "af_packet" and "af_xdp": the ends of a veth pair. "tap": the server has the tap device, and the
/// client the interface that the kernel has of it, by af_packet.
class kernel_link {
 public:
  explicit kernel_link(std::string driver, unsigned mtu = 1500)
      : driver_(std::move(driver)), pair_(mtu) {}

  words command(const char* variable, bool server, const words& options) const {
    const bool tap = driver_ == "tap";
    const std::string vdev = !tap     ? "net_" + driver_ + ",iface=nd0"
                             : server ? "net_tap,iface=ndtap"
                                      : "net_af_packet,iface=ndtap";
    return pair_.command_in(server || tap, variable, server, vdev, veth_pair::nd_address(server),
                            options);
  }
  static std::string server_address() { return veth_pair::nd_address(true); }

  /// Call it between the starts of server and client.
  void server_started() const {
    if (driver_ != "tap") return;
    REQUIRE(pair_.wait_for_interface(true, "ndtap"));
    // The driver gives both ends of the tap one MAC address.
    pair_.ip(true, {"link", "set", "ndtap", "address", "02:00:00:00:19:02"});
  }

  std::filesystem::path file(const std::string& name) const { return pair_.file(name); }
  const veth_pair& pair() const noexcept { return pair_; }

 private:
  std::string driver_;
  veth_pair pair_;
};

}  // namespace nd::e2e
