// A network that exists only in a test: made time, copied frames, and faults by seed or by hook.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/mbuf.hpp"
#include "base/port.hpp"
#include "base/rng.hpp"
#include "wire/ethernet.hpp"
#include "wire/ip.hpp"
#include "wire/packet_format.hpp"

namespace nd::test {

/// A frame as it was put on the wire, and what lies in it.
struct made_frame {
  std::vector<std::byte> bytes;
  std::size_t from = 0;      ///< which port sent it
  std::uint64_t number = 0;  ///< of all frames of the wire, from 0
  bool checksums = true;     ///< false: both ends leave them out, but in handshakes

  bool is_arp() const {
    return wire::at<wire::ethernet_header>(data()).type == wire::ethertype_arp;
  }
  wire::ipv4_header& ip() { return wire::at<wire::ipv4_header>(data(ethernet_size)); }
  const wire::ipv4_header& ip() const { return wire::at<wire::ipv4_header>(data(ethernet_size)); }
  std::size_t ip_length() const { return is_arp() ? 0 : std::size_t{ip().total_length}; }

  /// The ND packet from its channel header on, its trailer included; empty for ARP.
  std::span<std::byte> packet() {
    if (is_arp()) return {};
    const std::size_t udp = ip().protocol == wire::protocol_udp ? sizeof(wire::udp_header) : 0;
    return std::span(bytes).subspan(ethernet_size + sizeof(wire::ipv4_header) + udp,
                                    ip_length() - sizeof(wire::ipv4_header) - udp);
  }
  wire::channel_header& header() {
    return wire::at<wire::channel_header>(static_cast<void*>(packet().data()));
  }
  bool is(wire::packet_kind kind) { return !is_arp() && header().kind == kind; }
  /// How a packet with a CRC32C was written.
  wire::packet_format format() {
    return {.source = ip().source,
            .destination = ip().destination,
            .protocol = ip().protocol,
            .crc = ip().protocol != wire::protocol_udp &&
                   (checksums || wire::is_handshake(header().kind))};
  }
  std::span<std::byte> records() {
    std::span<std::byte> p = packet();
    if (p.empty() || !wire::has_records(header().kind)) return {};
    p = p.first(p.size() - format().trailer_size());
    return p.subspan(sizeof(wire::channel_header));
  }
  std::size_t count(wire::record_type type) {
    std::size_t n = 0;
    wire::record_reader reader(records());
    for (wire::record_view r; reader.next(r);) n += r.type() == type ? 1 : 0;
    return n;
  }
  bool has(wire::record_type type) { return count(type) > 0; }

  /// Congestion Experienced, where its sender understands that.
  void mark_congested() {
    if (is_arp() || (ip().dscp_ecn & wire::ecn_mask) == 0) return;
    wire::ipv4_header& header = ip();
    header.dscp_ecn |= wire::ecn_ce;
    header.checksum = std::uint16_t{0};
    header.checksum = wire::inet_checksum(wire::inet_sum(0, wire::bytes_of(header)));
  }

 private:
  static constexpr std::size_t ethernet_size = sizeof(wire::ethernet_header);
  const void* data(std::size_t at = 0) const { return bytes.data() + at; }
  void* data(std::size_t at = 0) { return bytes.data() + at; }
};

/// What is to become of one frame.
struct frame_fate {
  bool drop = false;
  bool congested = false;  ///< marked with CE
  unsigned copies = 1;
  duration extra;  ///< later than it would have been
};

/// One copy of a frame at its receiver.
struct frame_arrival {
  instant when;
  unsigned turned_bits = 0;  ///< anywhere behind the Ethernet header
};

/// Chances from 0 to 1, drawn for each frame.
struct impairments {
  double loss = 0;
  double duplicate = 0;
  double reorder = 0;  ///< held back by up to `reorder_by`
  double corrupt = 0;  ///< one bit behind the Ethernet header
  double congested = 0;
  duration reorder_by = duration::microseconds(200);
};

/// A switch between made ports. Frames are copied, as a wire does it.
class made_wire {
 public:
  class made_port;
  using hook = std::function<void(made_frame&, frame_fate&)>;
  /// A way to one receiver, to be called with the time at which a frame leaves its sender: what is
  /// pushed arrives. It may change the frame.
  using path_hook = std::function<void(made_frame&, std::size_t to, instant left,
                                       std::vector<frame_arrival>& arrivals)>;

  explicit made_wire(std::uint64_t seed) : random_(seed) {}
  made_wire(const made_wire&) = delete;
  made_wire& operator=(const made_wire&) = delete;

  /// A port whose received frames come from `rx_pool`.
  made_port& plug(const port_capabilities& capabilities, rte_mempool* rx_pool);
  /// Frames under way to the port are lost.
  void unplug(made_port& p);
  /// In place of unplugging: frames under way to `old` that have not arrived by now go to `p`.
  void replace(made_port& old, made_port& p, instant now);

  impairments faults;
  hook on_frame;          ///< before the faults
  path_hook on_path;      ///< where it is set, `latency` and reordering are its own to do
  bool checksums = true;  ///< of what its frames say
  duration latency = duration::microseconds(10);
  /// Each port's own sending rate; 0: no limit. What does not fit `queue_bytes` is dropped.
  std::uint64_t bytes_per_second = 0;
  std::uint64_t queue_bytes = 1 << 20;
  std::uint64_t mark_bytes = ~std::uint64_t{0};  ///< a longer queue marks CE

  instant next_arrival() const noexcept;
  std::uint64_t frames() const noexcept { return frames_; }
  std::uint64_t dropped() const noexcept { return dropped_; }

  /// A frame from nowhere, for the port with number `to`.
  void inject(instant when, std::size_t to, std::vector<std::byte> bytes);

 private:
  void send(instant now, made_port& from, const rte_mbuf* m);
  void deliver(instant left, made_frame& f, duration extra);
  void carry(instant when, made_port& to, const std::vector<std::byte>& bytes,
             unsigned turned_bits);
  std::vector<std::byte> buffer();

  rng random_;
  std::vector<std::unique_ptr<made_port>> ports_;
  std::vector<std::vector<std::byte>> spare_;  ///< buffers of frames that have arrived
  std::vector<frame_arrival> arrivals_;
  std::uint64_t frames_ = 0;
  std::uint64_t dropped_ = 0;
};

class made_wire::made_port final : public port {
 public:
  made_port(made_wire& w, std::size_t number, const port_capabilities& c, rte_mempool* rx_pool)
      : wire_(w), number_(number), capabilities_(c), rx_pool_(rx_pool) {}

  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  bool link_up() const noexcept override { return up; }
  void tick(instant) override {}

  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    drop_overflow(now - ahead);
    return receive(now - ahead, arriving_, frames);
  }
  std::size_t rx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    return receive(now - ahead, urgent_, frames);
  }

  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override {
    const std::size_t n = accept ? std::min(accept(), frames.size()) : frames.size();
    for (std::size_t i = 0; i < n; ++i) {
      if (frames[i]->nb_segs > 1 && !capabilities_.tx_chains) std::abort();
      wire_.send(now - ahead, *this, frames[i]);
      if (keeps)
        kept.emplace_back(frames[i]);
      else
        rte_pktmbuf_free(frames[i]);
    }
    return n;
  }

  std::size_t number() const noexcept { return number_; }
  instant next_arrival() const noexcept {
    const auto first = [](const queue& q) {
      return q.empty() ? instant::never() : q.begin()->first;
    };
    return earlier(first(arriving_), first(urgent_));
  }

  bool up = true;                       ///< what link_up() says; frames pass all the same
  std::function<std::size_t()> accept;  ///< how many frames a burst takes; all where there is none
  std::uint64_t no_mbuf = 0;            ///< frames lost because `rx_pool` was empty
  duration ahead;                       ///< this host's clock, of the wire's
  std::size_t rx_ring = ~std::size_t{0};  ///< frames that wait for rx_burst(); others are lost
  bool lanes = false;                     ///< it sorts what comes by DSCP
  bool keeps = false;                     ///< what it has sent, as a ring of descriptors does
  std::vector<mbuf_ptr> kept;

 private:
  friend class made_wire;
  using queue = std::multimap<instant, std::vector<std::byte>>;

  std::size_t receive(instant now, queue& from, std::span<rte_mbuf*> frames) {
    std::size_t n = 0;
    while (n < frames.size() && !from.empty() && from.begin()->first <= now) {
      std::vector<std::byte>& bytes = from.begin()->second;
      if (rte_mbuf* m = rte_pktmbuf_alloc(rx_pool_); m != nullptr) {
        std::ranges::copy(bytes, reinterpret_cast<std::byte*>(rte_pktmbuf_append(
                                     m, static_cast<std::uint16_t>(bytes.size()))));
        frames[n++] = m;
      } else {
        ++no_mbuf;
      }
      wire_.spare_.push_back(std::move(bytes));
      from.erase(from.begin());
    }
    return n;
  }
  queue& queue_of(const std::vector<std::byte>& frame) {
    const void* const header = frame.data() + sizeof(wire::ethernet_header);
    const bool ip = wire::at<wire::ethernet_header>(static_cast<const void*>(frame.data())).type ==
                    wire::ethertype_ipv4;
    const bool urgent =
        lanes && ip &&
        (wire::at<wire::ipv4_header>(header).dscp_ecn & ~wire::ecn_mask) == wire::dscp_latency;
    return urgent ? urgent_ : arriving_;
  }
  void drop_overflow(instant now) {
    if (arriving_.size() <= rx_ring) return;
    auto it = arriving_.begin();
    for (std::size_t n = 0; n < rx_ring && it->first <= now; ++n) ++it;
    const auto end = arriving_.upper_bound(now);
    while (it != end && it->first <= now) it = arriving_.erase(it);
  }
  made_wire& wire_;
  std::size_t number_;
  port_capabilities capabilities_;
  rte_mempool* rx_pool_;
  instant sending_until_;
  queue arriving_;
  queue urgent_;  ///< on the second lane
  bool plugged_ = true;
};

inline made_wire::made_port& made_wire::plug(const port_capabilities& c, rte_mempool* rx_pool) {
  ports_.push_back(std::make_unique<made_port>(*this, ports_.size(), c, rx_pool));
  return *ports_.back();
}

inline void made_wire::unplug(made_port& p) {
  p.plugged_ = false;
  p.arriving_.clear();
  p.urgent_.clear();
}

inline void made_wire::replace(made_port& old, made_port& p, instant now) {
  old.plugged_ = false;
  old.arriving_.erase(old.arriving_.begin(), old.arriving_.upper_bound(now));
  old.urgent_.erase(old.urgent_.begin(), old.urgent_.upper_bound(now));
  p.arriving_.merge(old.arriving_);
  p.urgent_.merge(old.urgent_);
  p.lanes = old.lanes;
}

inline instant made_wire::next_arrival() const noexcept {
  instant next = instant::never();
  for (const auto& p : ports_) next = earlier(next, p->next_arrival());
  return next;
}

inline void made_wire::inject(instant when, std::size_t to, std::vector<std::byte> bytes) {
  ports_[to]->arriving_.emplace(when, std::move(bytes));
}

inline std::vector<std::byte> made_wire::buffer() {
  if (spare_.empty()) return {};
  std::vector<std::byte> b = std::move(spare_.back());
  spare_.pop_back();
  return b;
}

inline void made_wire::send(instant now, made_port& from, const rte_mbuf* m) {
  made_frame f;
  f.bytes = buffer();
  f.bytes.resize(m->pkt_len);
  rte_pktmbuf_read(m, 0, m->pkt_len, f.bytes.data());
  if (const void* start = rte_pktmbuf_mtod(m, const void*); m->nb_segs == 1)
    std::memcpy(f.bytes.data(), start, f.bytes.size());
  f.from = from.number_;
  f.number = frames_++;
  f.checksums = checksums;
  frame_fate fate;
  if (on_frame) on_frame(f, fate);
  fate.drop = fate.drop || random_.chance(faults.loss);
  fate.congested = fate.congested || random_.chance(faults.congested);
  if (random_.chance(faults.duplicate)) ++fate.copies;

  instant left = std::max(now, from.sending_until_);
  if (bytes_per_second > 0) {
    const auto waiting =
        static_cast<std::uint64_t>((left - now).ns()) * bytes_per_second / 1'000'000'000;
    fate.drop = fate.drop || waiting > queue_bytes;
    fate.congested = fate.congested || waiting > mark_bytes;
    if (!fate.drop) {
      left = left +
             duration(static_cast<std::int64_t>(f.bytes.size() * 1'000'000'000 / bytes_per_second));
      from.sending_until_ = left;
    }
  }
  if (fate.drop) {
    ++dropped_;
  } else {
    if (fate.congested) f.mark_congested();
    for (unsigned n = 0; n < fate.copies; ++n) deliver(left, f, fate.extra);
  }
  spare_.push_back(std::move(f.bytes));
}

inline void made_wire::deliver(instant left, made_frame& f, duration extra) {
  instant when = left + latency + extra;
  if (random_.chance(faults.reorder))
    when = when + duration(static_cast<std::int64_t>(
                      random_.below(static_cast<std::uint64_t>(faults.reorder_by.ns()))));
  const mac_address to =
      wire::at<wire::ethernet_header>(static_cast<const void*>(f.bytes.data())).destination;
  for (const auto& p : ports_) {
    if (p->number_ == f.from || !p->plugged_) continue;
    if (to != p->capabilities_.mac && to != mac_broadcast) continue;
    arrivals_.clear();
    if (on_path)
      on_path(f, p->number_, left, arrivals_);
    else
      arrivals_.push_back({when});
    for (const frame_arrival& a : arrivals_) carry(a.when, *p, f.bytes, a.turned_bits);
  }
}

inline void made_wire::carry(instant when, made_port& to, const std::vector<std::byte>& bytes,
                             unsigned turned_bits) {
  std::vector<std::byte> copy = buffer();
  copy.assign(bytes.begin(), bytes.end());
  if (random_.chance(faults.corrupt)) ++turned_bits;
  for (; turned_bits > 0; --turned_bits) {
    constexpr std::size_t from = sizeof(wire::ethernet_header);
    const std::size_t bit = random_.below((copy.size() - from) * 8);
    copy[from + bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
  auto& queue = to.queue_of(copy);
  queue.emplace(when, std::move(copy));
}

}  // namespace nd::test
