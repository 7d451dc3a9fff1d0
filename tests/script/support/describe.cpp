// Packets as text, and what differs between two of them.
#include <fmt/format.h>

#include "script/support/packet.hpp"
#include "wire/packet_format.hpp"

namespace nd::script {
namespace {

std::string name_of(record_type t) {
  switch (t) {
    case record_type::data: return "DATA";
    case record_type::notification: return "NOTIFICATION";
    case record_type::ack: return "ACK";
    case record_type::sync: return "SYNC";
    case record_type::sync_ack: return "SYNC_ACK";
    case record_type::fin: return "FIN";
    case record_type::reset: return "RESET";
    case record_type::ack_ranges: return "ACK_RANGES";
    default: return fmt::format("type {}", static_cast<int>(t));
  }
}

std::string name_of(packet_kind k) {
  switch (k) {
    case packet_kind::init: return "INIT";
    case packet_kind::init_ack: return "INIT_ACK";
    case packet_kind::cookie_echo: return "COOKIE_ECHO";
    case packet_kind::cookie_ack: return "COOKIE_ACK";
    case packet_kind::data: return "DATA";
    case packet_kind::ack: return "ACK";
    case packet_kind::probe: return "PROBE";
    case packet_kind::close: return "CLOSE";
    case packet_kind::abort: return "ABORT";
  }
  return fmt::format("kind {}", static_cast<int>(k));
}

std::string shown(std::uint64_t v) {
  return std::to_string(v);
}
std::string shown(std::int64_t v) {
  return std::to_string(v);
}
std::string shown(std::uint32_t v) {
  return std::to_string(v);
}
std::string shown(std::uint16_t v) {
  return std::to_string(v);
}
std::string shown(std::uint8_t v) {
  return std::to_string(v);
}
std::string shown(reset_reason v) {
  return std::to_string(static_cast<int>(v));
}
std::string shown(const std::string& v) {
  constexpr std::size_t most = 24;
  return v.size() <= most ? "'" + v + "'" : "'" + v.substr(0, most) + "...'";
}
std::string shown(const std::vector<range>& v) {
  std::string out;
  for (const range& r : v) out += fmt::format("{}{}-{}", out.empty() ? "" : ",", r.first, r.last);
  return out;
}
std::string shown(const cookie& c) {
  return fmt::format("{}/{:02x}", c.time, static_cast<unsigned>(c.mac[0]));
}

template <class T>
void add(std::string& out, const char* name, const std::optional<T>& v) {
  if (v) out += fmt::format(" {}={}", name, shown(*v));
}

template <class T>
void compare(std::vector<std::string>& out, const std::string& name, const std::optional<T>& want,
             const std::optional<T>& got) {
  if (!want || (got && *got == *want)) return;
  out.push_back(fmt::format("{}: expected {}, got {}", name, shown(*want),
                            got ? shown(*got) : std::string("none")));
}

void compare(std::vector<std::string>& out, const std::string& at, const record& want,
             const record& got) {
  if (want.type != got.type) {
    out.push_back(
        fmt::format("{}: expected {}, got {}", at, name_of(want.type), name_of(got.type)));
    return;
  }
  compare(out, at + " source", want.source, got.source);
  compare(out, at + " dest", want.dest, got.dest);
  compare(out, at + " seq", want.seq, got.seq);
  compare(out, at + " grant", want.grant, got.grant);
  compare(out, at + " connection", want.connection, got.connection);
  compare(out, at + " first grant", want.first_grant, got.first_grant);
  compare(out, at + " class", want.traffic_class, got.traffic_class);
  compare(out, at + " final offset", want.final_offset, got.final_offset);
  compare(out, at + " until", want.wanted, got.wanted);
  compare(out, at + " reason", want.reason, got.reason);
  compare(out, at + " ranges", want.ranges, got.ranges);
  if (want.bytes && got.bytes && want.bytes->size() != got.bytes->size())
    out.push_back(
        fmt::format("{} length: expected {}, got {}", at, want.bytes->size(), got.bytes->size()));
  compare(out, at + " bytes", want.bytes, got.bytes);
}

}  // namespace

std::string describe(const record& r) {
  std::string out = name_of(r.type);
  if (r.source && r.dest && r.type != record_type::ack_ranges)
    out += fmt::format(" {}>{}", *r.source, *r.dest);
  if (r.type == record_type::data) add(out, "seq", r.seq);
  add(out, "connection", r.connection);
  add(out, "first_grant", r.first_grant);
  add(out, "class", r.traffic_class);
  add(out, "final", r.final_offset);
  add(out, "until", r.wanted);
  add(out, "reason", r.reason);
  add(out, "ranges", r.ranges);
  if (r.bytes && (r.type == record_type::data || static_cast<int>(r.type) > 41))
    out += fmt::format(" {} bytes {}", r.bytes->size(), shown(*r.bytes));
  if (r.type != record_type::ack_ranges) add(out, "grant", r.grant);
  return out;
}

std::string describe(const packet& p) {
  std::string out = name_of(p.kind);
  const bool handshake = wire::is_handshake(p.kind);
  if (p.version.value_or(wire::nd_version) != wire::nd_version) add(out, "version", p.version);
  if (handshake) {
    add(out, "epoch", p.epoch);
    add(out, "id", p.id);
    add(out, "mtu", p.mtu);
    add(out, "class", p.traffic_class);
    add(out, "flags", p.flags);
    add(out, "cookie", p.its_cookie);
  } else {
    if (p.number && (p.kind == packet_kind::data || p.kind == packet_kind::probe))
      out += fmt::format(" #{}", *p.number);
    add(out, "ack", p.ack);
    add(out, "floor", p.floor);
    if (p.ce_bytes.value_or(0) != 0) add(out, "ce_bytes", p.ce_bytes);
    if (p.kind == packet_kind::probe && p.ip_size) out += fmt::format(" {} bytes", *p.ip_size);
    if (p.kind == packet_kind::data && p.records.empty()) out += " (ping)";
  }
  for (const record& r : p.records) out += " [" + describe(r) + "]";
  if (p.bad_checksum) out += " (bad checksum)";
  if (p.no_checksum) out += " (no checksum)";
  if (p.cut > 0) out += fmt::format(" (cut by {})", p.cut);
  return out;
}

std::vector<std::string> differences(const packet& expected, const packet& got) {
  std::vector<std::string> out;
  if (expected.kind != got.kind) {
    out.push_back(
        fmt::format("kind: expected {}, got {}", name_of(expected.kind), name_of(got.kind)));
    return out;
  }
  compare(out, "version", expected.version, got.version);
  compare(out, "channel", expected.channel, got.channel);
  compare(out, "tag", expected.tag, got.tag);
  compare(out, "number", expected.number, got.number);
  compare(out, "floor", expected.floor, got.floor);
  compare(out, "ack", expected.ack, got.ack);
  compare(out, "ce_bytes", expected.ce_bytes, got.ce_bytes);
  compare(out, "ack_delay", expected.ack_delay, got.ack_delay);
  compare(out, "epoch", expected.epoch, got.epoch);
  compare(out, "id", expected.id, got.id);
  compare(out, "its tag", expected.own_tag, got.own_tag);
  compare(out, "mtu", expected.mtu, got.mtu);
  compare(out, "class", expected.traffic_class, got.traffic_class);
  compare(out, "flags", expected.flags, got.flags);
  compare(out, "cookie", expected.its_cookie, got.its_cookie);
  compare(out, "dscp and ecn", expected.dscp_ecn, got.dscp_ecn);
  if (expected.ip_size && expected.ip_size != got.ip_size)
    out.push_back(
        fmt::format("IP packet: expected {} bytes, got {}", *expected.ip_size, *got.ip_size));
  if (!wire::has_records(expected.kind)) return out;
  if (expected.records.size() != got.records.size())
    out.push_back(
        fmt::format("records: expected {}, got {}", expected.records.size(), got.records.size()));
  for (std::size_t i = 0; i < std::min(expected.records.size(), got.records.size()); ++i)
    compare(out, fmt::format("record {}", i), expected.records[i], got.records[i]);
  return out;
}

}  // namespace nd::script
