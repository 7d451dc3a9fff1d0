// Two network namespaces joined by a veth pair: two hosts with kernel interfaces.
#pragma once

#include <string>

#include "memif_pair.hpp"

namespace nd::e2e {

/// Makes namespaces with names of this process, and removes them. What a killed run has left goes
/// with the next one. Needs root.
class veth_pair {
 public:
  /// Why there can be none here; empty where there can.
  static std::string why_not();

  explicit veth_pair(unsigned mtu = 1500);
  virtual ~veth_pair();
  veth_pair(const veth_pair&) = delete;
  veth_pair& operator=(const veth_pair&) = delete;

  /// The program of `variable` as the first host or the second, in its namespace. `vdev` without a
  /// number, as in "net_af_packet,iface=nd0".
  words command(const char* variable, bool first, const std::string& vdev,
                const words& nd_options) const {
    return command_in(first, variable, first, vdev, nd_address(first), nd_options);
  }
  /// The same, in any of the namespaces, with any address.
  words command_in(bool first_namespace, const char* variable, bool first, const std::string& vdev,
                   const std::string& address, const words& nd_options) const;

  /// The program of `variable` in a host's namespace, with nothing but these arguments.
  words plain_command(bool first, const char* variable, const words& arguments) const;

  /// A host's address for ND, which its kernel does not have, and its kernel's own.
  static std::string nd_address(bool first) { return first ? "10.19.0.1" : "10.19.0.2"; }
  static std::string kernel_address(bool first) { return first ? "10.77.0.1" : "10.77.0.2"; }

  /// `ip` in a host's namespace; its standard output. Fails the test where `ip` fails.
  std::string ip(bool first, const words& arguments) const;
  /// Waits until the host has the interface and it is up.
  bool wait_for_interface(bool first, const std::string& name) const {
    return wait_for_link_text(first, name + ":");
  }
  /// Waits until what `ip link show up` says of the host's interfaces has `text` in it.
  bool wait_for_link_text(bool first, const std::string& text) const;
  /// Moves the calling thread into the host's namespace.
  void enter(bool first) const;

  std::filesystem::path file(const std::string& name) const { return dir_ / name; }

 protected:
  struct empty {};
  /// The namespaces, with nothing in them but lo.
  explicit veth_pair(empty);
  std::string name(bool first) const { return prefix_ + (first ? "a" : "b"); }
  /// Of a third one, that a derived class may make.
  std::string router_name() const { return prefix_ + "r"; }
  static int run_ip(const words& arguments, const redirects& files = {});

 private:
  temp_dir dir_;
  std::string prefix_;
};

/// Two hosts with a kernel in between that forwards: two links, each 10.19.N.0/24 and 10.77.N.0/24.
class routed_pair : public veth_pair {
 public:
  /// `mtu` of all interfaces; `route_mtu` of what is forwarded, where it is not 0.
  explicit routed_pair(unsigned mtu = 1500, unsigned route_mtu = 0);
  ~routed_pair() override;

  static std::string nd_address(bool first) { return first ? "10.19.1.1" : "10.19.2.1"; }
  static std::string kernel_address(bool first) { return first ? "10.77.1.1" : "10.77.2.1"; }
  static std::string gateway(bool first) { return first ? "10.19.1.254" : "10.19.2.254"; }
  static std::string kernel_gateway(bool first) { return first ? "10.77.1.254" : "10.77.2.254"; }
};

}  // namespace nd::e2e

/// Ends a test case that needs namespaces, with a message, where there are none.
#define ND_NEEDS_VETH()                                        \
  do {                                                         \
    const std::string reason = nd::e2e::veth_pair::why_not();  \
    if (!reason.empty()) {                                     \
      WARN("skipped: no network namespaces here: " << reason); \
      return;                                                  \
    }                                                          \
  } while (false)
