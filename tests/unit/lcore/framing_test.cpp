#include "lcore/framing.hpp"

#include <catch2/catch.hpp>
#include <cstring>

#include "unit/support/pool.hpp"
#include "wire/packet_format.hpp"

using namespace nd;
using namespace nd::core;

namespace {

const host_address sender{
    .ip = 0x0a130002, .mac = {2, 0, 0, 0, 0, 2}, .udp = true, .udp_port = 9019};
const host_address receiver{
    .ip = 0x0a130001, .mac = {2, 0, 0, 0, 0, 1}, .udp = true, .udp_port = 9019};

/// A frame from `sender` to `receiver`; with `offload` as the device gets it, the checksum not
/// finished.
mbuf_ptr frame(test::pool& pool, bool offload) {
  mbuf_ptr m(rte_pktmbuf_alloc(pool.get()));
  REQUIRE(m != nullptr);
  const wire::channel_header header{};
  std::memcpy(rte_pktmbuf_append(m.get(), sizeof header), &header, sizeof header);
  write_frame(m.get(), sender,
              {.mac = receiver.mac, .ip = receiver.ip, .udp_source = 50000, .dscp_ecn = 0},
              {.mac = sender.mac, .tx_udp_checksum = offload});
  CHECK(((m->ol_flags & RTE_MBUF_F_TX_UDP_CKSUM) != 0) == offload);
  return m;
}

frame_verdict verdict(test::pool& pool, bool offload, std::uint64_t flags) {
  const mbuf_ptr m = frame(pool, offload);
  m->ol_flags = flags;
  received_packet packet;
  return parse_frame(m.get(), receiver, packet);
}

}  // namespace

TEST_CASE("a device that vouches for a UDP checksum is believed") {
  test::pool pool(16);
  // Nothing said: the stack checks by itself.
  CHECK(verdict(pool, false, 0) == frame_verdict::nd_packet);
  CHECK(verdict(pool, true, 0) == frame_verdict::bad_checksum);
  CHECK(verdict(pool, true, RTE_MBUF_F_RX_L4_CKSUM_GOOD) == frame_verdict::nd_packet);
  // BAD is looked at again.
  CHECK(verdict(pool, false, RTE_MBUF_F_RX_L4_CKSUM_BAD) == frame_verdict::nd_packet);
  CHECK(verdict(pool, true, RTE_MBUF_F_RX_L4_CKSUM_BAD) == frame_verdict::bad_checksum);
  // Not finished, but the bytes never left the machine.
  CHECK(verdict(pool, true, RTE_MBUF_F_RX_L4_CKSUM_NONE) == frame_verdict::nd_packet);
  // Neither right nor unfinished.
  const mbuf_ptr m = frame(pool, true);
  m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
  std::byte& checksum = *rte_pktmbuf_mtod_offset(m.get(), std::byte*, 14 + 20 + 6);
  checksum ^= std::byte{1};
  received_packet packet;
  CHECK(parse_frame(m.get(), receiver, packet) == frame_verdict::bad_checksum);
}

TEST_CASE("a packet of which the device has kept the beginning is told from one that cannot be") {
  test::pool pool(16);
  const mbuf_ptr m = frame(pool, false);
  const std::uint16_t whole = m->data_len;
  received_packet packet;
  for (std::uint16_t left = whole; left-- > 0;) {
    m->data_len = left;
    m->pkt_len = left;
    CAPTURE(left);
    const frame_verdict v = parse_frame(m.get(), receiver, packet);
    CHECK(v == (left < sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header)
                    ? frame_verdict::malformed
                    : frame_verdict::cut));
    if (v != frame_verdict::cut) continue;
    CHECK(packet.source_ip == sender.ip);
    CHECK(packet.length == whole - sizeof(wire::ethernet_header));
  }
  // One that is cut and somebody else's is somebody else's.
  host_address other = receiver;
  other.ip += 1;
  m->data_len = static_cast<std::uint16_t>(whole - 1);
  m->pkt_len = m->data_len;
  CHECK(parse_frame(m.get(), other, packet) == frame_verdict::not_ours);
}
