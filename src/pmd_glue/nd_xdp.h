// What the XDP program is told; shared between it (C) and the library (C++).
#pragma once

/// Map "nd_config", entry 0. All zero: every frame goes to the kernel.
struct nd_xdp_config {
  unsigned int address;         ///< this host's IPv4 address, in network order
  unsigned short udp_port;      ///< destination port, in network order; 0: any
  unsigned char protocol;       ///< IPv4 protocol of ND packets
  unsigned char whole_address;  ///< the kernel does not have it: every packet to it is ours
};
