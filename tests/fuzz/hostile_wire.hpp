// What lies between two made hosts: it changes, drops and repeats their frames, and makes up
// others, as the input says.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "fuzz/input.hpp"
#include "unit/support/host_pair.hpp"
#include "wire/packet_format.hpp"

namespace nd::fuzz {

/// The argument of each step is the host whose frames it is about, as their receiver.
class hostile_wire {
 public:
  /// Addresses that packets may come from, from host 0's on.
  static constexpr std::size_t addresses = 12;

  hostile_wire(input& in, test::host_pair& pair);
  ~hostile_wire() { pair_.net.on_frame = nullptr; }
  hostile_wire(const hostile_wire&) = delete;
  hostile_wire& operator=(const hostile_wire&) = delete;

  /// Bytes of the next packet; its checksums are righted.
  void rewrite_next(std::size_t to);
  void drop_next(std::size_t to) { drop_[to] = in_.below(16); }
  /// A frame of the past, perhaps for another channel or of a host that was.
  void replay(std::size_t to);
  void raw_frame(std::size_t to);
  void made_packet(std::size_t to);
  void made_arp(std::size_t to);
  void made_icmp(std::size_t to);
  /// What was announced does not happen any more.
  void calm();

 private:
  static constexpr std::size_t most_history = 16;

  /// One byte of a packet to come.
  struct rewrite {
    std::uint16_t at;  ///< from the channel header on
    std::uint8_t value;
    bool add;  ///< to what is there
  };

  void meet(test::made_frame& f, test::frame_fate& fate);
  void remember(test::made_frame& f, std::size_t from);
  core::host_address address_of(std::size_t who) const;
  void inject(std::size_t to, std::vector<std::byte> frame);
  std::uint32_t around(std::uint32_t right);
  std::uint32_t stranger();
  wire::handshake_body made_body();
  void append_record(wire::packet_writer& writer, const wire::record_header& last);

  input& in_;
  test::host_pair& pair_;
  bool checksums_;

  std::array<std::deque<std::vector<std::byte>>, 2> history_;  ///< by sender
  std::array<wire::channel_header, 2> header_{};               ///< the last one, by sender
  std::array<wire::record_header, 2> record_{};
  std::uint64_t connection_ = 0;
  std::array<std::vector<rewrite>, 2> rewrites_;  ///< by receiver
  std::array<unsigned, 2> drop_{};                ///< frames to come, by receiver
};

}  // namespace nd::fuzz
