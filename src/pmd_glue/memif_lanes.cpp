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
  char text[24];
  std::uint8_t lcores;  ///< 0: of an older end
  std::uint8_t lanes;
  std::uint8_t settled;
  char rest[19];  // to the least that Ethernet carries
};
static_assert(sizeof(word_frame) == 60 && sizeof(word_frame::text) == sizeof text);

bool is_word(const rte_mbuf* m) noexcept {
  const auto* frame = rte_pktmbuf_mtod(m, const word_frame*);
  return m->data_len == sizeof *frame &&
         frame->ethernet.ether_type == rte_cpu_to_be_16(local_experiment) &&
         std::memcmp(frame->text, text, sizeof text) == 0 && frame->lcores <= memif_lcores_max &&
         frame->lanes <= memif_lanes_max && (frame->lcores == 0) == (frame->lanes == 0);
}

memif_pairs common(memif_pairs a, memif_pairs b) noexcept {
  return {std::min(a.lcores, b.lcores), std::min(a.lanes, b.lanes)};
}

}  // namespace

void memif_lanes::start(instant now, memif_pairs own) noexcept {
  stop();
  own_ = own;
  if (own.count() == 1) return;
  listens_ = true;
  if (role_ == memif_role::server) return;
  // A server that has accepted the client has as many queues as that.
  queues_ = {.receive = own, .stride = own.lanes};
  next_try_ = now;
}

std::size_t memif_lanes::on_received(std::span<rte_mbuf*> frames, bool on_second) noexcept {
  if (!listens_) return frames.size();
  const auto rest = std::remove_if(frames.begin(), frames.end(), [&](rte_mbuf* m) {
    if (!is_word(m)) return false;
    const auto* frame = rte_pktmbuf_mtod(m, const word_frame*);
    const memif_pairs other{frame->lcores, frame->lanes};
    const bool settled = frame->settled != 0;
    rte_pktmbuf_free(m);
    hear(other, settled, on_second);
    return true;
  });
  return static_cast<std::size_t>(rest - frames.begin());
}

void memif_lanes::hear(memif_pairs other, bool settled, bool on_second) noexcept {
  const bool older = other.lcores == 0;
  if (older) {
    if (own_.lanes < 2) return;  // it knows of nothing else to agree on
    other = {1, 2};
  }
  heard_ = true;
  if (role_ == memif_role::server) {
    queues_.receive = queues_.send = common(own_, other);
    queues_.stride = other.lanes;
    listens_ = !settled && !(older && on_second);
    if (listens_) due_ = older ? answer::to_older : answer::with_numbers;
  } else {
    queues_.send = common(own_, other);
    due_ = older ? answer::to_older : answer::with_numbers;
    next_try_ = instant::never();
    listens_ = false;
  }
}

memif_lanes::word memif_lanes::say(instant now) noexcept {
  const answer kind = std::exchange(due_, answer::none);
  if (kind == answer::none) {
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
  if (kind != answer::to_older) {
    frame->lcores = own_.lcores;
    frame->lanes = own_.lanes;
    frame->settled = role_ == memif_role::client && kind == answer::with_numbers;
  }
  return {m, kind == answer::to_older};
}

}  // namespace nd::pmd
