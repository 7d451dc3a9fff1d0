#include "script/support/packet.hpp"

#include <algorithm>
#include <cstring>

#include "fuzz/sealing.hpp"
#include "wire/packet_format.hpp"

namespace nd::script {
namespace {

constexpr std::size_t ip_at = sizeof(wire::ethernet_header);
constexpr std::size_t payload_at = ip_at + sizeof(wire::ipv4_header);

void put_raw(std::vector<std::byte>& out, const void* from, std::size_t length) {
  if (length == 0) return;
  const std::size_t at = out.size();
  out.resize(at + length);
  std::memcpy(&out[at], from, length);
}

template <class T>
void put(std::vector<std::byte>& out, const T& value) {
  put_raw(out, &value, sizeof value);
}

std::uint32_t raw_number(std::uint64_t base, std::optional<std::int64_t> count) {
  return static_cast<std::uint32_t>(base + static_cast<std::uint64_t>(count.value_or(0)));
}

std::int64_t count_from(std::uint64_t base, std::int64_t raw) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(raw) -
                                   static_cast<std::uint32_t>(base));
}

std::vector<std::byte> body_of(const record& r, const number_base& base) {
  std::vector<std::byte> out;
  switch (r.type) {
    case record_type::sync:
      put(out, wire::sync_body{r.connection.value_or(0), r.first_grant.value_or(0),
                               r.traffic_class.value_or(0)});
      break;
    case record_type::sync_ack:
      put(out, wire::sync_ack_body{r.connection.value_or(0), r.first_grant.value_or(0)});
      break;
    case record_type::notification:
      put(out, wire::notification_body{r.connection.value_or(0), r.wanted.value_or(0)});
      break;
    case record_type::fin: put(out, wire::fin_body{r.final_offset.value_or(0)}); break;
    case record_type::reset:
      put(out,
          wire::reset_body{r.connection.value_or(0), r.reason.value_or(reset_reason::aborted)});
      break;
    case record_type::ack_ranges:
      for (const range& one : r.ranges.value_or(std::vector<range>{}))
        put(out,
            wire::ack_range{raw_number(base.theirs, one.first), raw_number(base.theirs, one.last)});
      break;
    default: put_raw(out, r.bytes.value_or("").data(), r.bytes.value_or("").size());
  }
  put_raw(out, r.tail.data(), r.tail.size());
  out.resize(out.size() - std::min(r.cut, out.size()));
  return out;
}

void put_record(std::vector<std::byte>& out, const record& r, const number_base& base) {
  const std::vector<std::byte> body = body_of(r, base);
  wire::record_header h;
  h.source = r.source.value_or(0);
  h.dest = r.dest.value_or(0);
  h.seq = r.seq.value_or(0);
  h.grant_seq = r.grant.value_or(0);
  h.doff = r.doff.value_or(wire::record_doff);
  h.type = r.type;
  h.len = r.length.value_or(static_cast<std::uint16_t>(body.size()));
  put(out, h);
  // A longer header: what a later version may have to say.
  out.resize(out.size() + std::max<std::size_t>(h.doff >> 2, sizeof h) - sizeof h);
  put_raw(out, body.data(), body.size());
}

void put_handshake(std::vector<std::byte>& out, const packet& p) {
  wire::handshake_body body{};
  body.epoch = p.epoch.value_or(0);
  body.channel = p.id.value_or(0);
  body.tag = p.own_tag.value_or(0);
  body.mtu = p.mtu.value_or(0);
  body.traffic_class = p.traffic_class.value_or(0);
  body.flags = p.flags.value_or(0);
  body.first_number = p.first_number.value_or(0);
  body.cookie_time = p.its_cookie.value_or(cookie{}).time;
  body.cookie_mac = p.its_cookie.value_or(cookie{}).mac;
  put(out, body);
}

record parse(const wire::record_view& view) {
  record r;
  r.type = view.type();
  r.source = view.header->source;
  r.dest = view.header->dest;
  r.seq = view.header->seq;
  r.grant = view.header->grant_seq;
  r.doff = view.header->doff;
  r.length = view.header->len;
  r.bytes = std::string(reinterpret_cast<const char*>(view.payload.data()), view.payload.size());
  if (r.type == record_type::sync) {
    if (const auto* b = view.body<wire::sync_body>()) {
      r.connection = b->connection;
      r.first_grant = b->grant;
      r.traffic_class = b->traffic_class;
    }
  } else if (r.type == record_type::sync_ack) {
    if (const auto* b = view.body<wire::sync_ack_body>()) {
      r.connection = b->connection;
      r.first_grant = b->grant;
    }
  } else if (r.type == record_type::notification) {
    if (const auto* b = view.body<wire::notification_body>()) {
      r.connection = b->connection;
      r.wanted = b->until;
    }
  } else if (r.type == record_type::fin) {
    if (const auto* b = view.body<wire::fin_body>()) r.final_offset = b->final_offset;
  } else if (r.type == record_type::reset) {
    if (const auto* b = view.body<wire::reset_body>()) {
      r.connection = b->connection;
      r.reason = b->reason;
    }
  } else if (r.type == record_type::ack_ranges) {
    r.ranges.emplace();
    for (std::size_t at = 0; at + sizeof(wire::ack_range) <= view.payload.size();
         at += sizeof(wire::ack_range)) {
      const auto& one = wire::at<wire::ack_range>(static_cast<const void*>(&view.payload[at]));
      r.ranges->push_back({one.first, one.last});
    }
  }
  return r;
}

void parse_body(packet& p, std::span<std::byte> rest) {
  if (wire::is_handshake(p.kind)) {
    if (rest.size() != sizeof(wire::handshake_body)) return;
    const auto& b = wire::at<wire::handshake_body>(static_cast<const void*>(rest.data()));
    p.epoch = b.epoch;
    p.id = b.channel;
    p.own_tag = b.tag;
    p.mtu = b.mtu;
    p.traffic_class = b.traffic_class;
    p.flags = b.flags;
    p.first_number = b.first_number;
    p.its_cookie = cookie{b.cookie_time, b.cookie_mac};
  } else if (wire::has_records(p.kind)) {
    wire::record_reader reader(rest);
    for (wire::record_view r; reader.next(r);) p.records.push_back(parse(r));
  }
}

}  // namespace

std::string text(std::size_t length, std::size_t from) {
  std::string out(length, ' ');
  for (std::size_t i = 0; i < length; ++i) {
    const std::size_t n = (from + i) * 2654435761U;
    out[i] = static_cast<char>('a' + (n >> 16) % 26);
  }
  return out;
}

std::vector<std::byte> encode(const packet& p, const way& w, const number_base& base,
                              bool checksums) {
  const bool crc = !w.from.udp && (checksums || wire::is_handshake(p.kind)) && !p.no_checksum;
  std::vector<std::byte> nd;
  wire::channel_header h{};
  h.version = p.version.value_or(wire::nd_version);
  h.kind = p.kind;
  h.ack_delay = p.ack_delay.value_or(0);
  h.channel = p.channel.value_or(0);
  h.tag = p.tag.value_or(0);
  h.number = raw_number(base.mine, p.number);
  h.floor = raw_number(base.mine, p.floor);
  h.ack = raw_number(base.theirs, p.ack);
  h.ce_bytes = p.ce_bytes.value_or(0);
  put(nd, h);
  if (wire::is_handshake(p.kind)) put_handshake(nd, p);
  for (const record& r : p.records) put_record(nd, r, base);
  const std::size_t around = w.from.ip_overhead() + (crc ? sizeof(wire::be32) : 0);
  if (p.ip_size) nd.resize(std::max(nd.size(), *p.ip_size - around));
  nd.resize(nd.size() + p.extra);
  nd.resize(nd.size() - std::min(p.cut, nd.size()) + (crc ? sizeof(wire::be32) : 0));

  std::vector<std::byte> out;
  wire::ethernet_header ethernet;
  ethernet.destination = w.to.mac;
  ethernet.source = w.from.mac;
  ethernet.type = wire::ethertype_ipv4;
  put(out, ethernet);
  wire::ipv4_header ip;
  const std::size_t udp_size = w.from.udp ? sizeof(wire::udp_header) : 0;
  wire::write_ipv4(ip, p.source_ip.value_or(w.from.ip), w.to.ip, w.from.protocol(),
                   p.dscp_ecn.value_or(wire::ecn_ect0), nd.size() + udp_size);
  put(out, ip);
  if (w.from.udp) {
    wire::udp_header udp;
    udp.source = std::uint16_t{50000};
    udp.destination = w.from.udp_port;
    udp.length = static_cast<std::uint16_t>(nd.size() + udp_size);
    udp.checksum = std::uint16_t{0};
    put(out, udp);
  }
  put_raw(out, nd.data(), nd.size());
  if (!p.no_checksum) fuzz::seal_frame(out, w.to, crc);
  if (p.bad_checksum) out.back() ^= std::byte{1};
  return out;
}

std::optional<packet> decode(std::vector<std::byte> frame, const way& w, bool checksums) {
  if (frame.size() < payload_at) return std::nullopt;
  const auto& ethernet = wire::at<wire::ethernet_header>(static_cast<const void*>(frame.data()));
  const auto ip = wire::at<wire::ipv4_header>(static_cast<const void*>(&frame[ip_at]));
  if (ethernet.type != wire::ethertype_ipv4 || ethernet.destination != w.to.mac ||
      ip.source != w.from.ip || ip.destination != w.to.ip || ip.protocol != w.from.protocol() ||
      ip_at + ip.total_length != frame.size())
    return std::nullopt;

  const std::size_t at = payload_at + (w.from.udp ? sizeof(wire::udp_header) : 0);
  if (frame.size() < at + sizeof(wire::channel_header)) return std::nullopt;
  const auto h = wire::at<wire::channel_header>(static_cast<const void*>(&frame[at]));
  const bool protect = checksums || wire::is_handshake(h.kind);
  const bool crc = !w.from.udp && protect;
  if (protect) {
    // All checksums a second time, by code that does not send (fuzz/sealing.cpp).
    // Spoilt first: what cannot be sealed stays so.
    std::vector<std::byte> sealed = frame;
    (crc ? sealed.back() : sealed[at - 1]) ^= std::byte{0xff};
    fuzz::seal_frame(sealed, w.to, crc);
    if (sealed != frame) return std::nullopt;
  }
  packet p;
  p.kind = h.kind;
  p.version = h.version;
  p.channel = h.channel;
  p.tag = h.tag;
  p.number = h.number;
  p.floor = h.floor;
  p.ack = h.ack;
  p.ce_bytes = h.ce_bytes;
  p.ack_delay = h.ack_delay;
  p.ip_size = ip.total_length;
  p.dscp_ecn = ip.dscp_ecn;
  if (w.from.udp)
    p.udp_source = wire::at<wire::udp_header>(static_cast<const void*>(&frame[payload_at])).source;
  const std::size_t start = at + sizeof h;
  const std::size_t end = frame.size() - (crc ? sizeof(wire::be32) : 0);
  parse_body(p, std::span(frame).subspan(start, end - start));
  return p;
}

void rebase(packet& p, const number_base& base) {
  if (wire::is_handshake(p.kind) || p.kind == packet_kind::abort) return;
  p.number = count_from(base.mine, *p.number);
  p.floor = count_from(base.mine, *p.floor);
  p.ack = count_from(base.theirs, *p.ack);
  for (record& r : p.records) {
    if (!r.ranges) continue;
    for (range& one : *r.ranges) {
      one.first = count_from(base.theirs, one.first);
      one.last = count_from(base.theirs, one.last);
    }
  }
}

}  // namespace nd::script
