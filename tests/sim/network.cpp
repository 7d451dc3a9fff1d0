#include "sim/network.hpp"

#include <algorithm>

namespace nd::sim {

network::network(const scenario& s, trace& t)
    : wire(s.seed),
      scenario_(s),
      trace_(t),
      random_(s.seed + 1),
      ways_(s.hosts * s.hosts),
      receiving_until_(s.hosts),
      recorded_(s.hosts),
      ports_(s.hosts) {
  wire.checksums = s.checksums;
  wire.bytes_per_second = s.bytes_per_second;
  wire.queue_bytes = s.queue_bytes;
  wire.mark_bytes = s.mark_bytes;
  wire.on_path = [this](test::made_frame& f, std::size_t to, instant left,
                        std::vector<test::frame_arrival>& arrivals) {
    carry(f, to, left, arrivals);
  };
  wire.on_frame = [this](test::made_frame& f, test::frame_fate&) { watch_answer(f); };
}

void network::bring_stranger(std::size_t host, std::vector<std::byte> frame, instant now) {
  if (frame.size() >= sizeof(wire::ethernet_header)) {
    const auto& e = wire::at<wire::ethernet_header>(static_cast<const void*>(frame.data()));
    balance& b = strangers_[{host, e.source}];
    ++b.frames;
    b.bytes += static_cast<std::int64_t>(std::max(frame.size(), wire::ethernet_min_frame));
  }
  wire.inject(now, ports_[host]->number(), std::move(frame));
}

// A host that answers strangers with more than they have sent could be used against whoever has
// their addresses.
void network::watch_answer(const test::made_frame& f) {
  const auto& e = wire::at<wire::ethernet_header>(static_cast<const void*>(f.bytes.data()));
  const auto found = strangers_.find({host_of_port_[f.from], e.destination});
  if (found == strangers_.end()) return;
  balance& b = found->second;
  --b.frames;
  b.bytes -= static_cast<std::int64_t>(std::max(f.bytes.size(), wire::ethernet_min_frame));
  if (b.frames < 0 || b.bytes < 0) complaint_ = "a stranger is answered with more than it has sent";
}

test::made_wire::made_port& network::plug(std::size_t host, const port_capabilities& capabilities,
                                          rte_mempool* rx_pool, instant now) {
  auto& p = wire.plug(capabilities, rx_pool);
  host_of_port_.resize(p.number() + 1);
  host_of_port_[p.number()] = host;
  p.rx_ring = 512;
  if (ports_[host] != nullptr) wire.replace(*ports_[host], p, now);
  ports_[host] = &p;
  return p;
}

void network::cut(std::size_t from, std::size_t to, instant until) {
  instant& cut = ways_[from * scenario_.hosts + to].cut_until;
  cut = std::max(cut, until);
}

void network::limit_mtu(std::size_t a, std::size_t b, std::uint16_t bytes, instant until) {
  for (const std::size_t way : {a * scenario_.hosts + b, b * scenario_.hosts + a}) {
    ways_[way].mtu = bytes;
    ways_[way].mtu_until = until;
  }
}

// Old packets do harm where they can be taken for new ones: not those that only carry bytes.
void network::record(test::made_frame& f, std::size_t to) {
  constexpr std::size_t most = 256;
  using wire::record_type;
  if (f.is_arp() || recorded_[to].size() == most) return;
  const bool interesting = !wire::has_records(f.header().kind) || f.is(wire::packet_kind::close) ||
                           f.has(record_type::sync) || f.has(record_type::sync_ack) ||
                           f.has(record_type::fin) || f.has(record_type::reset);
  if (interesting && random_.chance(0.3)) recorded_[to].push_back(f.bytes);
}

void network::replay(std::size_t to, std::uint64_t count, instant now) {
  for (const auto& frames = recorded_[to]; count > 0 && !frames.empty(); --count)
    wire.inject(now, ports_[to]->number(), frames[random_.below(frames.size())]);
}

bool network::is_target(test::made_frame& f, const targeted_loss& t) const {
  return (t.kind && f.is(*t.kind)) || (t.record && f.has(*t.record));
}

/// Null: it is not lost.
const char* network::why_lost(test::made_frame& f, const way_model& model, way_state& state,
                              instant left) {
  if (calm_) return nullptr;
  if (left < state.cut_until) return "cut";
  if (left < state.mtu_until && f.ip_length() > state.mtu) return "too large";
  state.burst =
      state.burst ? !random_.chance(model.burst_ends) : random_.chance(model.burst_begins);
  if (state.burst && random_.chance(model.burst_loss)) return "lost in a burst";
  if (random_.chance(model.loss)) return "lost";
  for (const targeted_loss& t : scenario_.targets)
    if (is_target(f, t) && random_.chance(t.loss)) return "lost, a target";
  return nullptr;
}

void network::carry(test::made_frame& f, std::size_t to_port, instant left,
                    std::vector<test::frame_arrival>& arrivals) {
  const std::size_t from = host_of_port_[f.from], to = host_of_port_[to_port];
  const way_model& model = scenario_.way(from, to);
  const char* lost = why_lost(f, model, ways_[from * scenario_.hosts + to], left);

  // The switch's queue to the receiver.
  instant& until = receiving_until_[to];
  const std::uint64_t queued = waiting(to, left);
  if (lost == nullptr && queued > scenario_.queue_bytes) lost = "queue full";
  record(f, to);
  if (lost != nullptr) return trace_.frame(left, from, to, f, arrivals, lost);
  if (queued > scenario_.mark_bytes) f.mark_congested();
  until = std::max(until, left) + duration(static_cast<std::int64_t>(
                                      f.bytes.size() * 1'000'000'000 / scenario_.bytes_per_second));

  const unsigned copies = !calm_ && random_.chance(model.duplicate) ? 2 : 1;
  for (unsigned n = 0; n < copies; ++n) {
    test::frame_arrival a{until + model.delay};
    if (!calm_ && random_.chance(model.reorder))
      a.when = a.when + duration(static_cast<std::int64_t>(
                            random_.below(static_cast<std::uint64_t>(model.reorder_by.ns()))));
    if (!calm_ && random_.chance(model.corrupt)) {
      // ARP has no checksum of its own, and Ethernet's is not in the frame: it would be lost.
      if (f.is_arp()) continue;
      // CRC32C finds three bits in any packet of ours; a sum is only sure of one.
      a.turned_bits = scenario_.udp ? 1 : 1 + static_cast<unsigned>(random_.below(3));
    }
    arrivals.push_back(a);
  }
  if (!calm_ && !f.is_arp() && random_.chance(model.late))
    arrivals.push_back({until + model.delay +
                        duration(static_cast<std::int64_t>(
                            random_.below(static_cast<std::uint64_t>(model.late_by.ns()))))});
  trace_.frame(left, from, to, f, arrivals, "corrupted");
}

}  // namespace nd::sim
