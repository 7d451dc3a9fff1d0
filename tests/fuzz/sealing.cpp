#include "fuzz/sealing.hpp"

#include "wire/icmp.hpp"

namespace nd::fuzz {
namespace {

template <class T>
T& field(std::span<std::byte> bytes, std::size_t at = 0) {
  return wire::at<T>(static_cast<void*>(bytes.data() + at));
}

std::uint32_t crc_of(std::span<const std::byte> bytes) {
  return wire::crc32c(wire::crc32c_start, bytes);
}

std::uint32_t fold(std::uint32_t crc, std::uint32_t digest) {
  const wire::be32 value = digest;
  return wire::crc32c(crc, wire::bytes_of(value));
}

void seal_udp(std::span<std::byte> datagram, const wire::ipv4_header& ip) {
  if (datagram.size() < sizeof(wire::udp_header)) return;
  auto& udp = field<wire::udp_header>(datagram);
  if (udp.length < sizeof udp || udp.length > datagram.size()) return;
  datagram = datagram.first(udp.length);
  const auto pseudo =
      wire::make_pseudo_header(ip.source, ip.destination, wire::protocol_udp, datagram.size());
  udp.checksum = std::uint16_t{0};
  const wire::be16 sum =
      wire::inet_checksum(wire::inet_sum(wire::inet_sum(0, wire::bytes_of(pseudo)), datagram));
  udp.checksum = sum == 0 ? wire::be16(std::uint16_t{0xffff}) : sum;
}

}  // namespace

// Not by way of packet_writer: what verify_and_trim() believes is computed a second time here.
bool seal_packet(std::span<std::byte> packet, const wire::packet_format& format) {
  constexpr std::size_t header_size = sizeof(wire::channel_header);
  if (packet.size() < header_size + format.trailer_size()) return false;
  if (!format.crc) return true;
  const std::size_t end = packet.size() - sizeof(wire::be32);
  std::uint32_t crc = crc_of(packet.first(header_size));
  if (!wire::has_records(field<wire::channel_header>(packet).kind)) {
    crc = fold(crc, crc_of(packet.first(end).subspan(header_size)));
  } else {
    for (std::size_t at = header_size; at < end;) {
      if (end - at < sizeof(wire::record_header)) return false;
      const auto& h = field<wire::record_header>(packet, at);
      const std::size_t size = h.doff / 4U;
      if (h.doff % 4 != 0 || size < sizeof h || size + h.len > end - at) return false;
      crc = wire::crc32c(crc, wire::bytes_of(h));
      crc = fold(crc, crc_of(packet.subspan(at + size, h.len)));
      at += size + h.len;
    }
  }
  const auto pseudo =
      wire::make_pseudo_header(format.source, format.destination, format.protocol, packet.size());
  field<wire::be32>(packet, end) = ~wire::crc32c(crc, wire::bytes_of(pseudo));
  return true;
}

void seal_frame(std::span<std::byte> frame, const core::host_address& to, bool crc) {
  constexpr std::size_t start = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
  if (frame.size() < start) return;
  if (field<wire::ethernet_header>(frame).type != wire::ethertype_ipv4) return;
  auto& ip = field<wire::ipv4_header>(frame, sizeof(wire::ethernet_header));
  ip.checksum = std::uint16_t{0};
  ip.checksum = wire::ipv4_checksum(ip);
  if (ip.total_length < sizeof ip) return;
  std::span<std::byte> payload = frame.subspan(start);
  if (ip.total_length - sizeof ip > payload.size()) return;
  payload = payload.first(ip.total_length - sizeof ip);
  if (ip.protocol == wire::protocol_udp && to.udp) {
    seal_udp(payload, ip);
  } else if (ip.protocol == to.protocol()) {
    if (payload.size() < sizeof(wire::channel_header)) return;
    const bool handshake = wire::is_handshake(field<wire::channel_header>(payload).kind);
    seal_packet(payload, {.source = ip.source,
                          .destination = ip.destination,
                          .protocol = ip.protocol,
                          .crc = crc || handshake});
  } else if (ip.protocol == wire::protocol_icmp && payload.size() >= sizeof(wire::icmp_header)) {
    auto& icmp = field<wire::icmp_header>(payload);
    icmp.checksum = std::uint16_t{0};
    icmp.checksum = wire::inet_checksum(wire::inet_sum(0, payload));
  }
}

}  // namespace nd::fuzz
