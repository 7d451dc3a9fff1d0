// A record on its way (NetChannel's nd_conn_request): made by a socket, carried by a channel.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/seq.hpp"
#include "wire/nd_header.hpp"

namespace nd::wire {

/// Names a socket of its lcore; a reused index has another generation. Zero: nobody.
struct socket_handle {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
  bool operator==(const socket_handle&) const noexcept = default;
  bool is_none() const noexcept { return generation == 0; }
};

/// What is to be sent, and who wants to know what became of it. Either `segment` (DATA, the bytes
/// stay the socket's) or a small body.
struct record {
  socket_handle owner;
  rte_mbuf* segment = nullptr;
  std::uint64_t seq = 0;    ///< stream offset
  std::uint64_t grant = 0;  ///< offset up to which the peer may send
  std::uint16_t source = 0;
  std::uint16_t dest = 0;
  std::uint16_t length = 0;  ///< payload bytes
  record_type type = record_type::data;
  bool retransmission = false;
  std::uint8_t home = own;         ///< the io lcore of its owner, where that is not the channel's
  std::uint8_t traffic_class = 0;  ///< of one that was forwarded
  std::array<std::byte, 22> body{};

  static constexpr std::uint8_t own = 0xff;

  template <class T>
  void set_body(const T& value) noexcept {
    static_assert(sizeof(T) <= sizeof body);
    std::memcpy(body.data(), &value, sizeof value);
    length = sizeof value;
  }
};
static_assert(sizeof(record) == 64);

inline void write_record_header(record_header& h, const record& r) noexcept {
  h.source = r.source;
  h.dest = r.dest;
  h.seq = seq32::low_bits_of(r.seq).raw();
  h.grant_seq = seq32::low_bits_of(r.grant).raw();
  h.doff = record_doff;
  h.type = r.type;
  h.len = r.length;
}

}  // namespace nd::wire
