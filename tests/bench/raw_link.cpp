#include "raw_link.hpp"

#include <algorithm>
#include <cstring>

#include "wire/endian.hpp"
#include "wire/ethernet.hpp"
#include "wire/ip.hpp"

namespace nd::bench {
namespace {

constexpr std::uint8_t protocol = 19;
constexpr std::size_t headers = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
// As large as what nd-echo reads into.
constexpr std::size_t application_buffer = 65536;
constexpr std::byte pattern{0x5a};

}  // namespace

raw_link::raw_link(std::unique_ptr<port> device, rte_mempool* pool, std::uint32_t own,
                   std::uint32_t peer)
    : device_(std::move(device)),
      pool_(pool),
      now_(clock_.now()),
      own_(own),
      peer_(peer),
      source_(application_buffer, pattern),
      sink_(application_buffer) {}

raw_link::~raw_link() {
  rte_pktmbuf_free_bulk(waiting_.data(), static_cast<unsigned>(waiting_count_));
}

std::size_t raw_link::payload_max() const noexcept {
  return device_->capabilities().mtu - sizeof(wire::ipv4_header);
}

raw_link::arrivals raw_link::receive() {
  std::array<rte_mbuf*, burst> frames;
  now_ = clock_.now();
  const std::size_t n = device_->rx_burst(now_, frames);
  device_->tick(now_);
  arrivals in;
  for (std::size_t i = 0; i < n; ++i) {
    rte_mbuf* const m = frames[i];
    if (m->data_len < headers) continue;
    const auto* const start = rte_pktmbuf_mtod(m, const std::byte*);
    const auto& ethernet = wire::at<wire::ethernet_header>(static_cast<const void*>(start));
    const auto& ip = wire::at<wire::ipv4_header>(
        static_cast<const void*>(start + sizeof(wire::ethernet_header)));
    if (ethernet.type != wire::ethertype_ipv4 || ip.protocol != protocol ||
        ip.destination != own_ || ip.total_length < sizeof ip ||
        sizeof ethernet + ip.total_length > m->data_len) {
      continue;
    }
    switch (static_cast<frame_kind>(static_cast<std::uint16_t>(ip.identification))) {
      case frame_kind::data: {
        const std::size_t bytes = ip.total_length - sizeof ip;
        if (sink_at_ + bytes > sink_.size()) sink_at_ = 0;
        std::memcpy(sink_.data() + sink_at_, start + headers, bytes);
        sink_at_ += bytes;
        in.bytes += bytes;
        ++in.packets;
        break;
      }
      case frame_kind::hello:
        in.hello = true;
        peer_mac_ = ethernet.source;
        break;
      case frame_kind::welcome:
        in.welcome = true;
        peer_mac_ = ethernet.source;
        break;
      case frame_kind::stop: in.stop = true; break;
      case frame_kind::stopped: in.stopped = true; break;
    }
  }
  rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(n));
  received_ += in.bytes;
  return in;
}

bool raw_link::send(frame_kind kind, std::size_t bytes) {
  if (waiting_count_ == burst) return false;
  rte_mbuf* const m = rte_pktmbuf_alloc(pool_);
  if (m == nullptr) return false;
  // Where the device does not do it, frames are not padded: neither does libndstack.
  auto* const start = reinterpret_cast<std::byte*>(
      rte_pktmbuf_append(m, static_cast<std::uint16_t>(headers + bytes)));
  auto& ethernet = wire::at<wire::ethernet_header>(static_cast<void*>(start));
  ethernet.destination = kind == frame_kind::hello ? mac_broadcast : peer_mac_;
  ethernet.source = device_->capabilities().mac;
  ethernet.type = wire::ethertype_ipv4;
  auto& ip = wire::at<wire::ipv4_header>(static_cast<void*>(start + sizeof(wire::ethernet_header)));
  wire::write_ipv4(ip, own_, peer_, protocol, wire::ecn_ect0, bytes);
  ip.identification = static_cast<std::uint16_t>(kind);
  ip.checksum = std::uint16_t{0};
  ip.checksum = wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(ip)));
  if (source_at_ + bytes > source_.size()) source_at_ = 0;
  std::memcpy(start + headers, source_.data() + source_at_, bytes);
  source_at_ += bytes;
  waiting_[waiting_count_++] = m;
  return true;
}

std::size_t raw_link::send_data(std::size_t bytes) {
  std::size_t taken = 0;
  while (taken < bytes) {
    const std::size_t part = std::min(bytes - taken, payload_max());
    if (!send(frame_kind::data, part)) break;
    taken += part;
  }
  return taken;
}

bool raw_link::flush() {
  if (waiting_count_ == 0) return true;
  const std::size_t sent = device_->tx_burst(now_, std::span(waiting_).first(waiting_count_));
  std::copy(waiting_.begin() + static_cast<std::ptrdiff_t>(sent),
            waiting_.begin() + static_cast<std::ptrdiff_t>(waiting_count_), waiting_.begin());
  waiting_count_ -= sent;
  return waiting_count_ == 0;
}

bool raw_link::received_well() const noexcept {
  const auto end =
      sink_.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(received_, sink_at_));
  return std::all_of(sink_.begin(), end, [](std::byte b) { return b == pattern; });
}

}  // namespace nd::bench
