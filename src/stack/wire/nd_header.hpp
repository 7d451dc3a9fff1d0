// Our own headers: channel header, record header, and the bodies of control packets and records.
// docs/wire.md says who may send what when.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "wire/endian.hpp"

namespace nd::wire {

inline constexpr std::uint8_t nd_version = 1;

/// Kinds of packets.
enum class packet_kind : std::uint8_t {
  init = 1,     ///< handshake, RFC 9260 section 5.1: no state is kept for it
  init_ack,     ///< carries the cookie
  cookie_echo,  ///< proves that its sender hears what is sent to its address
  cookie_ack,   ///< the channel is open
  data,         ///< numbered, acknowledged; records, or none (a ping)
  ack,          ///< acknowledges only; not numbered
  probe,        ///< numbered; padding of the size whose passing is in question (RFC 8899)
  close,        ///< acknowledges for the last time: the sender's runtime ends. Answered by another
  abort,        ///< "I know no such channel": reflects channel and tag of what provoked it
};

struct channel_header {
  std::uint8_t version;
  packet_kind kind;
  be16 ack_delay;  ///< units of 256 ns, from the largest number's arrival to this packet
  be32 channel;    ///< the receiver's id for this channel; steers to its lcore
  be32 tag;        ///< the receiver's verification tag
  be32 number;     ///< packet number, low 32 bits; `ack`: that of the next numbered packet
  be32 floor;      ///< all numbers below are acknowledged or given up by the sender of this
  be32 ack;        ///< all numbers of the other direction below this arrived or were given up
  be32 ce_bytes;   ///< bytes received with CE so far, low 32 bits (RFC 8257, section 3.2)
};
static_assert(sizeof(channel_header) == 28 && alignof(channel_header) == 1);

inline constexpr std::size_t cookie_mac_size = 16;

/// Body of the four handshake packets. All have the same size, so an answer is never larger than
/// what provoked it.
struct handshake_body {
  be64 epoch;    ///< when the sender's process started; later boots have larger ones
  be32 channel;  ///< the sender's id for the channel
  be32 tag;      ///< that packets to the sender must carry
  be16 mtu;      ///< largest IP packet the sender's device takes
  std::uint8_t traffic_class;
  std::uint8_t flags;  ///< handshake_no_checksum
  be32 first_number;   ///< of the sender's numbered packets
  be64 cookie_time;    ///< responder's clock; zero but in INIT_ACK and COOKIE_ECHO
  std::array<std::byte, cookie_mac_size> cookie_mac;
};
static_assert(sizeof(handshake_body) == 48 && alignof(handshake_body) == 1);

/// The sender is willing to leave packet checksums out (both must be).
inline constexpr std::uint8_t handshake_no_checksum = 1;

/// Types of records: NetChannel's `ndhdr` types, and ours from 40 on.
enum class record_type : std::uint8_t {
  data = 20,
  token = 21,         ///< reserved, as in NetChannel; skipped
  notification = 22,  ///< the sender has bytes and no credit
  ack = 23,           ///< carries a grant only
  sync = 24,
  sync_ack = 25,
  rts = 26,     ///< reserved
  grant = 27,   ///< reserved
  accept = 28,  ///< reserved
  fin = 29,
  reset = 40,
  ack_ranges = 41,  ///< of the channel; ports are zero
};

/// NetChannel's `ndhdr`.
struct record_header {
  be16 source;
  be16 dest;
  be32 seq;
  be32 grant_seq;
  std::uint8_t doff;
  record_type type;
  be16 len;
};
static_assert(sizeof(record_header) == 16 && alignof(record_header) == 1);

inline constexpr std::uint8_t record_doff = sizeof(record_header) << 2;

struct sync_body {
  be64 connection;  ///< the connection's id: a repeated SYNC is recognised by it
  be64 grant;       ///< offset up to which the receiver of this may send
  std::uint8_t traffic_class;
};
struct sync_ack_body {
  be64 connection;
  be64 grant;
};
struct notification_body {
  be64 connection;
  be64 until;  ///< offset behind the last byte that waits
};
struct fin_body {
  be64 final_offset;
};
enum class reset_reason : std::uint8_t {
  refused = 1,
  aborted = 2,
  protocol_error = 3,
  unknown = 4,  ///< in answer to SYNC_ACK or NOTIFICATION: there is no such connection (any more)
};
struct reset_body {
  be64 connection;
  reset_reason reason;
};
struct ack_range {
  be32 first;
  be32 last;  ///< inclusive
};
static_assert(sizeof(sync_body) == 17 && sizeof(sync_ack_body) == 16 && sizeof(fin_body) == 8 &&
              sizeof(notification_body) == 16 && sizeof(reset_body) == 9 && sizeof(ack_range) == 8);
static_assert(alignof(sync_body) == 1 && alignof(reset_body) == 1 && alignof(ack_range) == 1);

inline constexpr std::size_t max_ack_ranges = 32;

/// A record within a received packet.
struct record_view {
  const record_header* header;
  std::span<std::byte> payload;

  record_type type() const noexcept { return header->type; }
  /// The payload as `T`; null when it is too short.
  template <class T>
  const T* body() const noexcept {
    return payload.size() < sizeof(T) ? nullptr : &at<T>(static_cast<const void*>(payload.data()));
  }
};

/// Walks the records of a packet. A malformed record ends the walk with ok() false.
class record_reader {
 public:
  explicit record_reader(std::span<std::byte> records) noexcept : rest_(records) {}

  bool next(record_view& out) noexcept {
    if (rest_.empty()) return false;
    if (rest_.size() < sizeof(record_header)) return fail();
    auto* h = &at<record_header>(static_cast<const void*>(rest_.data()));
    const std::size_t header_length = h->doff >> 2;
    const std::size_t length = header_length + h->len;
    if (header_length < sizeof(record_header) || (h->doff & 3) != 0 || length > rest_.size())
      return fail();
    out = {h, rest_.subspan(header_length, h->len)};
    rest_ = rest_.subspan(length);
    return true;
  }
  bool ok() const noexcept { return ok_; }
  /// Nothing follows the record that next() gave last.
  bool at_end() const noexcept { return rest_.empty(); }

 private:
  bool fail() noexcept {
    ok_ = false;
    rest_ = {};
    return false;
  }
  std::span<std::byte> rest_;
  bool ok_ = true;
};

}  // namespace nd::wire
