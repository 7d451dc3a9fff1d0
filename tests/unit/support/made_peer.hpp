// A peer made by hand: it keeps the rules of the handshake, and after that those that a test likes.
#pragma once

#include <optional>
#include <vector>

#include "unit/support/host_pair.hpp"
#include "unit/support/made_packet.hpp"

namespace nd::test {

struct made_record {
  wire::record record;
  std::vector<std::byte> payload = {};  ///< of DATA and ACK_RANGES; others have their body
};

/// On the wire of a pair, speaking to host 0. Needs the wire's on_frame; several share it by
/// see().
class made_peer {
 public:
  made_peer(host_pair& p, std::uint32_t ip) : pair_(p), ip_(ip) {
    body_.epoch = std::uint64_t{1};
    body_.channel = std::uint32_t{77};
    body_.tag = std::uint32_t{0xbeef};
    body_.mtu = std::uint16_t{1500};
    body_.first_number = std::uint32_t{1000};
    number_ = 1000;
  }

  core::host_address address() const {
    return {.ip = ip_,
            .prefix = 24,
            .mac = mac(),
            .udp = pair_.values.encap == "udp",
            .ip_protocol = 19,
            .udp_port = 9019};
  }
  mac_address mac() const {
    return {2,
            8,
            static_cast<std::uint8_t>(ip_ >> 24),
            static_cast<std::uint8_t>(ip_ >> 16),
            static_cast<std::uint8_t>(ip_ >> 8),
            static_cast<std::uint8_t>(ip_)};
  }

  // The handshake, step by step.

  wire::handshake_body& body() { return body_; }
  void send_init() { send_handshake(wire::packet_kind::init); }
  void send_cookie_echo() { send_handshake(wire::packet_kind::cookie_echo); }
  bool has_cookie() const { return body_.cookie_time != 0; }
  bool is_open() const { return peer_.has_value(); }
  /// A channel more, as far as it gets within a few turns.
  void open(std::uint32_t channel = 77) {
    body_.channel = channel;
    body_.cookie_time = std::uint64_t{0};
    body_.cookie_mac = {};
    peer_.reset();
    send_init();
    run([this] { return has_cookie(); });
    if (!has_cookie()) return;
    send_cookie_echo();
    run([this] { return is_open(); });
  }

  // Packets of the open channel.

  /// As an honest one would have it; a test changes what it likes.
  wire::channel_header header(wire::packet_kind kind) {
    wire::channel_header h{};
    h.version = wire::nd_version;
    h.kind = kind;
    h.channel = peer_->channel;
    h.tag = peer_->tag;
    h.number = number_;
    h.floor = number_;
    h.ack = acknowledge;
    return h;
  }
  void send(wire::channel_header h, const std::vector<made_record>& records = {}) {
    if (h.kind == wire::packet_kind::data) ++number_;
    inject(made_packet(address(), 0, h, [&](wire::packet_writer& w) {
      for (const made_record& r : records) {
        wire::record record = r.record;
        std::span<const std::byte> bytes = std::as_bytes(std::span(record.body)).first(0);
        if (r.payload.empty()) {
          bytes = std::span<const std::byte>(record.body).first(record.length);
        } else {
          record.length = static_cast<std::uint16_t>(r.payload.size());
          bytes = r.payload;
        }
        w.append(record, bytes, wire::crc32c(wire::crc32c_start, bytes));
      }
    }));
  }
  void send(const std::vector<made_record>& records) {
    send(header(wire::packet_kind::data), records);
  }
  void inject(std::vector<std::byte> frame) {
    received_bytes_of_host += frame.size();
    pair_.net.inject(pair_.now, pair_.device(0).number(), std::move(frame));
  }
  static made_record sync(std::uint16_t from, std::uint16_t to, std::uint64_t connection,
                          std::uint64_t grant = 65536) {
    made_record r;
    r.record.type = wire::record_type::sync;
    r.record.source = from;
    r.record.dest = to;
    r.record.set_body(wire::sync_body{connection, grant, 0});
    return r;
  }
  static made_record data(std::uint16_t from, std::uint16_t to, std::uint32_t seq,
                          std::vector<std::byte> bytes, std::uint32_t grant = 65536) {
    made_record r;
    r.record.type = wire::record_type::data;
    r.record.source = from;
    r.record.dest = to;
    r.record.seq = seq;
    r.record.grant = grant;
    r.payload = std::move(bytes);
    return r;
  }
  static made_record small(wire::record_type type, std::uint16_t from, std::uint16_t to,
                           std::uint32_t grant) {
    made_record r;
    r.record.type = type;
    r.record.source = from;
    r.record.dest = to;
    r.record.grant = grant;
    return r;
  }

  /// A frame of the wire: takes it where it is for this peer.
  void see(made_frame& f) {
    if (wire::at<wire::ethernet_header>(static_cast<const void*>(f.bytes.data())).destination !=
            mac() ||
        f.is_arp())
      return;
    ++frames;
    const wire::channel_header h = f.header();
    last = h;
    if (h.kind == wire::packet_kind::init_ack || h.kind == wire::packet_kind::cookie_ack) {
      const auto body = wire::at<wire::handshake_body>(
          static_cast<const void*>(f.packet().data() + sizeof(wire::channel_header)));
      if (h.kind == wire::packet_kind::init_ack) {
        body_.cookie_time = body.cookie_time;
        body_.cookie_mac = body.cookie_mac;
      } else {
        peer_ = body;
        acknowledge = body.first_number;
      }
      return;
    }
    if (h.kind == wire::packet_kind::abort) ++aborts;
    if (h.kind == wire::packet_kind::data || h.kind == wire::packet_kind::probe) {
      highest = h.number;
      if (answers && is_open()) {
        acknowledge = h.number + 1;
        send(header(wire::packet_kind::ack));
      }
    }
    wire::record_reader reader(f.records());
    for (wire::record_view r{}; reader.next(r);) {
      if (r.type() == wire::record_type::reset) resets.push_back(*r.body<wire::reset_body>());
      if (r.type() == wire::record_type::sync_ack) ++sync_acks;
      if (r.type() == wire::record_type::data) {
        ++data_records;
        data_bytes += r.payload.size();
        last_port = r.header->source;
        data_end = r.header->seq + static_cast<std::uint32_t>(r.payload.size());
      }
    }
  }

  void run(const std::function<bool()>& done, duration most = duration::milliseconds(1)) {
    pair_.run_until(done, most);
  }

  std::uint32_t acknowledge = 0;  ///< of the packets to come
  bool answers = false;           ///< acknowledges what comes, at once
  std::uint64_t frames = 0;
  std::uint64_t received_bytes_of_host = 0;
  std::uint64_t aborts = 0;
  std::uint64_t sync_acks = 0;
  std::uint64_t data_records = 0;
  std::uint64_t data_bytes = 0;
  std::uint32_t data_end = 0;   ///< of the last DATA
  std::uint16_t last_port = 0;  ///< of its sender
  std::uint32_t highest = 0;    ///< number of the last numbered packet
  wire::channel_header last{};
  std::vector<wire::reset_body> resets;

 private:
  void send_handshake(wire::packet_kind kind) {
    wire::channel_header h{};
    h.version = wire::nd_version;
    h.kind = kind;
    wire::handshake_body body = body_;
    if (kind == wire::packet_kind::init) {
      body.cookie_time = std::uint64_t{0};
      body.cookie_mac = {};
    }
    inject(made_packet(address(), 0, h,
                       [&](wire::packet_writer& w) { w.append_body(wire::bytes_of(body)); }));
  }

  host_pair& pair_;
  std::uint32_t ip_;
  wire::handshake_body body_{};
  std::optional<wire::handshake_body> peer_;
  std::uint32_t number_;
};

}  // namespace nd::test
