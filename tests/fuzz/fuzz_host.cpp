// fuzz-host: two whole hosts on a made wire. The input is what applications call, what happens to
// the frames between the hosts, and frames that nobody has sent.
#include <array>
#include <optional>
#include <vector>

#include "fuzz/hostile_wire.hpp"
#include "fuzz/input.hpp"
#include "fuzz/pools.hpp"
#include "sim/checks.hpp"
#include "unit/support/host_pair.hpp"

namespace nd::fuzz {
namespace {

constexpr unsigned most_steps = 200;
constexpr unsigned most_turns = 3000;
constexpr std::size_t most_sockets = 8;  ///< of a host's applications
constexpr std::uint16_t first_port = 80;

test::pair_options options_of(input& in) {
  const std::uint8_t flags = in.u8();
  test::pair_options o;
  o.seed = 1;
  o.udp = (flags & 1) != 0;
  o.mtu = (flags & 2) != 0 ? 4000 : 1500;
  o.rx_mbufs = o.tx_mbufs = 512;
  o.static_neighbors = (flags & 4) == 0;
  const bool checksums = (flags & 8) == 0, wrapping = (flags & 16) != 0;
  const int channels = (flags & 32) != 0 ? 3 : 1;
  const bool probes = (flags & 64) != 0, watched = (flags & 128) != 0;
  o.adjust = [=](settings& s) {
    s.sockets = 32;
    s.send_buffer = 32 << 10;
    s.receive_buffer = 32 << 10;
    s.backlog = 4;
    s.checksum = checksums ? "full" : "none";
    s.channels_throughput = s.channels_latency = channels;
    s.arp_probes = probes ? 3 : 0;
  };
  o.configure = [=](std::size_t, core::host_config& c) {
    c.gateway = probes ? test::made_ip(200) : 0;
    if (watched) c.watch_interval = duration::milliseconds(500);
    if (!wrapping) return;
    c.first_number = 0xfffffff0;
    c.first_offset = 0xffffff00;
  };
  return o;
}

class host_run {
 public:
  explicit host_run(input& in) : in_(in), pair_(options_of(in)), wire_(in, pair_) {
    for (std::size_t i = 0; i < 2; ++i) watch(i);
    for (std::size_t i = 0; i < 2; ++i) listen(i);
    begin(in.u8());
  }
  ~host_run() {
    // Applications' sockets must go before their hosts; after a violation as well.
    for (std::size_t i = 0; i < 2; ++i) leave(i);
  }

  void play() {
    for (unsigned n = 0; n < most_steps && !in_.empty() && turns_ < most_turns; ++n) step();
    finish();
  }

 private:
  void step() {
    const std::size_t who = in_.below(2);
    switch (in_.below(21)) {
      case 0:
      case 1: return run(in_.below(32) + 1);
      case 2: return pass(std::int64_t{in_.u16()} << in_.below(16));
      case 3:
      case 4: return connect(who);
      case 5:
      case 6: return write(who);
      case 7:
      case 8: return read(who);
      case 9: return end_socket(who);
      case 10: return listening_[who] ? listening_[who].reset() : listen(who);
      case 11: return wire_.rewrite_next(who);
      case 12: return wire_.drop_next(who);
      case 13: return wire_.replay(who);
      case 14: return wire_.raw_frame(who);
      case 15: return wire_.made_packet(who);
      case 16: return wire_.made_arp(who);
      case 17: return wire_.made_icmp(who);
      case 18: return shortage(who);
      case 19: pair_.device(who).up = in_.flag(); return;
      default: return restart(who);
    }
  }

  /// With connections that stand already, and bytes on their way.
  void begin(std::uint8_t how) {
    for (std::uint8_t c = 0; c < 2; ++c) {
      if ((how & (1 << c)) == 0) continue;
      count_link();
      sockets_[0].emplace_back(pair_.host(0), test::made_ip(1), first_port, c, pair_.values);
    }
    if (!sockets_[0].empty()) run((how >> 2) % 32);
    if ((how & 128) == 0) return;
    static constexpr std::array<std::byte, 8000> bytes{};
    for (auto& all : sockets_)
      for (test::app_socket& s : all) s.write(bytes);
  }

  // --- Applications ----------------------------------------------------------------------------

  /// Mailboxes are served before they are full.
  void count_link() {
    if (++links_ == 20) turn();
  }
  void listen(std::size_t who) {
    count_link();
    listening_[who].emplace(pair_.host(who), first_port, 4);
  }
  void connect(std::size_t who) {
    const std::uint8_t how = in_.u8();
    if (sockets_[who].size() >= most_sockets) return;
    const std::uint16_t port = (how & 2) != 0 ? in_.u16() : first_port;
    const std::uint32_t to = (how & 4) != 0 ? test::made_ip(in_.below(12)) : test::made_ip(1 - who);
    count_link();
    sockets_[who].emplace_back(pair_.host(who), to, port, static_cast<std::uint8_t>(how & 1),
                               pair_.values);
    run(how >> 4);
  }
  test::app_socket* pick(std::size_t who) {
    auto& all = sockets_[who];
    const unsigned n = in_.u8();
    return all.empty() ? nullptr : &all[n % all.size()];
  }
  void write(std::size_t who) {
    static constexpr std::array<std::byte, 16384> bytes{};
    test::app_socket* s = pick(who);
    const std::size_t size = in_.u16() % bytes.size();
    if (s != nullptr) s->write(std::span(bytes).first(size), in_.flag() ? 65535 : 1 + in_.u8());
  }
  void read(std::size_t who) {
    std::array<std::byte, 16384> buffer;
    test::app_socket* s = pick(who);
    const std::size_t size = in_.u16() % buffer.size();
    if (s != nullptr) s->read(std::span(buffer).first(size));
  }
  void end_socket(std::size_t who) {
    test::app_socket* s = pick(who);
    const unsigned how = in_.below(3);
    if (s == nullptr) return;
    if (how == 0) return s->shut_down_send();
    if (how == 1)
      s->close();
    else
      s->abort();
    sockets_[who].erase(sockets_[who].begin() + (s - sockets_[who].data()));
  }
  void accept(std::size_t who) {
    while (listening_[who] && sockets_[who].size() < most_sockets) {
      test::app_socket s = listening_[who]->accept();
      if (!s) return;
      sockets_[who].push_back(std::move(s));
    }
  }

  // --- Hosts and time --------------------------------------------------------------------------

  void watch(std::size_t who) {
    checks_[who].emplace(who, pair_.host(who), pair_.values, pair_.device(who).capabilities().mtu,
                         hostile_wire::addresses,
                         planted("rules") ? sim::peers_that::keep_rules : sim::peers_that::lie);
  }
  void run(unsigned turns) {
    for (; turns > 0 && turns_ < most_turns; --turns) {
      turn();
      const instant next = pair_.next_event();
      pass_to(std::max(pair_.now + test::host_pair::turn,
                       earlier(next, pair_.now + duration::milliseconds(20))));
    }
  }
  void turn() {
    ++turns_;
    links_ = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      if (!pair_.up(i)) continue;
      core::host& h = pair_.host(i);
      checks_[i]->before_turn();
      std::size_t served = h.push(pair_.now);
      checks_[i]->after_push();
      served += h.pull(pair_.now);
      checks_[i]->after_turn(pair_.now, served, is_short(i));
      accept(i);
      if (h.has_events()) static_cast<void>(h.take_events());
    }
  }
  void pass(std::int64_t ns) { pass_to(pair_.now + duration(ns)); }
  void pass_to(instant when) { pair_.now = when; }

  bool is_short(std::size_t who) {
    const test::host_pools& p = pair_.pools(who);
    for (const rte_mempool* pool : {p.rx(), p.tx(), p.packets()})
      if (rte_mempool_avail_count(pool) == 0) return true;
    return short_[who].has_value();
  }
  void shortage(std::size_t who) {
    const std::uint8_t how = in_.u8();
    short_[who].reset();
    test::host_pools& p = pair_.pools(who);
    const std::array<rte_mempool*, 4> pools{nullptr, p.rx(), p.tx(), p.packets()};
    if (rte_mempool* pool = pools[how & 3]) short_[who].emplace(pool, how >> 5);
  }

  /// Applications go, then the host.
  void leave(std::size_t who) {
    for (test::app_socket& s : sockets_[who]) s.close();
    sockets_[who].clear();
    listening_[who].reset();
  }
  void restart(std::size_t who) {
    const std::uint8_t how = in_.u8();
    leave(who);
    if ((how & 1) != 0) {
      for (unsigned n = 0; n < 8 && !pair_.host(who).drained(); ++n) run(2);
      pair_.host(who).say_goodbye(pair_.now);
      run(4);
    }
    stop(who);
    pair_.start(who);
    watch(who);
    listen(who);
  }
  void stop(std::size_t who) {
    // What the host says at its end still counts.
    for (unsigned n = 0; n < 100 && !pair_.host(who).mailbox().empty(); ++n) turn();
    checks_[who]->counters_add_up();
    checks_[who].reset();
    pair_.stop(who);
  }

  void finish() {
    for (auto& s : short_) s.reset();
    wire_.calm();
    for (std::size_t i = 0; i < 2; ++i) leave(i);
    turns_ = 0;
    run(50);
    if (planted("leak") && pair_.stats(0).rx_packets.value() > 0)
      static_cast<void>(rte_pktmbuf_alloc(pair_.pools(0).rx()));
    for (std::size_t i = 0; i < 2; ++i) stop(i);
    expect(pair_.mbufs_in_use() == 0, "mbufs are missing after both hosts have gone");
  }

  input& in_;
  test::host_pair pair_;
  hostile_wire wire_;
  unsigned turns_ = 0;
  unsigned links_ = 0;  ///< made since the last turn
  std::array<std::optional<sim::host_checks>, 2> checks_;
  std::array<std::vector<test::app_socket>, 2> sockets_;
  std::array<std::optional<test::app_listener>, 2> listening_;
  std::array<std::optional<test::hoard>, 2> short_;
};

}  // namespace
}  // namespace nd::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  nd::fuzz::start_eal("fuzz-host");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    nd::fuzz::input in(data, size);
    nd::fuzz::host_run(in).play();
  } catch (const nd::sim::violation& v) {
    nd::fuzz::fail(v.what());
  }
  return 0;
}
