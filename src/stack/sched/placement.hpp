// Which io lcore of a host a channel and a socket belong to: known from the packet alone, so that
// no table is shared.
#pragma once

#include <cstdint>

namespace nd::core {

/// The most that a host can have: the id of a connection says on which one it began.
inline constexpr unsigned most_io_lcores = 16;

/// One of a host's io lcores. Number 0 leads: it answers for the host where one answer is enough.
struct lcore_place {
  unsigned index = 0;
  unsigned count = 1;

  bool leads() const noexcept { return index == 0; }
};

/// Of a channel, by the id that this host gave it. Ids begin at 1.
constexpr unsigned lcore_of_channel(std::uint32_t id, unsigned lcores) noexcept {
  return (id - 1) % lcores;
}
/// The ids that an lcore gives, by their number on it from 0 on, and back.
constexpr std::uint32_t channel_id(std::uint32_t number, lcore_place place) noexcept {
  return number * place.count + place.index + 1;
}
constexpr std::uint32_t channel_number(std::uint32_t id, unsigned lcores) noexcept {
  return (id - 1) / lcores;
}

/// Ids of connections are given in turn on each lcore, from a random one on.
constexpr unsigned lcore_bits = 4;
constexpr std::uint64_t first_connection(unsigned lcore, std::uint64_t random) noexcept {
  return std::uint64_t{lcore} << (64 - lcore_bits) | random >> (lcore_bits + 1);
}
constexpr unsigned lcore_of_connection(std::uint64_t id) noexcept {
  return static_cast<unsigned>(id >> (64 - lcore_bits));
}

/// Of a socket, by the ports of its two ends. The same at both: between hosts with as many lcores
/// a socket has the same number at either end, as the channels between them do, and no record has
/// to change lcores.
constexpr unsigned lcore_of_ports(std::uint16_t a, std::uint16_t b, unsigned lcores) noexcept {
  constexpr std::uint32_t golden = 0x9e3779b1;  // Knuth's multiplicative hash
  return ((std::uint32_t{a} + b) * golden >> 12) % lcores;
}

}  // namespace nd::core
