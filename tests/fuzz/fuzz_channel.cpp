// fuzz-channel: one channel, whose peer says what the input likes, between sends and time.
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "fuzz/input.hpp"
#include "fuzz/pools.hpp"
#include "fuzz/sealing.hpp"
#include "wire/packet_format.hpp"

namespace nd::fuzz {
namespace {

constexpr std::uint32_t our_ip = 0x0a000001, peer_ip = 0x0a000002;
constexpr std::uint16_t largest_mtu = 4000;
constexpr unsigned most_steps = 300;

test::host_pools& pools() {
  static test::host_pools made(512, 512, largest_mtu);
  return made;
}

class channel_run {
 public:
  explicit channel_run(input& in)
      : in_(in),
        config_(make_config(in)),
        channel_(config_, stats_),
        in_use_before_(pools().in_use()) {
    peer_number_ = in_.u32();
    last_sent_ = config_.first_number;
    --last_sent_;
  }

  void play() {
    begin();
    for (unsigned n = 0; n < most_steps && !in_.empty() && alive_; ++n) {
      step();
      check();
    }
    finish();
  }

 private:
  static core::channel_config make_config(input& in) {
    core::channel_config c;
    const std::uint8_t flags = in.u8();
    c.id = 1;
    c.tag = 0xabc001;
    c.epoch = 1000;
    c.first_number = in.u32();
    c.mtu = (flags & 1) != 0 ? largest_mtu : 1500;
    c.allow_no_checksum = (flags & 2) != 0;
    c.format = {our_ip, peer_ip, 19, (flags & 4) == 0};
    c.ip_overhead = (flags & 4) != 0 ? 28 : 20;
    c.traffic_class = (flags & 8) != 0 ? 1 : 0;
    if ((flags & 64) != 0) c.skip_seed = flags;
    if ((flags & 16) != 0) c.ack_hold = duration();
    if ((flags & 32) != 0) c.initial_window = 2;
    return c;
  }

  // An opening that ends in state open, or is left as it is.
  void begin() {
    const std::uint8_t how = in_.u8();
    wire::handshake_body body{};
    body.epoch = std::uint64_t{7};
    body.channel = std::uint32_t{9};
    body.tag = std::uint32_t{0xdef};
    // What cookie_echo with less is, the host drops.
    body.mtu = std::max<std::uint16_t>(in_.u16(), core::path_mtu::least);
    body.flags = in_.u8();
    body.first_number = peer_number_;
    if ((how & 1) == 0) {
      channel_.accept(now_, body);
    } else {
      channel_.open(now_);
      if ((how & 2) == 0) {
        channel_.on_handshake(now_, wire::packet_kind::init_ack, body);
        channel_.on_handshake(now_, wire::packet_kind::cookie_ack, body);
      }
    }
    send(64);
  }

  void step() {
    switch (in_.below(12)) {
      case 0: return queue_segments(in_.below(16) + 1);
      case 1: return queue_small(in_.below(40) + 1);
      case 2: return send(in_.below(64) + 1);
      case 3: return advance(std::int64_t{in_.u16()} << in_.below(20));
      case 4: return made_packet();
      case 5: return raw_packet();
      case 6: return handshake();
      case 7: device_.clear(); return;
      case 8:
        channel_.set_keepalive(in_.flag());
        channel_.set_sharing(in_.below(8));
        return;
      case 9: return take(channel_.close_packet(now_, pools().packets()));
      case 10: return honest_acknowledgement();
      default: return shortage();
    }
  }

  // --- What an application and a host do -------------------------------------------------------

  void queue_segments(unsigned n) {
    for (; n > 0 && channel_.can_queue(); --n) {
      rte_mbuf* m = allocate_segment(pools().tx());
      if (m == nullptr) return;
      wire::record r;
      r.length = static_cast<std::uint16_t>(1 + in_.u16() % channel_.max_payload());
      const std::span<std::byte> payload{tx_payload(m), r.length};
      std::memset(payload.data(), in_.u8(), payload.size());
      segment_of(m).length = r.length;
      segment_of(m).digest = wire::crc32c(wire::crc32c_start, payload);
      r.segment = m;
      queue(r);
    }
  }
  void queue_small(unsigned n) {
    for (; n > 0 && channel_.can_queue(); --n) {
      wire::record r;
      r.type = wire::record_type::fin;
      r.set_body(wire::fin_body{std::uint64_t{n}});
      queue(r);
    }
  }
  void queue(wire::record& r) {
    r.seq = submitted_++;
    outstanding_.emplace(r.seq, entry{r.segment, false});
    channel_.queue(r);
  }

  void send(unsigned most) {
    const bool keep = in_.flag();  // the device still has what it sent
    for (unsigned n = 0; n < most; ++n) {
      const std::uint64_t in_flight = channel_.bytes_in_flight();
      const std::uint64_t window = channel_.congestion().window();
      const std::size_t limit = std::size_t{channel_.mtu().limit()} - config_.ip_overhead;
      rte_mbuf* m = channel_.next_packet(now_, pools().packets());
      if (m == nullptr) break;
      expect(m->data_len <= std::max<std::size_t>(limit, 128), "a packet exceeds the path's MTU");
      const auto kind = wire::at<wire::channel_header>(rte_pktmbuf_mtod(m, const void*)).kind;
      // A ping is smaller than any record that is queued here: a header, and a trailer or padding.
      constexpr std::size_t ping = sizeof(wire::channel_header) + sizeof(wire::record_header);
      if (kind == wire::packet_kind::data && m->data_len > ping)
        expect(in_flight < window, "data was sent into a full window");
      take(m, keep);
      if (n == 63) return;
    }
    take(channel_.next_ack(now_, pools().packets()), keep);
    if (!keep && !short_ && channel_.state() == core::channel_state::open && most == 64 &&
        channel_.queued() > 0)
      expect(channel_.held_back() || channel_.bytes_in_flight() > 0, "records wait for nothing");
  }

  /// What the channel sends is well formed, and its numbers go up by one, but where one is left
  /// out. `header.floor` tells the peer which are settled.
  void take(rte_mbuf* m, bool keep = false) {
    if (m == nullptr) return;
    mbuf_ptr owned(m);
    const auto bytes = mbuf_bytes(m);
    expect(bytes.size() >= sizeof(wire::channel_header), "a packet without a header");
    const auto header = wire::at<wire::channel_header>(static_cast<const void*>(bytes.data()));
    wire::packet_format format = channel_.format();
    if (wire::is_handshake(header.kind)) format = config_.format;
    std::span<std::byte> rest = bytes;
    expect(wire::verify_and_trim(rest, format), "a packet with a wrong checksum");
    if (header.kind == wire::packet_kind::data || header.kind == wire::packet_kind::probe) {
      if (header.number == last_sent_ + 2 && config_.skip_seed) left_out_ = ++last_sent_;
      expect(header.number == ++last_sent_, "a packet's number is not the next one");
      sent_bytes_ += bytes.size();
    }
    const bool settled = left_out_ && seq32(*left_out_).is_before(seq32(header.floor));
    expect(settled || !must_be_settled_, "a lie was believed");
    must_be_settled_ = false;
    if (settled) left_out_.reset();
    if (wire::has_records(header.kind)) {
      wire::record_reader reader(rest.subspan(sizeof header));
      for (wire::record_view r{}; reader.next(r);) {
        if (r.type() == wire::record_type::ack_ranges) continue;
        const auto it = outstanding_.find(r.header->seq);
        expect(it != outstanding_.end(), "a record was sent that is not on its way");
        expect(!std::exchange(it->second.sent, true), "a record was sent twice");
      }
      expect(reader.ok(), "a packet that cannot be walked");
    }
    if (keep) device_.push_back(std::move(owned));
  }

  void take_verdicts() {
    const auto settle = [this](const wire::record& r, bool acked) {
      if (planted("verdict") && r.seq % 4 == 3) return;
      const auto it = outstanding_.find(r.seq);
      expect(it != outstanding_.end(), "a record has two verdicts");
      expect(!acked || it->second.sent, "a record was acknowledged that was not sent");
      rte_pktmbuf_free(it->second.segment);
      outstanding_.erase(it);
    };
    for (const wire::record& r : verdicts_.acked) settle(r, true);
    for (const wire::record& r : verdicts_.lost) settle(r, false);
    verdicts_.clear();
  }

  void advance(std::int64_t ns) {
    now_ = now_ + duration(ns);
    if (now_ >= channel_.next_deadline()) on_timer();
  }
  void on_timer() {
    alive_ = channel_.on_timer(now_, verdicts_);
    take_verdicts();
  }

  void shortage() {
    short_.reset();
    if (in_.flag()) short_.emplace(pools().packets(), in_.below(4));
  }

  // --- What the peer does ----------------------------------------------------------------------

  /// Numbers around the right ones, or any.
  std::uint32_t around(std::uint32_t right) {
    const std::uint8_t how = in_.u8();
    if (how == 255) return in_.u32();
    if (how == 254) return right + in_.u16();
    if (how == 253) return right - in_.u16();
    return right + how - 126;
  }

  void made_packet() {
    wire::channel_header header{};
    header.version = wire::nd_version;
    header.kind = static_cast<wire::packet_kind>(in_.below(16));
    header.channel = config_.id;
    header.tag = config_.tag;
    header.ack_delay = in_.u16();
    header.number = around(peer_number_);
    header.floor = around(peer_number_);
    header.ack = around(last_sent_ + 1);
    header.ce_bytes = in_.u32();
    std::vector<std::byte> packet(4096);
    wire::packet_writer writer(packet.data(), header, channel_.format().reversed());
    if (wire::has_records(header.kind)) {
      for (unsigned records = in_.below(4); records > 0; --records) {
        wire::record r;
        r.type = wire::record_type::ack_ranges;
        std::vector<wire::ack_range> ranges(in_.below(48));
        for (wire::ack_range& range : ranges) {
          range.first = around(last_sent_);
          range.last = around(last_sent_);
        }
        r.length = static_cast<std::uint16_t>(ranges.size() * sizeof(wire::ack_range));
        const auto payload = std::as_bytes(std::span(ranges));
        writer.append(r, payload, wire::crc32c(wire::crc32c_start, payload));
      }
    } else {
      writer.append_body(in_.bytes(in_.below(64)));
    }
    packet.resize(writer.finish());
    arrive(packet);
  }

  /// Bytes as they are, with the checksum that they should have.
  void raw_packet() {
    const auto bytes = in_.bytes(in_.u16() % 2048);
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    if (packet.size() < sizeof(wire::channel_header)) return;
    const auto kind = wire::at<wire::channel_header>(static_cast<const void*>(packet.data())).kind;
    if (wire::is_handshake(kind)) return;
    seal_packet(packet, channel_.format().reversed());
    arrive(packet);
  }

  void honest_acknowledgement() {
    wire::channel_header header{};
    header.version = wire::nd_version;
    header.kind = wire::packet_kind::ack;
    header.number = header.floor = peer_number_;
    header.ack = left_out_.value_or(last_sent_ + 1);
    std::vector<std::byte> packet(128);
    wire::packet_writer writer(packet.data(), header, channel_.format().reversed());
    if (left_out_ && *left_out_ != last_sent_) {
      wire::record r;
      r.type = wire::record_type::ack_ranges;
      r.set_body(wire::ack_range{*left_out_ + 1, last_sent_});
      const auto body = std::span<const std::byte>(r.body).first(r.length);
      writer.append(r, body, wire::crc32c(wire::crc32c_start, body));
    }
    packet.resize(writer.finish());
    arrive(packet);
    expect(!channel_.peer_lied() || lied_, "an honest acknowledgement is taken for a lie");
  }

  /// Whether that says that a number arrived which was never sent and is not settled.
  bool claims_left_out(const wire::channel_header& header,
                       std::span<const wire::ack_range> ranges) const {
    if (!left_out_) return false;
    const seq32 skipped(*left_out_), ack(header.ack);
    bool claimed = skipped.is_before(ack) && header.ack - *left_out_ < 1U << 30;
    for (const wire::ack_range& r : ranges)
      claimed = claimed || !(skipped.is_before(seq32(r.first)) || seq32(r.last).is_before(skipped));
    return claimed;
  }

  // As host::on_channel_packet().
  void arrive(std::span<const std::byte> bytes) {
    if (!alive_ || channel_.state() != core::channel_state::open) return;
    const std::unique_ptr<std::byte[]> exact(new std::byte[bytes.size()]);
    std::ranges::copy(bytes, exact.get());
    std::span<std::byte> packet{exact.get(), bytes.size()};
    if (!wire::verify_and_trim(packet, channel_.format().reversed())) return;
    const auto header = wire::at<wire::channel_header>(static_cast<const void*>(packet.data()));
    channel_.heard(now_);
    std::vector<wire::ack_range> ranges;
    if (wire::has_records(header.kind)) {
      wire::record_reader reader(packet.subspan(sizeof header));
      for (wire::record_view r{}; reader.next(r);)
        if (r.type() == wire::record_type::ack_ranges)
          for (std::size_t at = 0; at + sizeof(wire::ack_range) <= r.payload.size() &&
                                   ranges.size() < wire::max_ack_ranges;
               at += sizeof(wire::ack_range))
            ranges.push_back(wire::at<wire::ack_range>(static_cast<const void*>(&r.payload[at])));
      if (!reader.ok()) return;
    }
    const std::uint64_t in_flight = channel_.bytes_in_flight();
    const bool believed = channel_.on_acknowledgement(now_, header, ranges, verdicts_);
    lied_ = lied_ || claims_left_out(header, ranges);
    expect(!channel_.peer_lied() || lied_, "who told the truth is taken for a liar");
    // Then nothing is in flight any more that it could be about.
    must_be_settled_ = must_be_settled_ || (believed && claims_left_out(header, ranges));
    if (!believed)
      expect(channel_.bytes_in_flight() == in_flight && verdicts_.acked.empty() &&
                 verdicts_.lost.empty(),
             "an acknowledgement that was refused changed something");
    take_verdicts();
    if (!believed) return;
    if (header.kind != wire::packet_kind::data && header.kind != wire::packet_kind::probe) return;
    if (channel_.classify(header) != core::received_numbers::verdict::fresh) return;
    if (in_.below(8) == 7) return;  // no memory for it
    channel_.on_accepted(now_, header, bytes.size(), in_.flag());
    peer_number_ = header.number + 1;
    expect(channel_.ack_pending(), "a packet was accepted and nothing is owed");
    expect(channel_.classify(header) == core::received_numbers::verdict::duplicate,
           "a packet is accepted twice");
  }

  void handshake() {
    wire::handshake_body body;
    const std::uint8_t what = in_.u8();
    in_.fill(body);
    if (body.mtu < core::path_mtu::least) body.mtu = core::path_mtu::least;
    const auto before = channel_.state();
    if ((what & 1) != 0)
      channel_.accept(now_, body);
    else
      channel_.on_handshake(
          now_, (what & 2) != 0 ? wire::packet_kind::init_ack : wire::packet_kind::cookie_ack,
          body);
    expect(before != core::channel_state::open || channel_.state() == before,
           "a handshake packet changed an open channel");
    if (before != core::channel_state::open && channel_.state() == core::channel_state::open)
      peer_number_ = body.first_number;
  }

  // --- What must hold --------------------------------------------------------------------------

  void check() {
    expect(channel_.queued() <= core::channel::queue_limit,
           "more records queued than there may be");
    expect(channel_.bytes_in_flight() <= sent_bytes_, "more in flight than was sent");
    const std::uint64_t window = channel_.congestion().window();
    expect(window >= 2U * (core::path_mtu::least - 28) && window < std::uint64_t{1} << 50,
           "the window is out of bounds");
    const core::path_mtu& mtu = channel_.mtu();
    if (channel_.state() == core::channel_state::open)
      expect(mtu.current() <= mtu.limit() && mtu.current() >= core::path_mtu::least,
             "the path's MTU is out of bounds");
    // A round trip may have seemed as long as this run; a probe timeout is a few of them.
    if (channel_.bytes_in_flight() > 0 && alive_)
      expect(channel_.next_deadline() <= now_ + (now_ - start_) * 8 + duration::seconds(2),
             "packets are in flight, and no timer will ask for them");
  }

  /// The peer is silent from here on: the channel notices, and every record has its verdict.
  void finish() {
    short_.reset();
    device_.clear();
    channel_.set_keepalive(true);
    const bool living = channel_.state() != core::channel_state::closed;
    unsigned idle = 0;
    for (unsigned n = 0; alive_ && living; ++n) {
      expect(n < 5000, "a silent peer is never given up");
      const std::uint32_t sent = last_sent_;
      const instant next = planted("deadline") ? instant::never() : channel_.next_deadline();
      expect(!next.is_never(), "a silent peer is not asked");
      idle = next <= now_ ? idle + 1 : 0;
      expect(idle < 50, "a deadline that has passed stays");
      now_ = std::max(now_, next);
      on_timer();
      if (alive_) send(64);
      if (last_sent_ != sent) idle = 0;
    }
    channel_.kill(verdicts_);
    take_verdicts();
    device_.clear();
    expect(outstanding_.empty(), "a record has no verdict");
    expect(channel_.bytes_in_flight() == 0, "a dead channel has bytes in flight");
    expect(channel_.next_deadline().is_never(), "a dead channel has a deadline");
    expect(pools().in_use() == in_use_before_, "mbufs are missing");
  }

  struct entry {
    rte_mbuf* segment;
    bool sent;
  };

  input& in_;
  core::channel_config config_;
  counters stats_;
  core::channel channel_;
  unsigned in_use_before_;
  const instant start_{1'234'567'891};
  instant now_ = start_;
  bool alive_ = true;
  core::record_verdicts verdicts_;
  std::map<std::uint64_t, entry> outstanding_;
  std::vector<mbuf_ptr> device_;
  std::optional<test::hoard> short_;
  std::uint64_t submitted_ = 0;
  std::uint64_t sent_bytes_ = 0;
  std::uint32_t last_sent_ = 0;            ///< number
  std::optional<std::uint32_t> left_out_;  ///< the number that the peer may not know to be settled
  bool lied_ = false;
  bool must_be_settled_ = false;   ///< the next header's floor must be above it
  std::uint32_t peer_number_ = 0;  ///< of the peer's next packet
};

}  // namespace
}  // namespace nd::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  nd::fuzz::start_eal("fuzz-channel");
  nd::fuzz::pools();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nd::fuzz::input in(data, size);
  nd::fuzz::channel_run(in).play();
  return 0;
}
