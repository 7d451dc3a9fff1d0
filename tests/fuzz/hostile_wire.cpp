#include "fuzz/hostile_wire.hpp"

#include <utility>

#include "fuzz/sealing.hpp"
#include "unit/support/made_packet.hpp"
#include "wire/icmp.hpp"

namespace nd::fuzz {

hostile_wire::hostile_wire(input& in, test::host_pair& pair)
    : in_(in), pair_(pair), checksums_(pair.values.checksum == "full") {
  pair_.net.checksums = checksums_;
  pair_.net.on_frame = [this](test::made_frame& f, test::frame_fate& fate) { meet(f, fate); };
}

void hostile_wire::calm() {
  rewrites_ = {};
  drop_ = {};
}

void hostile_wire::meet(test::made_frame& f, test::frame_fate& fate) {
  const std::size_t from = pair_.device(0).number() == f.from ? 0 : 1, to = 1 - from;
  auto& history = history_[from];
  if (history.size() == most_history) history.pop_front();
  const bool packet = !f.is_arp() && f.ip().protocol != wire::protocol_icmp;
  history.push_back(f.bytes);
  if (packet) remember(f, from);
  if (drop_[to] > 0) {
    --drop_[to];
    fate.drop = true;
    return;
  }
  if (!packet || rewrites_[to].empty()) return;
  const std::span<std::byte> bytes = f.packet();
  for (const rewrite& r : std::exchange(rewrites_[to], {})) {
    std::byte& b = bytes[r.at % bytes.size()];
    b = static_cast<std::byte>(r.add ? std::to_integer<unsigned>(b) + r.value : r.value);
  }
  seal_frame(f.bytes, address_of(to), checksums_);
}

/// What later packets that are made up take their ids and numbers from.
void hostile_wire::remember(test::made_frame& f, std::size_t from) {
  const wire::channel_header& h = f.header();
  if (wire::is_handshake(h.kind)) return;
  header_[from] = h;
  wire::record_reader reader(f.records());
  for (wire::record_view r{}; reader.next(r);) {
    if (r.type() == wire::record_type::ack_ranges) continue;
    record_[from] = *r.header;
    if (const auto* sync = r.body<wire::sync_body>(); r.type() == wire::record_type::sync && sync)
      connection_ = sync->connection;
  }
}

core::host_address hostile_wire::address_of(std::size_t who) const {
  return test::made_address(who, pair_.values.encap == "udp");
}

void hostile_wire::rewrite_next(std::size_t to) {
  for (unsigned n = in_.below(4) + 1; n > 0; --n) {
    const std::uint8_t how = in_.u8();
    // Mostly in the headers.
    const auto at = static_cast<std::uint16_t>((how & 2) != 0 ? in_.u16() : in_.below(96));
    rewrites_[to].push_back({at, in_.u8(), (how & 1) != 0});
  }
}

void hostile_wire::inject(std::size_t to, std::vector<std::byte> frame) {
  // What the device's buffers take; it cuts the rest off.
  const std::size_t most = rte_pktmbuf_data_room_size(pair_.pools(to).rx()) - RTE_PKTMBUF_HEADROOM;
  if (frame.size() > most) frame.resize(most);
  if (frame.empty()) return;
  pair_.net.inject(pair_.now, pair_.device(to).number(), std::move(frame));
}

void hostile_wire::replay(std::size_t to) {
  const unsigned n = in_.u8();
  const auto& history = history_[1 - to];
  if (!history.empty()) inject(to, history[n % history.size()]);
}

void hostile_wire::raw_frame(std::size_t to) {
  const std::uint8_t how = in_.u8();
  const auto bytes = in_.bytes(in_.u16() % 2048);
  std::vector<std::byte> frame(bytes.begin(), bytes.end());
  constexpr std::size_t start = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
  if ((how & 1) != 0 && frame.size() >= start + sizeof(wire::channel_header)) {
    // For a channel that there is.
    const std::size_t udp = address_of(to).udp ? sizeof(wire::udp_header) : 0;
    if (frame.size() >= start + udp + sizeof(wire::channel_header)) {
      auto& h = wire::at<wire::channel_header>(static_cast<void*>(&frame[start + udp]));
      h.channel = header_[1 - to].channel;
      h.tag = header_[1 - to].tag;
      if ((how & 2) != 0) {
        h.number = header_[1 - to].number;
        h.floor = header_[1 - to].floor;
        h.ack = header_[1 - to].ack;
      }
    }
  }
  if ((how & 4) == 0) seal_frame(frame, address_of(to), checksums_);
  inject(to, std::move(frame));
}

/// Numbers around the right ones, or any.
std::uint32_t hostile_wire::around(std::uint32_t right) {
  const std::uint8_t how = in_.u8();
  if (how == 255) return in_.u32();
  if (how == 254) return right + in_.u16();
  if (how == 253) return right - in_.u16();
  return right + how - 126;
}
std::uint32_t hostile_wire::stranger() {
  return test::made_ip(2 + in_.below(addresses - 2));
}

void hostile_wire::made_packet(std::size_t to) {
  const std::uint8_t how = in_.u8();
  core::host_address from = address_of(1 - to);
  if ((how & 1) != 0) from.ip = stranger();
  wire::channel_header header = header_[1 - to];
  header.version = wire::nd_version;
  header.kind = static_cast<wire::packet_kind>(in_.below(12));
  if ((how & 2) != 0) header.channel = in_.below(8);
  if ((how & 4) != 0) header.tag = in_.u32();
  if ((how & 8) != 0) {
    header.number = around(header.number);
    header.floor = around(header.floor);
    header.ack = around(header.ack);
  } else {
    header.number = header.number + 1;
  }
  header_[1 - to].number = header.number;
  if ((how & 16) != 0) header.ce_bytes = in_.u32();

  const auto fill = [&](wire::packet_writer& writer) {
    if (wire::has_records(header.kind))
      for (unsigned n = in_.below(6); n > 0 && writer.size() < 3500; --n)
        append_record(writer, record_[1 - to]);
    else if (wire::is_handshake(header.kind))
      writer.append_body(wire::bytes_of(made_body()));
    else
      writer.append_body(in_.bytes(in_.below(64)));
  };
  inject(to, test::made_packet(from, to, header, fill,
                               (how & 32) != 0 ? wire::ecn_ce : wire::ecn_ect0, checksums_));
}

wire::handshake_body hostile_wire::made_body() {
  wire::handshake_body body;
  in_.fill(body);
  const std::uint8_t how = in_.u8();
  if ((how & 1) != 0) body.traffic_class = body.traffic_class & 1;
  if ((how & 2) != 0) body.mtu = 1500;
  if ((how & 4) != 0) body.epoch = body.epoch % 4;
  return body;
}

void hostile_wire::append_record(wire::packet_writer& writer, const wire::record_header& last) {
  using wire::record_type;
  const std::uint8_t how = in_.u8();
  wire::record r;
  constexpr std::array types{record_type::data,  record_type::notification, record_type::ack,
                             record_type::sync,  record_type::sync_ack,     record_type::fin,
                             record_type::reset, record_type::ack_ranges};
  r.type = (how & 1) != 0 ? static_cast<record_type>(in_.u8()) : types[in_.below(types.size())];
  r.source = (how & 2) != 0 ? in_.u16() : std::uint16_t{last.source};
  r.dest = (how & 4) != 0 ? std::uint16_t{80} : std::uint16_t{last.dest};
  // What the receiver expects next, if this was the last record.
  const std::uint32_t end =
      last.seq + (last.type == record_type::data ? std::uint32_t{last.len} : 0);
  r.seq = around(end);
  r.grant = (how & 8) != 0 ? around(last.grant_seq) : std::uint32_t{last.grant_seq};
  const std::uint64_t connection = (how & 16) != 0 ? in_.u64() : connection_ + (how >> 5);
  std::array<std::byte, 1400> payload{};
  switch (r.type) {
    case record_type::sync: r.set_body(wire::sync_body{connection, in_.u32(), in_.u8()}); break;
    case record_type::sync_ack: r.set_body(wire::sync_ack_body{connection, in_.u32()}); break;
    case record_type::fin: r.set_body(wire::fin_body{std::uint64_t{around(end)}}); break;
    case record_type::reset:
      r.set_body(wire::reset_body{connection, static_cast<wire::reset_reason>(in_.below(6))});
      break;
    default: {
      r.length = static_cast<std::uint16_t>(in_.u16() % payload.size());
      const auto from = in_.bytes(r.type == record_type::ack_ranges ? r.length : 0);
      std::ranges::copy(from, payload.begin());
      const auto bytes = std::span<const std::byte>(payload).first(r.length);
      return writer.append(r, bytes, wire::crc32c(wire::crc32c_start, bytes));
    }
  }
  const auto body = std::span<const std::byte>(r.body).first(r.length);
  writer.append(r, body, wire::crc32c(wire::crc32c_start, body));
}

void hostile_wire::made_arp(std::size_t to) {
  const std::uint8_t how = in_.u8();
  std::vector<std::byte> frame(wire::ethernet_min_frame);
  auto& ethernet = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
  ethernet.destination = (how & 1) != 0 ? mac_broadcast : test::made_mac(to);
  ethernet.source = test::made_mac(in_.below(16));
  ethernet.type = wire::ethertype_arp;
  const std::uint32_t sender = (how & 2) != 0 ? in_.u32() : test::made_ip(in_.below(12));
  wire::at<wire::arp_packet>(static_cast<void*>(frame.data() + sizeof ethernet)) =
      wire::make_arp((how & 4) != 0 ? wire::arp_request : wire::arp_reply, ethernet.source, sender,
                     {}, (how & 8) != 0 ? in_.u32() : test::made_ip(to));
  inject(to, std::move(frame));
}

void hostile_wire::made_icmp(std::size_t to) {
  const std::uint8_t how = in_.u8();
  const std::size_t size = sizeof(wire::icmp_header) + in_.u16() % 1600;
  constexpr std::size_t start = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
  std::vector<std::byte> frame(start + size);
  auto& ethernet = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
  ethernet.destination = test::made_mac(to);
  ethernet.source = test::made_mac(9);
  ethernet.type = wire::ethertype_ipv4;
  wire::write_ipv4(wire::at<wire::ipv4_header>(static_cast<void*>(frame.data() + sizeof ethernet)),
                   (how & 1) != 0 ? in_.u32() : stranger(), test::made_ip(to), wire::protocol_icmp,
                   0, size);
  auto& icmp = wire::at<wire::icmp_header>(static_cast<void*>(frame.data() + start));
  icmp.type = (how & 2) != 0 ? in_.u8() : wire::icmp_echo_request;
  seal_frame(frame, address_of(to), checksums_);
  inject(to, std::move(frame));
}

}  // namespace nd::fuzz
