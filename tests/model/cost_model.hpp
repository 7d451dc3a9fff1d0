// What an lcore's work costs, in TSC cycles: measured on a machine, and given to the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nd::model {

// COST(name, help): one row makes the field, its name in the input, and the table in
// docs/scaling.md.
#define ND_COSTS(COST)                                                                   \
  COST(idle_turn, "a turn of the loop that finds nothing")                               \
  COST(send_packet, "a data packet sent: socket, channel, headers, device")              \
  COST(send_byte, "a byte of its frame")                                                 \
  COST(collect_packet, "and this more where another core has written its bytes")         \
  COST(receive_packet, "a data packet received: device, headers, channel, socket")       \
  COST(receive_byte, "a byte of its frame: checksum, and the copy of devices that copy") \
  COST(send_ack, "a packet that the receiver sends: acknowledgements and grants")        \
  COST(receive_ack, "such a packet, received")                                           \
  COST(write_packet, "a segment that the application fills")                             \
  COST(write_byte, "a byte of it: copy and CRC32C")                                      \
  COST(read_packet, "an mbuf that the application reads")                                \
  COST(read_byte, "a byte of it")                                                        \
  COST(order_write, "a segment that the application gives to a dcopy lcore")             \
  COST(order_read, "an mbuf that it has a dcopy lcore read")                             \
  COST(dcopy_write, "a byte that a dcopy lcore copies for a write, with its CRC32C")     \
  COST(dcopy_read, "a byte that it copies for a read")                                   \
  COST(hand_packet, "a packet given to another lcore, at either end of the hand-over")   \
  COST(wire_packet, "a packet of a device that the measuring core plays; 0: a NIC")      \
  COST(wire_byte, "a byte of it")

struct cost_model {
  double hz = 1e9;  ///< of the TSC
#define ND_FIELD(name, help) double name = 0;
  ND_COSTS(ND_FIELD)
#undef ND_FIELD

  /// Calls `f(name, help, double&)` for each row.
  template <class F>
  void for_each(F&& f) {
#define ND_ROW(name, help) f(std::string_view(#name), std::string_view(help), name);
    ND_COSTS(ND_ROW)
#undef ND_ROW
  }
  double nanoseconds(double cycles) const noexcept {
    return cycles * 1e9 / hz;
  }
};

/// What an io lcore has done, counted by its host's counters. Data goes one way: what else there
/// is are small packets with acknowledgements and grants.
struct io_work {
  std::uint64_t packets_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t packets_received = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t handed = 0;  ///< to other lcores, and from them

  io_work operator-(const io_work& o) const noexcept {
    return {packets_sent - o.packets_sent, bytes_sent - o.bytes_sent,
            packets_received - o.packets_received, bytes_received - o.bytes_received,
            handed - o.handed};
  }
  /// `foreign`: what is sent was written by other cores.
  double cycles(const cost_model& c, bool sender, bool foreign) const noexcept {
    const auto n = [](std::uint64_t count) { return static_cast<double>(count); };
    const double own = sender
                           ? n(packets_sent) * (c.send_packet + (foreign ? c.collect_packet : 0)) +
                                 n(bytes_sent) * c.send_byte + n(packets_received) * c.receive_ack
                           : n(packets_received) * (c.receive_packet + c.wire_packet) +
                                 n(bytes_received) * (c.receive_byte + c.wire_byte) +
                                 n(packets_sent) * c.send_ack;
    return own + n(handed) * c.hand_packet;
  }
};

}  // namespace nd::model
