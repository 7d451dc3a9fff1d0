#include "pmd_glue/fault_port.hpp"

#include <rte_ether.h>
#include <rte_ip.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <system_error>

#include "nd/error.hpp"

namespace nd::pmd {
namespace {

constexpr duration longest_hold = duration::microseconds(100);
// What waits here for a full device is bounded; beyond it the caller keeps its frames.
constexpr std::size_t out_limit = 256;

[[noreturn]] void refuse(std::string_view part, const std::string& why) {
  throw std::system_error(make_error_code(errc::bad_option),
                          "fault '" + std::string(part) + "': " + why +
                              "; for example loss=0.01,dup=0.01,reorder=0.05,corrupt=0.001,"
                              "ecn=0.01,seed=7");
}

template <class T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc() && end == text.data() + text.size();
}

}  // namespace

fault_spec parse_fault_spec(std::string_view text) {
  fault_spec spec;
  const std::array<std::pair<std::string_view, double*>, 5> chances{{{"loss", &spec.loss},
                                                                     {"dup", &spec.dup},
                                                                     {"reorder", &spec.reorder},
                                                                     {"corrupt", &spec.corrupt},
                                                                     {"ecn", &spec.ecn}}};
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) refuse(part, "not name=value");
    const std::string_view name = part.substr(0, equals), value = part.substr(equals + 1);
    if (name == "seed") {
      if (!parse_number(value, spec.seed)) refuse(part, "not a number");
      continue;
    }
    const auto found = std::ranges::find(chances, name, [](const auto& c) { return c.first; });
    if (found == chances.end()) refuse(part, "not one of loss, dup, reorder, corrupt, ecn, seed");
    // Written so that a NaN is refused too.
    if (!parse_number(value, *found->second) || !(*found->second >= 0 && *found->second <= 1))
      refuse(part, "not a probability from 0 to 1");
  }
  return spec;
}

fault_port::fault_port(std::unique_ptr<port> inner, const fault_spec& spec)
    : inner_(std::move(inner)),
      capabilities_(inner_->capabilities()),
      spec_(spec),
      random_(spec.seed) {
  // A device would compute the right checksum of the wrong bytes.
  if (spec_.corrupt > 0) capabilities_.tx_udp_checksum = false;
}

fault_port::~fault_port() {
  for (const held_frame& h : held_) rte_pktmbuf_free(h.frame);
  for (rte_mbuf* m : out_) rte_pktmbuf_free(m);
}

std::size_t fault_port::tx_burst(instant now, std::span<rte_mbuf*> frames) {
  std::size_t taken = 0;
  for (; taken < frames.size() && out_.size() < out_limit; ++taken) impair(now, frames[taken]);
  flush(now);
  return taken;
}

void fault_port::tick(instant now) {
  while (!held_.empty() && held_.front().until <= now) {
    out_.push_back(held_.front().frame);
    held_.pop_front();
  }
  flush(now);
  inner_->tick(now);
}

void fault_port::impair(instant now, rte_mbuf* frame) {
  if (random_.chance(spec_.loss)) {
    rte_pktmbuf_free(frame);
    return;
  }
  if (random_.chance(spec_.ecn)) mark(frame);
  if (random_.chance(spec_.corrupt)) frame = corrupted(frame);
  if (frame == nullptr) return;
  if (random_.chance(spec_.dup))
    if (rte_mbuf* copy = rte_pktmbuf_copy(frame, frame->pool, 0, frame->pkt_len)) emit(copy);
  if (random_.chance(spec_.reorder)) {
    held_.push_back({frame, static_cast<unsigned>(1 + random_.below(8)), now + longest_hold});
    return;
  }
  emit(frame);
}

void fault_port::emit(rte_mbuf* frame) {
  out_.push_back(frame);
  for (auto it = held_.begin(); it != held_.end();) {
    if (--it->later_frames > 0) {
      ++it;
      continue;
    }
    out_.push_back(it->frame);
    it = held_.erase(it);
  }
}

/// A copy with one bit turned: the sender still has the bytes of `frame` for a retransmission.
rte_mbuf* fault_port::corrupted(rte_mbuf* frame) {
  rte_mbuf* copy = rte_pktmbuf_copy(frame, frame->pool, 0, frame->pkt_len);
  rte_pktmbuf_free(frame);
  if (copy == nullptr) return nullptr;  // then it is lost: a fault as well
  const std::uint64_t bit = random_.below(std::uint64_t{copy->pkt_len} * 8);
  *rte_pktmbuf_mtod_offset(copy, std::uint8_t*, bit / 8) ^=
      static_cast<std::uint8_t>(1U << (bit % 8));
  return copy;
}

// Headers of a frame are written anew for each transmission, so this needs no copy.
void fault_port::mark(rte_mbuf* frame) noexcept {
  if (frame->data_len < RTE_ETHER_HDR_LEN + sizeof(rte_ipv4_hdr)) return;
  const auto* ethernet = rte_pktmbuf_mtod(frame, const rte_ether_hdr*);
  auto* ip = rte_pktmbuf_mtod_offset(frame, rte_ipv4_hdr*, RTE_ETHER_HDR_LEN);
  if (ethernet->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) return;
  if ((ip->type_of_service & RTE_IPV4_HDR_ECN_MASK) == 0) return;
  ip->type_of_service |= RTE_IPV4_HDR_ECN_CE;
  ip->hdr_checksum = 0;
  ip->hdr_checksum = rte_ipv4_cksum(ip);
}

void fault_port::flush(instant now) {
  if (out_.empty()) return;
  const std::size_t sent = inner_->tx_burst(now, out_);
  out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent));
}

}  // namespace nd::pmd
