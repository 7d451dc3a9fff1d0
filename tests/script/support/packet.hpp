// Packets and records as a script writes them. What is not said has a sane value when the peer
// sends it, and is not compared when it is expected (script.cpp says what is compared all the
// same).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lcore/framing.hpp"
#include "wire/nd_header.hpp"

namespace nd::script {

using wire::packet_kind;
using wire::record_type;
using wire::reset_reason;

/// Packet numbers `first` to `last`, counted from the first one of their direction.
struct range {
  std::int64_t first;
  std::int64_t last;
  bool operator==(const range&) const = default;
};

struct record {
  record_type type{};
  std::optional<std::uint16_t> source, dest;
  std::optional<std::uint32_t> seq, grant;
  std::optional<std::string> bytes;  ///< the payload where the type has no fields of its own
  std::optional<std::uint64_t> connection, first_grant, final_offset, wanted;
  std::optional<std::uint8_t> traffic_class;
  std::optional<reset_reason> reason;
  std::optional<std::vector<range>> ranges;
  std::optional<std::uint8_t> doff;     ///< as it travels, header length times 4
  std::optional<std::uint16_t> length;  ///< what the header says, whatever is there
  std::string tail;                     ///< behind the body
  std::size_t cut = 0;                  ///< bytes of the body that are left out

  record from_port(std::uint16_t p) const { return with(&record::source, p); }
  record to_port(std::uint16_t p) const { return with(&record::dest, p); }
  record granting(std::uint64_t offset) const {
    return with(&record::grant, static_cast<std::uint32_t>(offset));
  }
  record of_connection(std::uint64_t id) const { return with(&record::connection, id); }
  record with_first_grant(std::uint64_t offset) const { return with(&record::first_grant, offset); }
  /// NOTIFICATION: the end of what waits.
  record until(std::uint64_t offset) const { return with(&record::wanted, offset); }
  record of_class(std::uint8_t c) const { return with(&record::traffic_class, c); }
  record with_doff(std::uint8_t d) const { return with(&record::doff, d); }
  record with_length(std::uint16_t n) const { return with(&record::length, n); }
  record shorter_by(std::size_t n) const {
    record r = *this;
    r.cut = n;
    return r;
  }

 private:
  template <class Member, class T>
  record with(Member member, T value) const {
    record r = *this;
    r.*member = value;
    return r;
  }
};

// Builders of records.
inline record make(record_type type) {
  record r;
  r.type = type;
  return r;
}
inline record sync() {
  return make(record_type::sync);
}
inline record sync_ack() {
  return make(record_type::sync_ack);
}
/// DATA: these bytes of the stream, from `offset` on.
inline record bytes(std::uint64_t offset, std::string text) {
  record r = make(record_type::data);
  r.seq = static_cast<std::uint32_t>(offset);
  r.bytes = std::move(text);
  return r;
}
inline record fin(std::uint64_t final_offset) {
  record r = make(record_type::fin);
  r.final_offset = final_offset;
  return r;
}
inline record reset(reset_reason reason) {
  record r = make(record_type::reset);
  r.reason = reason;
  return r;
}
/// ACK, the record that only grants: up to this offset.
inline record credit(std::uint64_t offset) {
  return make(record_type::ack).granting(offset);
}
inline record notification() {
  return make(record_type::notification);
}
inline record ack_ranges(std::vector<range> ranges) {
  record r = make(record_type::ack_ranges);
  r.ranges = std::move(ranges);
  return r;
}
inline record of_type(int type, std::string payload = "") {
  record r = make(static_cast<record_type>(type));
  r.bytes = std::move(payload);
  return r;
}

struct cookie {
  std::uint64_t time = 0;
  std::array<std::byte, wire::cookie_mac_size> mac{};
  bool operator==(const cookie&) const = default;
};

struct packet {
  packet_kind kind{};
  std::size_t on = 0;  ///< which channel of the script
  std::optional<std::uint8_t> version;
  std::optional<std::uint32_t> channel, tag;       ///< of the header: the receiver's
  std::optional<std::int64_t> number, floor, ack;  ///< counted from the first one
  std::optional<std::uint32_t> ce_bytes;
  std::optional<std::uint16_t> ack_delay;
  // Handshakes.
  std::optional<std::uint64_t> epoch;
  std::optional<std::uint32_t> id, own_tag, first_number;
  std::optional<std::uint16_t> mtu;
  std::optional<std::uint8_t> traffic_class, flags;
  std::optional<cookie> its_cookie;
  std::vector<record> records;
  std::optional<std::size_t> ip_size;  ///< PROBE: of the IP packet
  std::optional<std::uint8_t> dscp_ecn;
  std::uint16_t udp_source = 0;  ///< of what the host has sent
  // What is wrong with it on the wire.
  bool bad_checksum = false;
  bool no_checksum = false;
  std::size_t cut = 0;    ///< bytes missing at its end
  std::size_t extra = 0;  ///< zeros behind it
  std::optional<std::uint32_t> source_ip;

  packet on_channel(std::size_t k) const { return with(&packet::on, k); }
  packet with_version(std::uint8_t v) const { return with(&packet::version, v); }
  packet to_channel(std::uint32_t c) const { return with(&packet::channel, c); }
  packet tagged(std::uint32_t t) const { return with(&packet::tag, t); }
  packet numbered(std::int64_t n) const { return with(&packet::number, n); }
  packet with_floor(std::int64_t n) const { return with(&packet::floor, n); }
  /// All packets before the n-th one have arrived.
  packet acking(std::int64_t n) const { return with(&packet::ack, n); }
  packet with_ce_bytes(std::uint32_t n) const { return with(&packet::ce_bytes, n); }
  packet delayed(std::uint16_t units) const { return with(&packet::ack_delay, units); }
  packet of_epoch(std::uint64_t e) const { return with(&packet::epoch, e); }
  packet with_id(std::uint32_t i) const { return with(&packet::id, i); }
  packet with_tag(std::uint32_t t) const { return with(&packet::own_tag, t); }
  packet with_mtu(std::uint16_t m) const { return with(&packet::mtu, m); }
  packet of_class(std::uint8_t c) const { return with(&packet::traffic_class, c); }
  packet with_flags(std::uint8_t f) const { return with(&packet::flags, f); }
  packet with_cookie(const cookie& c) const { return with(&packet::its_cookie, c); }
  packet of_size(std::size_t n) const { return with(&packet::ip_size, n); }
  packet with_dscp_ecn(std::uint8_t v) const { return with(&packet::dscp_ecn, v); }
  /// A router has marked it.
  packet congested() const { return with(&packet::dscp_ecn, std::uint8_t{wire::ecn_ce}); }
  packet with_bad_checksum() const { return with(&packet::bad_checksum, true); }
  packet without_checksum() const { return with(&packet::no_checksum, true); }
  packet shorter_by(std::size_t n) const { return with(&packet::cut, n); }
  packet longer_by(std::size_t n) const { return with(&packet::extra, n); }
  packet from_ip(std::uint32_t ip) const { return with(&packet::source_ip, ip); }

 private:
  template <class Member, class T>
  packet with(Member member, T value) const {
    packet p = *this;
    p.*member = value;
    return p;
  }
};

// Builders of packets.
inline packet make(packet_kind kind) {
  packet p;
  p.kind = kind;
  return p;
}
inline packet init() {
  return make(packet_kind::init);
}
inline packet init_ack() {
  return make(packet_kind::init_ack);
}
inline packet cookie_echo() {
  return make(packet_kind::cookie_echo);
}
inline packet cookie_ack() {
  return make(packet_kind::cookie_ack);
}
template <class... Records>
packet data(Records... records) {
  packet p = make(packet_kind::data);
  p.records = {std::move(records)...};
  return p;
}
inline packet ping() {
  return data();
}
inline packet ack() {
  return make(packet_kind::ack);
}
inline packet ack(std::vector<range> ranges) {
  packet p = ack();
  p.records = {ack_ranges(std::move(ranges))};
  return p;
}
inline packet probe(std::size_t ip_size) {
  return make(packet_kind::probe).of_size(ip_size);
}
inline packet close() {
  return make(packet_kind::close);
}
inline packet abort() {
  return make(packet_kind::abort);
}

/// Text of any length, without a short period.
std::string text(std::size_t length, std::size_t from = 0);

/// What numbers of a channel are counted from.
struct number_base {
  std::uint64_t mine = 0;    ///< of the packet's sender
  std::uint64_t theirs = 0;  ///< of its receiver
};

/// Addresses and encapsulation of one direction.
struct way {
  core::host_address from, to;
};

/// The frame. Every field that `p` leaves out is zero, so the caller fills in what matters.
std::vector<std::byte> encode(const packet& p, const way& w, const number_base& base,
                              bool checksums);
/// What a frame says, with all fields; nothing where it is no ND packet of this way, or a checksum
/// is wrong. `base` gives the bases for the channel id that the header names.
std::optional<packet> decode(std::vector<std::byte> frame, const way& w, bool checksums);
/// Turns the raw numbers of decode() into counts.
void rebase(packet& p, const number_base& base);

std::string describe(const record& r);
std::string describe(const packet& p);
/// What `expected` says and `got` does not, a line each.
std::vector<std::string> differences(const packet& expected, const packet& got);

}  // namespace nd::script
