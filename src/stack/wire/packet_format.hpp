// Writing and checking whole ND packets: channel header, records or a body, CRC32C.
#pragma once

#include <span>

#include "wire/checksum.hpp"
#include "wire/ip.hpp"
#include "wire/record.hpp"

namespace nd::wire {

/// What both ends of a channel put around and into a packet.
struct packet_format {
  std::uint32_t source = 0;  ///< IPv4, host order, of packets written with this
  std::uint32_t destination = 0;
  std::uint8_t protocol = 0;  ///< IPv4 protocol number
  bool crc = true;            ///< a CRC32C ends the packet (encap ip, unless agreed away)

  std::size_t trailer_size() const noexcept { return crc ? sizeof(be32) : 0; }
  packet_format reversed() const noexcept { return {destination, source, protocol, crc}; }
};

/// True for packets that consist of records; others have a body.
constexpr bool has_records(packet_kind kind) noexcept {
  return kind == packet_kind::data || kind == packet_kind::ack || kind == packet_kind::close;
}

/// True for packets that open a channel: their checksum is never left out.
constexpr bool is_handshake(packet_kind kind) noexcept {
  return kind == packet_kind::init || kind == packet_kind::init_ack ||
         kind == packet_kind::cookie_echo || kind == packet_kind::cookie_ack;
}

/// Writes a packet front to back. The CRC32C covers the channel header, then for each record its
/// header and the CRC32C of its payload (for a body: the CRC32C of the body), then the
/// pseudo-header: so the CRC of payload that was taken when it was copied serves every
/// transmission.
class packet_writer {
 public:
  packet_writer(std::byte* start, const channel_header& header,
                const packet_format& format) noexcept;

  /// Copies the payload behind a record header. `digest` is its crc32c state.
  void append(const record& r, std::span<const std::byte> payload, std::uint32_t digest) noexcept;
  /// Writes the header of a record whose payload lies right behind it already.
  void append_in_place(const record& r, std::uint32_t digest) noexcept;
  /// A packet without records.
  void append_body(std::span<const std::byte> body) noexcept;

  std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - start_); }
  /// Writes the trailer; returns the packet's size.
  std::size_t finish() noexcept;
  /// In place of finish(): writes the header of a last record whose payload lies elsewhere, and the
  /// trailer, where there is one, to `trailer`. Returns the size of the packet, of which size()
  /// bytes are here.
  std::size_t finish_elsewhere(const record& r, std::uint32_t digest, std::byte* trailer) noexcept;

 private:
  void fold(std::uint32_t digest) noexcept;
  void append_header(const record& r, std::uint32_t digest) noexcept;
  be32 trailer_of(std::size_t size) const noexcept;

  std::byte* start_;
  std::byte* end_;
  packet_format format_;
  std::uint32_t crc_ = crc32c_start;
};

/// Checks the CRC32C of a received packet and cuts it off. `format` as its sender wrote it. False
/// where the CRC is wrong or the packet cannot be walked.
bool verify_and_trim(std::span<std::byte>& packet, const packet_format& format) noexcept;

}  // namespace nd::wire
