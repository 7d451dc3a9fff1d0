// A wire between two interfaces that loses frames: what comes in on one leaves by the other, but
// for LOSS_PER_MILLION of a million. Which ones follows from the frame's number alone, so each run
// over a freshly attached program loses the same.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} frames SEC(".maps");

SEC("tc")
int forward(struct __sk_buff *skb) {
  const __u32 key = 0;
  __u64 *const count = bpf_map_lookup_elem(&frames, &key);
  if (!count) return TC_ACT_SHOT;
  // SplitMix64.
  __u64 z = (__sync_fetch_and_add(count, 1) + SEED) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  z ^= z >> 31;
  if (z % 1000000 < LOSS_PER_MILLION) return TC_ACT_SHOT;
  return bpf_redirect(OUT_INTERFACE, 0);
}

char program_license[] SEC("license") = "BSD";
