// Two channels on a made wire and a made clock; what a host does for them, and no more.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/rng.hpp"
#include "channel/channel.hpp"
#include "unit/support/pool.hpp"
#include "wire/packet_format.hpp"

namespace nd::test {

/// One end: a channel, the records that were given to it, and what became of each.
class channel_end {
 public:
  channel_end(const core::channel_config& config, pool& mbufs)
      : config_(config), pool_(mbufs), channel_(std::make_unique<core::channel>(config, stats)) {}
  ~channel_end() {
    for (auto& [id, r] : outstanding_) free_segment(r);
    for (auto& r : waiting_) free_segment(r);
  }

  core::channel& channel() { return *channel_; }
  const core::channel_config& config() const { return config_; }
  counters stats;
  core::record_verdicts verdicts;
  bool alive = true;

  /// A record to be sent, again and again until it arrives. Of `length` bytes in a segment, or
  /// small where `length` is 0.
  void submit(std::size_t length = 0) {
    wire::record r;
    r.seq = submitted_++;
    r.type = wire::record_type::data;
    if (length > 0) {
      r.segment = pool_.segment(stream_bytes(r.seq, length));
      segment_of(r.segment).digest =
          wire::crc32c(wire::crc32c_start, {tx_payload(r.segment), length});
      r.length = static_cast<std::uint16_t>(length);
    } else {
      r.dest = no_segment;
      r.set_body(wire::fin_body{r.seq});
    }
    waiting_.push_back(r);
  }
  /// Moves records into the channel's queue, as far as it takes them.
  void push() {
    while (!waiting_.empty() && channel_->can_queue()) {
      const wire::record r = waiting_.front();
      waiting_.pop_front();
      REQUIRE(outstanding_.emplace(r.seq, r).second);
      channel_->queue(r);
    }
  }
  /// Each verdict must be about a record that is out there, and an acknowledged one must have been
  /// received.
  void take_verdicts(const channel_end& peer) {
    for (const wire::record& r : verdicts.acked) {
      REQUIRE(outstanding_.erase(r.seq) == 1);
      REQUIRE(peer.received_.contains(r.seq));
      free_segment(r);
      ++acked_;
    }
    for (wire::record r : verdicts.lost) {
      REQUIRE(outstanding_.erase(r.seq) == 1);
      r.retransmission = true;
      waiting_.push_back(r);
      ++lost_;
    }
    verdicts.clear();
  }
  void receive(const wire::record_view& r) {
    if (r.type() != wire::record_type::data) return;
    const std::uint64_t id = r.header->seq;
    if (r.header->dest == no_segment) {
      REQUIRE(r.body<wire::fin_body>()->final_offset == id);
    } else {
      REQUIRE(std::ranges::equal(r.payload, stream_bytes(id, r.payload.size())));
    }
    received_.insert(id);
  }

  /// Another channel in place of this one, with another tag and other numbers.
  void replace(const channel_end& peer) {
    channel_->kill(verdicts);
    take_verdicts(peer);
    config_.tag += 0x1000;
    config_.first_number += 100'000;
    channel_ = std::make_unique<core::channel>(config_, stats);
  }

  std::uint64_t submitted() const { return submitted_; }
  std::uint64_t acked() const { return acked_; }
  std::uint64_t lost() const { return lost_; }
  std::size_t received() const { return received_.size(); }
  std::size_t outstanding() const { return outstanding_.size(); }
  bool done() const { return acked_ == submitted_; }

  std::uint64_t turn = 0;

 private:
  static constexpr std::uint16_t no_segment = 99;
  static void free_segment(const wire::record& r) {
    if (r.segment != nullptr) rte_pktmbuf_free(r.segment);
  }
  core::channel_config config_;
  pool& pool_;
  std::unique_ptr<core::channel> channel_;
  std::uint64_t submitted_ = 0, acked_ = 0, lost_ = 0;
  std::deque<wire::record> waiting_;
  std::map<std::uint64_t, wire::record> outstanding_;
  std::set<std::uint64_t> received_;
};

/// What the wire does with a packet: the delays after which copies of it arrive; none is a loss.
using packet_fate = std::vector<duration>;

struct packet_on_wire {
  std::size_t from;     ///< 0 or 1
  std::uint64_t index;  ///< counts the packets of both directions
  wire::packet_kind kind;
  std::size_t bytes;     ///< of the IP packet
  std::uint32_t number;  ///< its low bits
};

class channel_pair {
 public:
  static constexpr duration one_way = duration::microseconds(20);

  explicit channel_pair(const core::channel_config& a = {}, const core::channel_config& b = {},
                        unsigned mbufs = 512)
      : mbufs_(mbufs, 9600),
        ends_{channel_end(with_defaults(a, 0), mbufs_), channel_end(with_defaults(b, 1), mbufs_)} {}

  /// Decides about each packet; by default all arrive after one_way.
  std::function<packet_fate(const packet_on_wire&)> fate = [](const packet_on_wire&) {
    return packet_fate{one_way};
  };
  /// Marks packets with CE on their way.
  std::function<bool(const packet_on_wire&)> mark = [](const packet_on_wire&) { return false; };
  /// The responder's cookies; a new key is a restart.
  core::cookie_jar jar{{1, 2, 3}};
  /// Whether a received data packet can be kept.
  std::function<bool(std::size_t)> has_memory = [](std::size_t) { return true; };
  /// What devices have sent stays with them until the next call.
  bool slow_devices = false;

  instant now() const { return now_; }
  pool& mbufs() { return mbufs_; }
  channel_end& a() { return ends_[0]; }
  channel_end& b() { return ends_[1]; }
  channel_end& end(std::size_t i) { return ends_[i]; }
  std::uint64_t packets() const { return packets_; }
  bool both_open() {
    return a().channel().state() == core::channel_state::open &&
           b().channel().state() == core::channel_state::open;
  }

  /// Turns until `done`, or no longer than `most`. False then.
  bool run(const std::function<bool()>& done, duration most = duration::seconds(10)) {
    const instant limit = now_ + most;
    // A deadline that has passed and stays would keep a loop from ever sleeping.
    std::uint64_t packets_before = packets_;
    for (unsigned busy = 0;;) {
      turn(0);
      turn(1);
      if (done()) return true;
      instant next = wire_.empty() ? instant::never() : wire_.begin()->first;
      for (channel_end& e : ends_)
        if (e.alive) next = earlier(next, e.channel().next_deadline());
      if (next > limit || now_ >= limit) {
        now_ = limit;
        return false;
      }
      busy = next <= now_ && packets_ == packets_before ? busy + 1 : 0;
      packets_before = packets_;
      REQUIRE(busy < 10'000);
      // A loop does not turn in no time.
      now_ = std::max(next, now_ + duration::microseconds(1));
    }
  }
  /// Opens the pair.
  void open() {
    a().channel().open(now_);
    REQUIRE(run([this] { return both_open(); }));
  }
  bool finish(duration most = duration::seconds(10)) {
    return run([this] { return a().done() && b().done(); }, most);
  }
  void wait(duration time) {
    run([] { return false; }, time);
  }
  /// Time passes, and nobody has a turn.
  void advance(duration time) { now_ = now_ + time; }
  /// Kills both, after which every record has its verdict.
  void kill() {
    for (std::size_t i = 0; i < 2; ++i) {
      ends_[i].channel().kill(ends_[i].verdicts);
      ends_[i].alive = false;
      ends_[i].take_verdicts(ends_[1 - i]);
      REQUIRE(ends_[i].outstanding() == 0);
      REQUIRE(ends_[i].channel().next_deadline().is_never());
    }
  }
  /// Everything that end `i` sends now is on the wire afterwards.
  void turn(std::size_t i) {
    channel_end& e = ends_[i];
    deliver(i);
    if (!e.alive) return;
    if (now_ >= e.channel().next_deadline()) {
      e.alive = e.channel().on_timer(now_, e.verdicts);
      e.take_verdicts(ends_[1 - i]);
      if (!e.alive) return;
    }
    devices_[i].clear();
    e.push();
    while (rte_mbuf* m = e.channel().next_packet(now_, mbufs_.get())) {
      transmit(i, m);
      e.push();
    }
    if (rte_mbuf* m = e.channel().next_ack(now_, mbufs_.get())) transmit(i, m);
  }

 private:
  struct arriving {
    std::size_t to;
    std::vector<std::byte> bytes;
    bool marked;
  };

  static core::channel_config with_defaults(core::channel_config c, std::size_t i) {
    c.id = static_cast<std::uint32_t>(11 + i);
    c.tag = static_cast<std::uint32_t>(0xabc001 + i);
    c.epoch = 1000 + i;
    const std::uint32_t mine = static_cast<std::uint32_t>(0x0a000001 + i);
    c.format = {mine, 0x0a000003 - mine + 0x0a000000, 19, true};
    return c;
  }

  void transmit(std::size_t from, rte_mbuf* m) {
    const auto bytes = mbuf_bytes(m);
    const auto& header = wire::at<wire::channel_header>(static_cast<const void*>(bytes.data()));
    const packet_on_wire p{from, packets_++, header.kind,
                           bytes.size() + ends_[from].config().ip_overhead, header.number};
    for (const duration delay : fate(p))
      wire_.emplace(now_ + delay, arriving{1 - from, {bytes.begin(), bytes.end()}, mark(p)});
    devices_[from].emplace_back(m);
    if (!slow_devices) devices_[from].clear();
  }

  void deliver(std::size_t to) {
    for (auto it = wire_.begin(); it != wire_.end() && it->first <= now_;) {
      if (it->second.to != to) {
        ++it;
        continue;
      }
      arriving packet = std::move(it->second);
      it = wire_.erase(it);
      if (ends_[to].alive) arrive(to, packet);
    }
  }

  void arrive(std::size_t to, arriving& packet) {
    channel_end& e = ends_[to];
    const auto header =
        wire::at<wire::channel_header>(static_cast<const void*>(packet.bytes.data()));
    const bool handshake = header.kind <= wire::packet_kind::cookie_ack;
    wire::packet_format format = e.channel().format().reversed();
    if (handshake) format.crc = true;
    std::span<std::byte> view(packet.bytes);
    REQUIRE(wire::verify_and_trim(view, format));
    const std::span<std::byte> rest = view.subspan(sizeof header);
    if (handshake) return on_handshake(to, header, rest);
    REQUIRE(header.channel == e.channel().id());
    if (e.channel().had_tag(header.tag)) return;
    REQUIRE(header.tag == e.channel().tag());
    if (e.channel().state() != core::channel_state::open) return;
    e.channel().heard(now_);

    std::vector<wire::ack_range> ranges;
    if (wire::has_records(header.kind)) {
      wire::record_reader reader(rest);
      for (wire::record_view r{}; reader.next(r);) {
        if (r.type() != wire::record_type::ack_ranges) continue;
        for (std::size_t at = 0; at < r.payload.size(); at += sizeof(wire::ack_range))
          ranges.push_back(wire::at<wire::ack_range>(static_cast<const void*>(&r.payload[at])));
      }
      REQUIRE(reader.ok());
    }
    REQUIRE(e.channel().on_acknowledgement(now_, header, ranges, e.verdicts));
    e.take_verdicts(ends_[1 - to]);
    if (header.kind != wire::packet_kind::data && header.kind != wire::packet_kind::probe) return;
    if (e.channel().classify(header) != core::received_numbers::verdict::fresh) return;
    if (header.kind == wire::packet_kind::data) {
      if (!has_memory(to)) return;
      wire::record_reader reader(rest);
      for (wire::record_view r{}; reader.next(r);) e.receive(r);
    }
    e.channel().on_accepted(now_, header, packet.bytes.size(), packet.marked);
  }

  /// End 1 is the responder, which answers INIT without keeping anything.
  void on_handshake(std::size_t to, const wire::channel_header& header, std::span<std::byte> rest) {
    channel_end& e = ends_[to];
    REQUIRE(rest.size() == sizeof(wire::handshake_body));
    const auto body = wire::at<wire::handshake_body>(static_cast<const void*>(rest.data()));
    const std::uint32_t peer = e.config().format.destination;
    switch (header.kind) {
      case wire::packet_kind::init: {
        wire::handshake_body answer{};
        answer.epoch = e.config().epoch;
        answer.mtu = e.config().mtu;
        jar.bake(now_, peer, body, answer);
        wire::channel_header h{};
        h.version = wire::nd_version;
        h.kind = wire::packet_kind::init_ack;
        h.channel = body.channel;
        h.tag = body.tag;
        wire::packet_format format = e.config().format;
        rte_mbuf* m = allocate_segment(mbufs_.get());
        wire::packet_writer writer(rte_pktmbuf_mtod(m, std::byte*), h, format);
        writer.append_body(wire::bytes_of(answer));
        rte_pktmbuf_append(m, static_cast<std::uint16_t>(writer.finish()));
        return transmit(to, m);
      }
      case wire::packet_kind::cookie_echo:
        if (!jar.accepts(now_, peer, body)) return;
        if (e.channel().peer_id() == body.channel && e.channel().peer_tag() != body.tag) {
          const instant baked(static_cast<std::int64_t>(std::uint64_t{body.cookie_time}));
          if (baked < e.channel().opened_at()) return;
          e.replace(ends_[1 - to]);
        }
        e.channel().accept(now_, body);
        return;
      default:
        if (e.channel().had_tag(header.tag)) return;
        REQUIRE(header.tag == e.channel().tag());
        static_cast<void>(e.channel().on_handshake(now_, header.kind, body));
    }
  }

  pool mbufs_;
  std::array<channel_end, 2> ends_;
  std::array<std::vector<mbuf_ptr>, 2> devices_;
  std::multimap<instant, arriving> wire_;
  instant now_{1'000'000'000};
  std::uint64_t packets_ = 0;
};

}  // namespace nd::test
