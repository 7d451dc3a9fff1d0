#include "script/support/script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>

namespace nd::script {
namespace {

constexpr duration turn = duration::microseconds(1);

/// Never destroyed: the EAL is gone by then.
test::host_pools* shared_pools(std::uint16_t mtu) {
  static auto& made = *new std::map<std::uint16_t, std::unique_ptr<test::host_pools>>;
  auto& pools = made[mtu];
  if (pools == nullptr) pools = std::make_unique<test::host_pools>(7200, 1024, mtu);
  return pools.get();
}

port_capabilities device_of(std::uint16_t mtu) {
  port_capabilities c;
  c.mac = test::made_mac(0);
  c.mtu = mtu;
  return c;
}

bool is_numbered(packet_kind k) {
  return k == packet_kind::data || k == packet_kind::probe;
}

}  // namespace

script::script(script_options options)
    : options_(std::move(options)),
      pools_(shared_pools(options_.mtu)),
      in_use_before_(pools_->in_use()),
      port_(device_of(options_.mtu), pools_->rx()) {
  values_.ip = "10.0.0.1/24";
  values_.sockets = 1024;
  values_.arp_probes = 0;
  values_.encap = options_.udp ? "udp" : "ip";
  // The whole of it is granted at once. Most scripts tell of other things than of grants and pings.
  values_.receive_buffer = 4096;
  values_.keepalive = duration::seconds(60);
  if (options_.adjust) options_.adjust(values_);
  core::host_config config = test::made_config(0, values_, *pools_);
  config.name = "script";
  config.neighbors = {{test::made_ip(1), test::made_mac(1)}};
  config.epoch = host_epoch;
  config.cookie_key.fill(42);
  config.seed = 7;
  config.first_number = 1000;
  if (options_.configure) options_.configure(config);
  host_ = std::make_unique<core::host>(config, port_, now_);
  // A stranger may show a cookie too.
  checks_ =
      std::make_unique<sim::host_checks>(0, *host_, values_, options_.mtu, 2, sim::peers_that::lie);
  for (std::uint32_t i = 0; i < 4; ++i) {
    channel_end e;
    e.id = 7 + i;
    e.tag = 0xabc0 + i;
    e.host_first = *config.first_number;
    e.checksums = values_.checksum != "none";
    ends_.push_back(e);
  }
}

// The applications' sockets have gone before. With a peer that says no more, everything must be
// over some time.
script::~script() {
  if (!frames_.empty() && !failed_) unexpected("the end of the script", 0);
  frames_.clear();
  for (auto& listener : listeners_) listener->close();
  const instant limit = now_ + values_.peer_timeout * 2 + values_.connect_timeout + 20_s;
  while ((host_->holdings().sockets > 0 || !host_->mailbox().empty()) && now_ < limit) {
    run_until_frame(limit);
    frames_.clear();
  }
  const core::host_holdings left = host_->holdings();
  CHECK(left.sockets == 0);
  CHECK(left.credit == 0);
  CHECK(left.out_of_order == 0);
  CHECK_NOTHROW(checks_->counters_add_up());
  checks_.reset();
  host_.reset();
  CHECK(pools_->in_use() == in_use_before_);
}

// --- The peer -----------------------------------------------------------------------------------

way script::from_peer() const {
  const auto address = [&](std::size_t i) {
    return core::host_address{.ip = test::made_ip(i),
                              .prefix = 24,
                              .mac = test::made_mac(i),
                              .udp = options_.udp,
                              .ip_protocol = static_cast<std::uint8_t>(values_.ip_protocol),
                              .udp_port = static_cast<std::uint16_t>(values_.udp_port)};
  };
  return {address(1), address(0)};
}

way script::from_host() const {
  const way w = from_peer();
  return {w.to, w.from};
}

record script::complete(record r) const {
  if (r.type == record_type::ack_ranges) return r;
  if (!r.source) r.source = current.peer_port;
  if (!r.dest) r.dest = current.host_port;
  if (!r.grant) r.grant = static_cast<std::uint32_t>(grant);
  if (!r.first_grant) r.first_grant = grant;
  if (!r.connection) r.connection = current.connection;
  return r;
}

/// What the peer sends, with all that goes without saying.
packet script::complete(packet p) const {
  const channel_end& e = ends_[p.on];
  const bool to_nobody = p.kind == packet_kind::init || p.kind == packet_kind::cookie_echo;
  if (!p.channel) p.channel = to_nobody ? 0 : e.host_id;
  if (!p.tag) p.tag = to_nobody ? 0 : e.host_tag;
  if (wire::is_handshake(p.kind)) {
    const bool answer = p.kind == packet_kind::init_ack;
    if (!p.epoch) p.epoch = epoch;
    if (!p.mtu) p.mtu = mtu;
    if (!p.traffic_class) p.traffic_class = e.traffic_class;
    if (!p.id) p.id = answer ? 0 : e.id;
    if (!p.own_tag) p.own_tag = answer ? 0 : e.tag;
    if (!p.first_number) p.first_number = answer ? 0 : e.first;
    if (!p.flags) p.flags = !answer && !e.checksums ? wire::handshake_no_checksum : 0;
    if (!p.its_cookie && p.kind == packet_kind::cookie_echo) p.its_cookie = e.its_cookie;
    if (!p.its_cookie && answer) {
      p.its_cookie = cookie{.time = 12'345, .mac = {}};
      p.its_cookie->mac.fill(std::byte{0x5a});
    }
    return p;
  }
  if (p.kind == packet_kind::abort) return p;
  if (!p.number) p.number = e.next;
  if (!p.floor) p.floor = e.floor;
  if (!p.ack) p.ack = e.held.value_or(e.seen);
  if (!p.ce_bytes) p.ce_bytes = e.ce_bytes;
  for (record& r : p.records) r = complete(r);
  return p;
}

std::vector<std::byte> script::encoded(const packet& p) const {
  const packet whole = complete(p);
  const channel_end& e = ends_[p.on];
  return encode(whole, from_peer(), {.mine = e.first, .theirs = e.host_first}, e.checksums);
}

void script::send(const packet& p, int line) {
  const packet whole = complete(p);
  channel_end& e = ends_[p.on];
  if (p.kind == packet_kind::init_ack) e.its_cookie = *whole.its_cookie;
  note(now_, "peer -->", fmt::format("{}   (line {})", describe(whole), line));
  const std::vector<std::byte> frame = encoded(p);
  if (is_numbered(p.kind)) e.next = std::max(e.next, *whole.number + 1);
  send_raw(frame);
}

void script::send_raw(std::vector<std::byte> frame) {
  port_.arrive(std::move(frame));
  poll();
}

void script::send_in_vain(const packet& p, counter reason, int line) {
  const std::int64_t next = ends_[p.on].next;
  const std::uint64_t before = value(reason);
  send(p, line);
  ends_[p.on].next = next;
  if (value(reason) != before + 1) fail("it was not dropped, or not for this reason", line);
  SUCCEED();
}

/// What the host should send, with all that goes without saying.
packet script::expectation(packet p) const {
  const channel_end& e = ends_[p.on];
  const bool to_nobody = p.kind == packet_kind::init || p.kind == packet_kind::cookie_echo;
  const bool stranger = p.kind == packet_kind::init_ack || p.kind == packet_kind::abort;
  if (!p.version) p.version = wire::nd_version;
  if (!p.channel) p.channel = to_nobody ? 0 : e.id;
  if (!p.tag) p.tag = to_nobody ? 0 : e.tag;
  if (!p.dscp_ecn) {
    const bool latency = e.traffic_class == 1 && !stranger;
    p.dscp_ecn = static_cast<std::uint8_t>((latency ? wire::dscp_latency : wire::dscp_throughput) |
                                           wire::ecn_ect0);
  }
  if (wire::is_handshake(p.kind)) {
    if (!p.epoch) p.epoch = host_epoch;
    if (!p.mtu) p.mtu = options_.mtu;
    if (!p.traffic_class) p.traffic_class = e.traffic_class;
    if (!p.its_cookie && p.kind == packet_kind::cookie_echo) p.its_cookie = e.its_cookie;
    return p;
  }
  if (is_numbered(p.kind) && !p.number) p.number = e.seen;
  if ((p.kind == packet_kind::ack || p.kind == packet_kind::close) && !p.ack) p.ack = e.next;
  for (record& r : p.records) {
    if (r.type == record_type::ack_ranges) continue;
    if (!r.source && r.type != record_type::sync) r.source = current.host_port;
    if (!r.dest) r.dest = current.peer_port;
    const bool named = r.type == record_type::sync_ack || r.type == record_type::reset ||
                       r.type == record_type::notification;
    if (!r.connection && named) r.connection = current.connection;
  }
  return p;
}

packet script::expect(const packet& p, int line) {
  return expect_within(at_once, p, line);
}

packet script::expect_within(duration limit, const packet& p, int line) {
  run_until_frame(now_ + limit);
  return take(p, instant(0), line);
}

packet script::expect_after(duration wait, const packet& p, int line) {
  const instant due = now_ + wait;
  run_until_frame(due + slack);
  return take(p, due, line);
}

void script::expect_nothing(duration span, int line) {
  const instant until = now_ + span;
  if (run_until_frame(until)) unexpected(fmt::format("silence for {} ns", span.ns()), line);
  SUCCEED();
}

std::vector<packet> script::ignore_for(duration span) {
  std::vector<packet> all;
  const instant until = now_ + span;
  while (run_until_frame(until)) {
    const auto got = understood(frames_.front().bytes);
    note(frames_.front().when, "host <--",
         (got ? describe(*got) : "what is no ND packet") + "   (ignored)");
    if (got) all.push_back(*got);
    frames_.pop_front();
  }
  return all;
}

// --- Expectations -------------------------------------------------------------------------------

void script::poll() {
  checks_->before_turn();
  const std::size_t pushed = host_->push(now_);
  checks_->after_push();
  const std::size_t served = pushed + host_->pull(now_);
  // Turns are so short that many in a row may find nothing to do (the simulator has that check).
  checks_->after_turn(now_, served, true);
  for (auto& bytes : port_.take_sent()) frames_.push_back({now_, std::move(bytes)});
}

bool script::run_until_frame(instant limit) {
  while (frames_.empty()) {
    poll();
    if (!frames_.empty()) break;
    if (now_ >= limit) return false;
    now_ = std::min(std::max(host_->next_deadline(), now_ + turn), limit);
  }
  return true;
}

/// The packet in `frame`, numbers counted from those of the channel that it names.
std::optional<packet> script::understood(const std::vector<std::byte>& frame) const {
  for (const bool checksums : {true, false}) {
    auto p = decode(frame, from_host(), checksums);
    if (!p) continue;
    const auto end = std::ranges::find_if(
        ends_, [&](const channel_end& e) { return e.id == *p->channel && e.tag == *p->tag; });
    if (end == ends_.end()) return p;
    if (end->checksums != checksums && !wire::is_handshake(p->kind)) continue;
    rebase(*p, {.mine = end->host_first, .theirs = end->first});
    return p;
  }
  return std::nullopt;
}

packet script::take(const packet& expected, instant earliest, int line) {
  const packet want = expectation(expected);
  if (frames_.empty()) {
    fail("expected: " + describe(want) + "\ngot:      nothing", line);
    return want;
  }
  const sent_frame frame = frames_.front();
  const auto got = understood(frame.bytes);
  if (!got) {
    fail("expected: " + describe(want) + "\ngot:      no ND packet, or a wrong checksum", line);
    return want;
  }
  frames_.pop_front();
  std::vector<std::string> wrong = differences(want, *got);
  if (frame.when < earliest)
    wrong.push_back(fmt::format("it left {} ns too early", (earliest - frame.when).ns()));
  if (!wrong.empty()) {
    std::string what = "expected: " + describe(want) + "\ngot:      " + describe(*got) +
                       "\nat:       " + time_of(frame.when);
    for (const std::string& one : wrong) what += "\n  " + one;
    fail(what, line);
  }
  note(frame.when, "host <--", fmt::format("{}   (line {})", describe(*got), line));
  learn(*got, expected.on);
  SUCCEED();
  return *got;
}

void script::learn(const packet& p, std::size_t channel) {
  channel_end& e = ends_[channel];
  if (p.kind == packet_kind::init || p.kind == packet_kind::cookie_ack) {
    e.host_id = p.id.value_or(0);
    e.host_tag = p.own_tag.value_or(0);
    e.host_first = p.first_number.value_or(0);
  }
  if (p.kind == packet_kind::init_ack) e.its_cookie = p.its_cookie.value_or(cookie{});
  if (wire::is_handshake(p.kind) || p.kind == packet_kind::abort) return;
  e.floor = std::max(e.floor, *p.ack);
  if (is_numbered(p.kind)) e.seen = std::max(e.seen, *p.number + 1);
  for (const record& r : p.records) {
    if (r.type == record_type::sync) {
      current = {*r.dest, *r.source, r.connection.value_or(0)};
    }
    if (r.type != record_type::ack_ranges && r.type != record_type::reset) host_grant = *r.grant;
  }
}

std::string script::time_of(instant t) const {
  return fmt::format("{:>12.3f} us", static_cast<double>((t - start_).ns()) / 1000);
}

void script::note(instant when, const char* who, const std::string& what) {
  ladder_.push_back(fmt::format("{}  {} {}", time_of(when), who, what));
}

void script::unexpected(const std::string& instead_of, int line) {
  const auto got = understood(frames_.front().bytes);
  fail("expected: " + instead_of +
           "\ngot:      " + (got ? describe(*got) : "no ND packet, or a wrong checksum") +
           "\nat:       " + time_of(frames_.front().when),
       line);
}

void script::fail(const std::string& what, int line) {
  std::string report = fmt::format("line {}\n", line);
  constexpr std::size_t shown = 40;
  if (ladder_.size() > shown) report += fmt::format("({} before)\n", ladder_.size() - shown);
  for (std::size_t i = ladder_.size() - std::min(ladder_.size(), shown); i < ladder_.size(); ++i)
    report += ladder_[i] + "\n";
  report += what;
  if (std::exchange(failed_, true)) return;  // what follows from it says nothing
  if (options_.on_failure) return options_.on_failure(report);
  if (line == 0) {
    FAIL_CHECK(report);  // in a destructor
  } else {
    FAIL(report);
  }
}

}  // namespace nd::script
