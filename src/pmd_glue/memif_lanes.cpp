#include "pmd_glue/memif_lanes.hpp"

#include <rte_byteorder.h>
#include <rte_ether.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace nd::pmd {
namespace {

constexpr std::uint16_t local_experiment = 0x88b5;
constexpr char text[] = "nd: two pairs of queues";

// The server may be slow to poll for the first time. Then it is somebody who does not know us.
constexpr unsigned most_tries = 8;
constexpr duration first_pause = duration::milliseconds(1);

struct word_frame {
  rte_ether_hdr ethernet;
  char text[46];  // the least that Ethernet carries
};
static_assert(sizeof(word_frame) == 60);

bool is_word(const rte_mbuf* m) noexcept {
  const auto* frame = rte_pktmbuf_mtod(m, const word_frame*);
  return m->data_len == sizeof *frame &&
         frame->ethernet.ether_type == rte_cpu_to_be_16(local_experiment) &&
         std::memcmp(frame->text, text, sizeof text) == 0;
}

}  // namespace

void memif_lanes::start(instant now, bool second) noexcept {
  stop();
  if (!second) return;
  listens_ = true;
  // A server that has accepted the client has as many queues as that.
  can_receive_ = role_ == memif_role::client;
  if (role_ == memif_role::client) next_try_ = now;
}

std::size_t memif_lanes::on_received(std::span<rte_mbuf*> frames, bool on_second) noexcept {
  if (!listens_) return frames.size();
  const auto rest = std::remove_if(frames.begin(), frames.end(), [&](rte_mbuf* m) {
    if (!is_word(m)) return false;
    rte_pktmbuf_free(m);
    if (role_ == memif_role::server) {
      can_receive_ = can_send_ = true;
      answer_due_ = !on_second;
      listens_ = !on_second;
    } else if (on_second && !can_send_) {
      can_send_ = answer_due_ = true;
      next_try_ = instant::never();
    }
    return true;
  });
  return static_cast<std::size_t>(rest - frames.begin());
}

memif_lanes::word memif_lanes::say(instant now) noexcept {
  const bool on_second = std::exchange(answer_due_, false);
  if (on_second && role_ == memif_role::client) listens_ = false;
  if (!on_second) {
    ++tries_;
    next_try_ = tries_ < most_tries ? now + first_pause * (1 << tries_) : instant::never();
  }
  rte_mbuf* m = rte_pktmbuf_alloc(pool_);
  if (m == nullptr) return {};
  auto* frame = reinterpret_cast<word_frame*>(rte_pktmbuf_append(m, sizeof(word_frame)));
  *frame = {};
  std::ranges::copy(mac_broadcast, frame->ethernet.dst_addr.addr_bytes);
  std::ranges::copy(mac_, frame->ethernet.src_addr.addr_bytes);
  frame->ethernet.ether_type = rte_cpu_to_be_16(local_experiment);
  std::memcpy(frame->text, text, sizeof text);
  return {m, on_second};
}

}  // namespace nd::pmd
