#include "wire/packet_format.hpp"

#include <algorithm>
#include <cstring>

namespace nd::wire {
namespace {

std::uint32_t fold_in(std::uint32_t crc, std::uint32_t digest) noexcept {
  const be32 value = digest;
  return crc32c(crc, bytes_of(value));
}

std::uint32_t fold_pseudo_header(std::uint32_t crc, const packet_format& f,
                                 std::size_t length) noexcept {
  return crc32c(crc, bytes_of(make_pseudo_header(f.source, f.destination, f.protocol, length)));
}

}  // namespace

packet_writer::packet_writer(std::byte* start, const channel_header& header,
                             const packet_format& format) noexcept
    : start_(start), end_(start + sizeof header), format_(format) {
  std::memcpy(start_, &header, sizeof header);
  if (format_.crc) crc_ = crc32c(crc_, {start_, sizeof header});
}

void packet_writer::append(const record& r, std::span<const std::byte> payload,
                           std::uint32_t digest) noexcept {
  std::ranges::copy(payload, end_ + sizeof(record_header));
  append_in_place(r, digest);
}

void packet_writer::append_in_place(const record& r, std::uint32_t digest) noexcept {
  append_header(r, digest);
  end_ += r.length;
}

void packet_writer::append_header(const record& r, std::uint32_t digest) noexcept {
  auto& h = at<record_header>(static_cast<void*>(end_));
  write_record_header(h, r);
  if (format_.crc) crc_ = crc32c(crc_, bytes_of(h));
  fold(digest);
  end_ += sizeof h;
}

void packet_writer::append_body(std::span<const std::byte> body) noexcept {
  std::ranges::copy(body, end_);
  if (format_.crc) fold(crc32c(crc32c_start, body));
  end_ += body.size();
}

void packet_writer::fold(std::uint32_t digest) noexcept {
  if (format_.crc) crc_ = fold_in(crc_, digest);
}

std::size_t packet_writer::finish() noexcept {
  if (format_.crc) {
    const be32 trailer = trailer_of(size() + sizeof(be32));
    std::memcpy(end_, &trailer, sizeof trailer);
    end_ += sizeof trailer;
  }
  return size();
}

std::size_t packet_writer::finish_elsewhere(const record& r, std::uint32_t digest,
                                            std::byte* trailer) noexcept {
  append_header(r, digest);
  const std::size_t whole = size() + r.length + format_.trailer_size();
  if (format_.crc) {
    const be32 value = trailer_of(whole);
    std::memcpy(trailer, &value, sizeof value);
  }
  return whole;
}

/// The CRC32C of a packet of `size` bytes.
be32 packet_writer::trailer_of(std::size_t size) const noexcept {
  return crc32c_final(fold_pseudo_header(crc_, format_, size));
}

bool verify_and_trim(std::span<std::byte>& packet, const packet_format& format) noexcept {
  if (packet.size() < sizeof(channel_header) + format.trailer_size()) return false;
  if (!format.crc) return true;
  const std::size_t length = packet.size();
  const be32 trailer = at<be32>(static_cast<const void*>(&packet[length - sizeof(be32)]));
  packet = packet.first(length - sizeof(be32));

  const auto header = packet.first(sizeof(channel_header));
  const auto rest = packet.subspan(sizeof(channel_header));
  std::uint32_t crc = crc32c(crc32c_start, header);
  const auto kind = at<channel_header>(static_cast<const void*>(header.data())).kind;
  if (has_records(kind)) {
    record_reader reader(rest);
    for (record_view r; reader.next(r);) {
      crc = crc32c(crc, bytes_of(*r.header));
      crc = fold_in(crc, crc32c(crc32c_start, r.payload));
    }
    if (!reader.ok()) return false;
  } else {
    crc = fold_in(crc, crc32c(crc32c_start, rest));
  }
  return crc32c_final(fold_pseudo_header(crc, format, length)) == trailer;
}

}  // namespace nd::wire
