// Frames reach the lcore whose they are, and leave by the lcore that has the device.
#include "lcore/frame_switch.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "unit/support/made_packet.hpp"
#include "unit/support/pool.hpp"
#include "wire/icmp.hpp"

namespace nd::test {
namespace {

using core::for_all;
using core::lcore_of_frame;

constexpr unsigned lcores = 4;

/// A device that gives what is put into it, and keeps what it is given.
class kept_device final : public port {
 public:
  const port_capabilities& capabilities() const noexcept override { return capabilities_; }
  std::size_t rx_burst(instant, std::span<rte_mbuf*> frames) override {
    return take(arriving, frames);
  }
  std::size_t rx_urgent(instant, std::span<rte_mbuf*> frames) override {
    return take(arriving_urgent, frames);
  }
  std::size_t tx_burst(instant, std::span<rte_mbuf*> frames) override { return keep(sent, frames); }
  std::size_t tx_urgent(instant, std::span<rte_mbuf*> frames) override {
    return keep(sent_urgent, frames);
  }
  void tick(instant) override { ++ticks; }
  bool link_up() const noexcept override { return up; }

  std::vector<rte_mbuf*> arriving, arriving_urgent, sent, sent_urgent;
  std::size_t takes = ~std::size_t{0};  ///< frames that it still sends
  unsigned ticks = 0;
  bool up = true;

 private:
  static std::size_t take(std::vector<rte_mbuf*>& from, std::span<rte_mbuf*> frames) {
    const std::size_t n = std::min(from.size(), frames.size());
    std::copy_n(from.begin(), n, frames.begin());
    from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }
  std::size_t keep(std::vector<rte_mbuf*>& to, std::span<rte_mbuf*> frames) {
    const std::size_t n = std::min(takes, frames.size());
    takes -= n;
    to.insert(to.end(), frames.begin(), frames.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }
  port_capabilities capabilities_{};
};

struct switched {
  explicit switched(std::size_t devices_wanted = 1, bool udp = false)
      : host(made_address(0, udp)), devices(devices_wanted) {
    std::vector<port*> all;
    for (kept_device& d : devices) all.push_back(&d);
    ports = core::share_devices(exchange, host, all);
  }
  ~switched() {
    for (kept_device& d : devices)
      for (auto* list : {&d.arriving, &d.arriving_urgent, &d.sent, &d.sent_urgent})
        for (rte_mbuf* m : *list) rte_pktmbuf_free(m);
  }

  rte_mbuf* frame(std::span<const std::byte> bytes) { return mbufs.packet(bytes); }
  /// Of host 1, with these in its headers.
  rte_mbuf* packet(wire::packet_kind kind, std::uint32_t channel, std::uint32_t senders = 0) {
    wire::channel_header h{};
    h.version = wire::nd_version;
    h.kind = kind;
    h.channel = channel;
    wire::handshake_body body{};
    body.channel = senders;
    return frame(made_packet(made_address(1, host.udp), 0, h, [&](wire::packet_writer& w) {
      if (wire::is_handshake(kind)) w.append_body(wire::bytes_of(body));
    }));
  }
  rte_mbuf* arp() {
    std::vector<std::byte> bytes(wire::ethernet_min_frame);
    wire::at<wire::ethernet_header>(static_cast<void*>(bytes.data())).type = wire::ethertype_arp;
    return frame(bytes);
  }
  unsigned lcore_of(rte_mbuf* m) {
    const unsigned lcore = lcore_of_frame(m, host, lcores);
    rte_pktmbuf_free(m);
    return lcore;
  }
  std::vector<rte_mbuf*> receive(unsigned lcore, bool urgent = false) {
    std::vector<rte_mbuf*> frames(64);
    frames.resize(urgent ? ports[lcore]->rx_urgent(now, frames)
                         : ports[lcore]->rx_burst(now, frames));
    return frames;
  }
  std::size_t send(unsigned lcore, std::vector<rte_mbuf*> frames, bool urgent = false) {
    return urgent ? ports[lcore]->tx_urgent(now, frames) : ports[lcore]->tx_burst(now, frames);
  }

  test::pool mbufs{3000};
  core::lcore_exchange exchange{lcores};
  core::host_address host;
  std::vector<kept_device> devices;
  std::vector<std::unique_ptr<core::switched_port>> ports;
  instant now{1};
};

}  // namespace

TEST_CASE("a frame is its channel's lcore's, and a handshake goes by the sender's channel",
          "[switch]") {
  using wire::packet_kind;
  const bool udp = GENERATE(false, true);
  switched s(1, udp);
  for (std::uint32_t id = 1; id < 100; ++id) {
    CHECK(s.lcore_of(s.packet(packet_kind::data, id)) == (id - 1) % lcores);
    CHECK(s.lcore_of(s.packet(packet_kind::ack, id)) == (id - 1) % lcores);
    CHECK(s.lcore_of(s.packet(packet_kind::cookie_ack, id, 7)) == (id - 1) % lcores);
    CHECK(s.lcore_of(s.packet(packet_kind::init, 0, id)) == (id - 1) % lcores);
    CHECK(s.lcore_of(s.packet(packet_kind::cookie_echo, 0, id)) == (id - 1) % lcores);
  }
  CHECK(s.lcore_of(s.packet(packet_kind::abort, 3)) == for_all);
  CHECK(s.lcore_of(s.arp()) == for_all);
}

TEST_CASE("what is cut off anywhere, or is not ND's, is the first lcore's", "[switch]") {
  const bool udp = GENERATE(false, true);
  switched s(1, udp);
  rte_mbuf* const whole = s.packet(wire::packet_kind::init, 0, 3);
  REQUIRE(lcore_of_frame(whole, s.host, lcores) == 2);
  const auto bytes = mbuf_bytes(whole);
  const std::vector<std::byte> kept(bytes.begin(), bytes.end());
  rte_pktmbuf_free(whole);
  const std::size_t needed = sizeof(wire::ethernet_header) + s.host.ip_overhead() +
                             sizeof(wire::channel_header) + sizeof(wire::handshake_body);
  for (std::size_t n = 0; n <= kept.size(); ++n)
    CHECK(s.lcore_of(s.frame(std::span(kept).first(n))) == (n < needed ? 0 : 2));
  std::vector<std::byte> other = kept;
  wire::at<wire::ipv4_header>(static_cast<void*>(&other[sizeof(wire::ethernet_header)])).protocol =
      wire::protocol_icmp;
  CHECK(s.lcore_of(s.frame(other)) == 0);
}

TEST_CASE("an lcore receives its own frames, whoever's device brings them, each lane apart",
          "[switch]") {
  const std::size_t devices = GENERATE(std::size_t{1}, std::size_t{lcores});
  const bool urgent = GENERATE(false, true);
  switched s(devices);
  for (std::size_t d = 0; d < devices; ++d)
    for (std::uint32_t id = 1; id <= lcores; ++id)
      (urgent ? s.devices[d].arriving_urgent : s.devices[d].arriving)
          .push_back(s.packet(wire::packet_kind::data, id));
  std::vector<std::size_t> got(lcores);
  for (unsigned turn = 0; turn < 2; ++turn)
    for (unsigned lcore = 0; lcore < lcores; ++lcore) {
      CHECK(s.receive(lcore, !urgent).empty());
      for (rte_mbuf* m : s.receive(lcore, urgent)) {
        CHECK(s.lcore_of(m) == lcore);
        ++got[lcore];
      }
    }
  CHECK(got == std::vector<std::size_t>(lcores, devices));
}

TEST_CASE("ARP reaches every lcore, and its mbuf is freed when the last one has", "[switch]") {
  switched s;
  s.devices[0].arriving.push_back(s.arp());
  std::vector<rte_mbuf*> got;
  for (unsigned lcore = 0; lcore < lcores; ++lcore)
    for (rte_mbuf* m : s.receive(lcore)) got.push_back(m);
  REQUIRE(got.size() == lcores);
  for (rte_mbuf* m : got) {
    CHECK(s.mbufs.in_use() == 1);
    rte_pktmbuf_free(m);
  }
  CHECK(s.mbufs.in_use() == 0);
}

TEST_CASE("frames that an lcore does not take in time are lost, and counted", "[switch]") {
  switched s;
  for (unsigned n = 0; n < core::lcore_exchange::frames * 2; ++n) {
    s.devices[0].arriving.push_back(s.packet(wire::packet_kind::data, 2));
    if (n % 32 == 0) s.receive(0);
  }
  while (!s.devices[0].arriving.empty()) s.receive(0);
  const std::uint64_t dropped = s.ports[0]->rx_dropped();
  CHECK(dropped > 0);
  std::size_t got = 0;
  for (auto frames = s.receive(1); !frames.empty(); frames = s.receive(1)) {
    got += frames.size();
    for (rte_mbuf* m : frames) rte_pktmbuf_free(m);
  }
  CHECK(got + dropped == core::lcore_exchange::frames * 2);
  CHECK(s.mbufs.in_use() == 0);
}

TEST_CASE("an lcore without a device sends by the first one's, in order, and none are lost",
          "[switch]") {
  const bool urgent = GENERATE(false, true);
  switched s;
  auto& sent = urgent ? s.devices[0].sent_urgent : s.devices[0].sent;
  std::vector<rte_mbuf*> frames;
  for (std::uint32_t n = 0; n < 100; ++n)
    frames.push_back(s.packet(wire::packet_kind::data, n + 1));
  REQUIRE(s.send(2, frames, urgent) == frames.size());
  CHECK(sent.empty());
  CHECK(s.ports[0]->has_work());
  s.devices[0].takes = 10;  // full for now
  s.ports[0]->tick(s.now);
  CHECK(sent.size() == 10);
  CHECK(s.ports[0]->has_work());
  s.devices[0].takes = ~std::size_t{0};
  s.ports[0]->tick(s.now);
  CHECK(sent == frames);
  CHECK_FALSE(s.ports[0]->has_work());
  CHECK(s.devices[0].ticks == 2);
}

TEST_CASE("others' frames leave before the first lcore's own", "[switch]") {
  switched s;
  rte_mbuf* const other = s.packet(wire::packet_kind::data, 1);
  rte_mbuf* const own = s.packet(wire::packet_kind::data, 2);
  s.send(3, {other});
  s.send(0, {own});
  CHECK(s.devices[0].sent == std::vector{other, own});
}

TEST_CASE("an lcore whose frames nobody takes keeps them", "[switch]") {
  switched s;
  s.devices[0].takes = 0;
  std::size_t taken = 0;
  std::vector<rte_mbuf*> left;
  for (unsigned n = 0; n < core::lcore_exchange::frames * 3 / 2; ++n) {
    rte_mbuf* const m = s.packet(wire::packet_kind::data, 1);
    if (s.send(1, {m}) == 1)
      ++taken;
    else
      left.push_back(m);
  }
  CHECK(taken >= core::lcore_exchange::frames);
  CHECK(taken < core::lcore_exchange::frames * 3 / 2);
  for (rte_mbuf* m : left) rte_pktmbuf_free(m);
  CHECK(s.mbufs.in_use() == taken);  // in the ring: freed with it
}

TEST_CASE("the link is as the lcore with the device saw it last", "[switch]") {
  switched s;
  CHECK(s.ports[3]->link_up());
  s.devices[0].up = false;
  CHECK(s.ports[3]->link_up());
  CHECK_FALSE(s.ports[0]->link_up());
  CHECK_FALSE(s.ports[3]->link_up());
}

}  // namespace nd::test
