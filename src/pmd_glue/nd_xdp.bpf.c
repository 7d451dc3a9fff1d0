// Which frames of an interface that the kernel keeps are ours. Those go to the AF_XDP socket of
// their queue; all others, and all while no socket is there, go to the kernel.
//
// ARP goes to the kernel: a frame has one way only, and both need it. The library reads copies of
// it from a packet socket.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "nd_xdp.h"

// The driver looks for this name, and puts its sockets here by queue.
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u32);
} xsks_map SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct nd_xdp_config);
} nd_config SEC(".maps");

static int is_ours(const struct xdp_md *frame, const struct nd_xdp_config *config)
{
  const char *start = (const char *)(long)frame->data;
  const char *end = (const char *)(long)frame->data_end;
  const struct ethhdr *ethernet = (const void *)start;
  const struct iphdr *ip = (const void *)(ethernet + 1);
  const struct udphdr *udp = (const void *)(ip + 1);

  if ((const char *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP)) return 0;
  if (config->address == 0 || ip->daddr != config->address) return 0;
  if (config->whole_address) return 1;
  if (ip->protocol != config->protocol) return 0;
  if (config->udp_port == 0) return 1;
  // ND packets have neither options nor fragments; a later fragment has no port.
  if (ip->ihl != 5 || (ip->frag_off & bpf_htons(0x3fff)) != 0) return 0;
  return (const char *)(udp + 1) <= end && udp->dest == config->udp_port;
}

SEC("xdp")
int nd_share(struct xdp_md *frame)
{
  __u32 first = 0;
  const struct nd_xdp_config *config = bpf_map_lookup_elem(&nd_config, &first);

  if (config == 0 || !is_ours(frame, config)) return XDP_PASS;
  return bpf_redirect_map(&xsks_map, frame->rx_queue_index, XDP_PASS);
}

const char nd_license[] SEC("license") = "BSD";
