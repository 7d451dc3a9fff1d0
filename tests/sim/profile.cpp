// The profiles: which faults a run gets, and how much of them.
#include <algorithm>
#include <utility>

#include "base/rng.hpp"
#include "sim/scenario.hpp"

namespace nd::sim {
namespace {

/// Draws of one scenario.
class drawing {
 public:
  drawing(std::string_view profile, std::uint64_t seed) : r_(seed * 31 + profile.size()) {
    s_.profile = profile;
    s_.seed = seed;
  }

  scenario draw();

 private:
  bool chance(double p) { return r_.chance(p); }
  bool is(std::string_view profile) const { return s_.profile == profile; }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) {
    return least + r_.below(most - least + 1);
  }
  /// Each doubling as likely as the next.
  std::uint64_t spread(std::uint64_t least, std::uint64_t most) {
    std::uint64_t doublings = 0;
    while (least << (doublings + 1) < most) ++doublings;
    const std::uint64_t from = least << r_.below(doublings + 1);
    return between(from, std::min(most, from * 2));
  }
  double up_to(double most) { return most * static_cast<double>(r_.below(1001)) / 1000; }
  duration span(duration least, duration most) {
    return duration(static_cast<std::int64_t>(
        between(static_cast<std::uint64_t>(least.ns()), static_cast<std::uint64_t>(most.ns()))));
  }
  duration long_or_short(duration least, duration most) {
    return duration(static_cast<std::int64_t>(
        spread(static_cast<std::uint64_t>(least.ns()), static_cast<std::uint64_t>(most.ns()))));
  }
  template <class T, std::size_t N>
  T one_of(const std::array<T, N>& choices) {
    return choices[r_.below(N)];
  }

  void draw_hosts();
  void draw_settings();
  void draw_ways();
  void draw_targets();
  void draw_faults();
  void add_fault(fault_kind kind);
  void draw_connections();
  void draw_congestion();
  void draw_copies();
  void draw_lcores();
  void draw_policy();
  void draw_lending();
  void draw_classes();
  side_plan draw_side();

  rng r_;
  scenario s_;
  bool heavy_ = false;  ///< long streams
};

void drawing::draw_hosts() {
  constexpr std::array<std::uint16_t, 4> mtus{1500, 1500, 2000, 4000};
  s_.hosts = is("many") ? 2 + r_.below(2) : 2 + r_.below(chance(0.2) ? 5 : 2);
  s_.udp = chance(0.4);
  s_.static_neighbors = chance(0.5);
  s_.checksums = !chance(0.1);
  const std::uint16_t common = one_of(mtus);
  const bool mixed = chance(0.2);
  for (std::size_t i = 0; i < s_.hosts; ++i) {
    s_.mtu.push_back(mixed ? one_of(mtus) : common);
    s_.ahead.push_back(duration(static_cast<std::int64_t>(r_.below(5'000'000'000))));
  }
  // 200 Mbit/s to 10 Gbit/s; queues of 20 to 500 us, marks at a quarter.
  s_.bytes_per_second = spread(25'000'000, 1'250'000'000);
  s_.queue_bytes =
      std::max<std::uint64_t>(30'000, s_.bytes_per_second / 1'000'000 * between(20, 500));
  s_.mark_bytes = chance(0.7) ? s_.queue_bytes / 4 : ~std::uint64_t{0};
  s_.turn = span(duration::microseconds(1), duration::microseconds(5));
  s_.app_period = is("many")
                      ? duration::microseconds(200)
                      : long_or_short(duration::microseconds(5), duration::microseconds(200));
  if (is("long")) {
    s_.first_number = static_cast<std::uint32_t>(0 - between(1, 400));
    s_.first_offset = (std::uint64_t{1} << 32) * between(1, 3) - between(1, 100'000);
  }
}

void drawing::draw_settings() {
  settings& v = s_.values;
  v.ip = "10.0.0.1/24";
  v.encap = s_.udp ? "udp" : "ip";
  v.checksum = s_.checksums ? "full" : "none";
  v.sockets = is("many") ? 2048 : 256;
  v.arp_probes = chance(0.2) ? 3 : 0;
  if (is("lossy")) v.arp_tries = 20;
  v.channels_throughput = static_cast<std::int64_t>(between(0, is("many") ? 2 : 4));
  v.channels_latency = static_cast<std::int64_t>(between(0, 2));
  v.initial_window = static_cast<std::int64_t>(spread(2, 64));
  v.send_buffer = static_cast<std::int64_t>(spread(4096, 1 << 20));
  v.receive_buffer = static_cast<std::int64_t>(spread(4096, 1 << 20));
  v.notsent_lowat = chance(0.3) ? 0 : static_cast<std::int64_t>(spread(4096, 1 << 20));
  if (is("partition"))
    v.peer_timeout = one_of(
        std::array{duration::milliseconds(300), duration::seconds(2), duration::seconds(10)});
  if (chance(0.2))
    v.max_ack_delay = long_or_short(duration::microseconds(1), duration::milliseconds(2));
  if (is("memory") && chance(0.3)) s_.backlog = static_cast<unsigned>(between(1, 4));
  if (chance(is("memory") ? 0.5 : 0.05)) {
    s_.rx_reserved = 2048 - static_cast<std::uint32_t>(spread(64, 1024));
    s_.short_of_memory = true;
  }
  if (is("many")) {
    s_.backlog = 1024;
    s_.short_of_memory = true;  // credit for a thousand sockets
  }
}

void drawing::draw_ways() {
  const bool lossy = is("lossy");
  const double loss = lossy ? up_to(0.3) : chance(0.5) ? up_to(0.02) : 0;
  const double duplicate = lossy ? up_to(0.5) : chance(0.3) ? up_to(0.05) : 0;
  const double reorder = lossy ? up_to(0.5) : chance(0.4) ? up_to(0.1) : 0;
  // What nobody checks nobody finds.
  const double corrupt = !s_.checksums ? 0 : lossy ? up_to(0.05) : chance(0.3) ? up_to(0.005) : 0;
  const double late = chance(lossy || is("restart") ? 0.5 : 0.1) ? up_to(0.05) : 0;
  const duration late_by = long_or_short(duration::milliseconds(1), duration::seconds(3));
  const bool bursts = chance(lossy ? 0.5 : 0.1);
  const duration delay = long_or_short(duration::microseconds(1), duration::milliseconds(2));
  const duration reorder_by = long_or_short(duration::microseconds(5), duration::milliseconds(1));
  for (std::size_t way = 0; way < s_.hosts * s_.hosts; ++way) {
    way_model w;
    w.delay = span(delay, delay * 2);
    const double share = up_to(1);  // of each fault: ways differ
    w.loss = loss * share;
    w.duplicate = duplicate * share;
    w.reorder = reorder * share;
    w.corrupt = corrupt * share;
    w.reorder_by = reorder_by;
    w.late = late * share;
    w.late_by = late_by;
    if (bursts) {
      w.burst_begins = up_to(0.02);
      w.burst_ends = 0.02 + up_to(0.3);
      w.burst_loss = 0.3 + up_to(0.7);
    }
    s_.ways.push_back(w);
  }
  if (loss + corrupt > 0.03 || bursts) s_.peers_may_be_lost = true;
}

void drawing::draw_targets() {
  if (!chance(is("lossy") ? 0.5 : 0.05)) return;
  using wire::packet_kind, wire::record_type;
  for (std::uint64_t n = between(1, 2); n > 0; --n) {
    targeted_loss t;
    if (chance(0.5)) {
      t.kind = one_of(std::array{packet_kind::init, packet_kind::init_ack, packet_kind::cookie_echo,
                                 packet_kind::cookie_ack, packet_kind::data, packet_kind::ack,
                                 packet_kind::probe, packet_kind::close, packet_kind::abort});
    } else {
      t.record = one_of(std::array{record_type::data, record_type::notification, record_type::ack,
                                   record_type::sync, record_type::sync_ack, record_type::fin,
                                   record_type::reset, record_type::ack_ranges});
    }
    t.loss = 0.1 + up_to(0.6);
    s_.targets.push_back(t);
  }
  s_.peers_may_be_lost = true;
}

void drawing::add_fault(fault_kind kind) {
  planned_fault f;
  f.kind = kind;
  f.at = span(duration(), s_.fault_span);
  f.host = r_.below(s_.hosts);
  f.other = (f.host + 1 + r_.below(s_.hosts - 1)) % s_.hosts;
  f.pool = static_cast<unsigned>(r_.below(3));
  switch (kind) {
    case fault_kind::cut:
      f.span = long_or_short(duration::milliseconds(1), duration::seconds(5));
      if (chance(0.5)) {  // both ways
        planned_fault back = f;
        std::swap(back.host, back.other);
        s_.faults.push_back(back);
      }
      break;
    case fault_kind::mtu:
      f.span = long_or_short(duration::milliseconds(5), duration::seconds(2));
      f.amount = between(1200, 1500);
      break;
    case fault_kind::crash:
    case fault_kind::leave:
      f.span = chance(0.3) ? duration::microseconds(10)
                           : long_or_short(duration::milliseconds(1), duration::seconds(2));
      break;
    case fault_kind::pause:
      f.span = long_or_short(duration::microseconds(100), duration::seconds(1));
      break;
    case fault_kind::hoard:
      f.span = long_or_short(duration::milliseconds(1), duration::milliseconds(500));
      f.amount = chance(0.5) ? 0 : between(1, 64);
      break;
    case fault_kind::fail_allocation: f.amount = spread(1, 2000); break;
    case fault_kind::fail_often:
      f.span = long_or_short(duration::milliseconds(1), duration::milliseconds(500));
      f.amount = chance(0.5) ? 100 : between(2, 1000);
      break;
    case fault_kind::device_full:
      f.span = long_or_short(duration::milliseconds(1), duration::milliseconds(100));
      f.amount = between(2, 100);
      break;
    case fault_kind::stranger:
    case fault_kind::replay: f.amount = spread(1, 64); break;
  }
  s_.faults.push_back(f);
}

void drawing::draw_faults() {
  s_.fault_span = long_or_short(duration::milliseconds(20), duration::milliseconds(500));
  if (is("partition")) s_.fault_span = span(duration::milliseconds(200), duration::seconds(6));
  if (is("restart")) s_.fault_span = span(duration::milliseconds(100), duration::seconds(3));
  const auto some = [&](fault_kind kind, double p, std::uint64_t most) {
    if (!chance(p)) return;
    for (std::uint64_t n = between(1, most); n > 0; --n) add_fault(kind);
  };
  const bool memory = is("memory"), restart = is("restart"), partition = is("partition");
  some(fault_kind::cut, partition ? 1 : 0.1, partition ? 6 : 1);
  some(fault_kind::mtu, partition ? 0.5 : 0.1, 3);
  some(fault_kind::crash, restart ? 0.9 : 0.1, restart ? 6 : 1);
  some(fault_kind::leave, restart ? 0.4 : 0.05, restart ? 3 : 1);
  some(fault_kind::pause, restart ? 0.5 : 0.1, 3);
  some(fault_kind::hoard, memory ? 0.8 : 0.05, 4);
  some(fault_kind::fail_allocation, memory ? 0.8 : 0.05, 10);
  some(fault_kind::fail_often, memory ? 0.5 : 0.05, 3);
  some(fault_kind::device_full, memory ? 0.5 : 0.1, 3);
  some(fault_kind::stranger, 0.3, 4);
  some(fault_kind::replay, restart ? 0.8 : 0.3, 6);
  std::ranges::stable_sort(s_.faults, {}, &planned_fault::at);
}

side_plan drawing::draw_side() {
  side_plan p;
  p.bytes = is("many")   ? spread(1, 4000)
            : is("long") ? spread(100'000, 1'000'000)
                         : (chance(0.1) ? 0 : spread(1, chance(0.1) ? 400'000 : 60'000));
  if (heavy_) p.bytes *= 10;
  p.write_most = spread(chance(0.1) ? 1 : 64, 65536);
  // A window a round trip, and a write a turn: neither takes too long.
  const std::int64_t buffer = std::min(s_.values.send_buffer, s_.values.receive_buffer);
  p.bytes = std::min(p.bytes, static_cast<std::uint64_t>(buffer) * 100);
  p.bytes = std::min<std::uint64_t>(p.bytes, p.write_most * 400);
  if (chance(0.2))
    p.write_pause = long_or_short(duration::microseconds(1), duration::milliseconds(2));
  p.read_most = spread(1 << 9, 1 << 16);
  if (chance(0.2))
    p.read_pause = long_or_short(duration::microseconds(10), duration::milliseconds(20));
  if (chance(0.3)) p.end = static_cast<ending>(r_.below(5));
  p.stop_at = r_.below(p.bytes + 1);
  return p;
}

void drawing::draw_connections() {
  heavy_ = !is("many") && chance(0.15);
  const std::uint64_t count = is("many") ? between(800, 1100) : is("long") ? 2 : spread(1, 40);
  for (std::uint64_t n = 0; n < count; ++n) {
    connection_plan c;
    const duration last = is("many") ? s_.fault_span / 2 : s_.fault_span;
    c.at = chance(0.3) ? duration() : span(duration(), last);
    c.client = r_.below(s_.hosts);
    c.server = (c.client + 1 + r_.below(s_.hosts - 1)) % s_.hosts;
    c.traffic_class = chance(0.3) ? 1 : 0;
    for (side_plan& side : c.sides) side = draw_side();
    // Both would wait for the other's end.
    if (c.sides[0].end == ending::after_peer && c.sides[1].end == ending::after_peer)
      c.sides[0].end = ending::orderly;
    s_.connections.push_back(c);
  }
  std::ranges::stable_sort(s_.connections, {}, &connection_plan::at);
}

void drawing::draw_congestion() {
  constexpr std::array<const char*, 3> modes{"dctcp", "cubic", "rate"};
  for (std::size_t i = 0; i < s_.hosts; ++i) s_.congestion.emplace_back(one_of(modes));
}

void drawing::draw_copies() {
  if (!chance(0.5)) return;
  s_.copiers = between(1, 3);
  s_.copy_time = long_or_short(duration(100), duration::microseconds(200));
  settings& v = s_.values;
  v.dcopy_policy = chance(0.5) ? "compact" : "round_robin";
  v.dcopy_min = static_cast<std::int64_t>(spread(1, 65536));
  v.dcopy_tx_inflight_max = static_cast<std::int64_t>(spread(4096, 1 << 20));
  v.dcopy_rx_inflight_max = static_cast<std::int64_t>(spread(4096, 1 << 20));
}

void drawing::draw_lcores() {
  if (!chance(0.5)) return;
  for (std::size_t i = 0; i < s_.hosts; ++i) s_.io_lcores.push_back(between(1, 4));
  s_.device_queues = chance(0.5);
}

void drawing::draw_policy() {
  constexpr std::array<const char*, 3> policies{"round_robin", "source_port", "least_queued"};
  s_.values.channel_policy = one_of(policies);
  if (chance(0.2)) s_.values.remote_channels = "never";
}

void drawing::draw_classes() {
  s_.lanes = chance(0.5);
  s_.values.bulk_slice = chance(0.2) ? 0 : static_cast<std::int64_t>(spread(1000, 65536));
}

void drawing::draw_lending() {
  constexpr std::array<double, 4> shares{0, 0.2, 0.8, 1};
  for (std::size_t i = 0; i < s_.hosts; ++i) s_.chains.push_back(chance(0.7));
  for (connection_plan& c : s_.connections)
    for (side_plan& side : c.sides) side.lent = one_of(shares);
}

scenario drawing::draw() {
  draw_hosts();
  draw_settings();
  draw_ways();
  draw_targets();
  draw_faults();
  draw_connections();
  draw_congestion();
  draw_copies();
  draw_classes();
  draw_lcores();
  draw_policy();
  draw_lending();
  return std::move(s_);
}

}  // namespace

std::string_view name_of(fault_kind kind) noexcept {
  constexpr std::array<std::string_view, fault_kinds> names{
      "cut",        "mtu",         "crash",    "leave", "pause", "hoard", "fail_allocation",
      "fail_often", "device_full", "stranger", "replay"};
  return names[static_cast<std::size_t>(kind)];
}

scenario draw_scenario(std::string_view profile, std::uint64_t seed) {
  return drawing(profile, seed).draw();
}

}  // namespace nd::sim
