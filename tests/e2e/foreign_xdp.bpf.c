// An XDP program that is not ours.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int foreign_pass(struct xdp_md *frame)
{
  (void)frame;
  return XDP_PASS;
}
