// Peers behind a router, and a router that is not there.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

constexpr std::uint32_t gateway_ip = 0x0a0000fe;
constexpr mac_address router_mac{2, 7, 7, 7, 7, 7};

/// Two hosts on links of their own, with a router in between that answers ARP and passes frames on.
struct routed {
  using configure = std::function<void(std::size_t, core::host_config&)>;

  explicit routed(const configure& f = with_gateway)
      : pair({.static_neighbors = false, .configure = f}) {
    pair.net.on_frame = [this](made_frame& f, frame_fate& fate) {
      auto& e = wire::at<wire::ethernet_header>(static_cast<void*>(f.bytes.data()));
      if (f.is_arp()) {
        fate.drop = true;  // the other host is on another link
        const auto& arp =
            wire::at<wire::arp_packet>(static_cast<const void*>(f.bytes.data() + sizeof e));
        asked.push_back(arp.target_ip);
        if (answers && arp.target_ip == gateway_ip) answer(f.from);
        return;
      }
      if (e.destination != mac) ++strays;
      e.destination = host_pair::mac_of(1 - f.from);
      e.source = mac;
    };
  }
  static void with_gateway(std::size_t, core::host_config& c) {
    c.address.prefix = 32;
    c.gateway = gateway_ip;
  }
  /// The router says to a host where it is.
  void answer(std::size_t to) {
    std::vector<std::byte> frame(wire::ethernet_min_frame);
    auto& e = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
    e.destination = host_pair::mac_of(to);
    e.source = mac;
    e.type = wire::ethertype_arp;
    wire::at<wire::arp_packet>(static_cast<void*>(frame.data() + sizeof e)) = wire::make_arp(
        wire::arp_reply, mac, gateway_ip, host_pair::mac_of(to), host_pair::ip_of(to));
    pair.net.inject(pair.now + duration::microseconds(20), to, std::move(frame));
  }
  void end() {
    pair.net.on_frame = nullptr;
    for (std::size_t i = 0; i < 2; ++i) pair.stop(i);
    CHECK(pair.mbufs_in_use() == 0);
  }

  host_pair pair;
  mac_address mac = router_mac;
  bool answers = true;
  std::vector<std::uint32_t> asked;  ///< addresses, by ARP
  int strays = 0;                    ///< packets that were not sent to the router
};

TEST_CASE("A peer outside the prefix is reached through the gateway", "[pair][gateway]") {
  routed r;
  {
    connection c(r.pair);
    const std::vector<std::byte> text = bytes_of_text("over there");
    c.client.write(text);
    CHECK(read_all(r.pair, c.server, text.size()) == text);
    c.server.write(text);
    CHECK(read_all(r.pair, c.client, text.size()) == text);
    CHECK(r.strays == 0);
    // Nobody asks for the peer itself, and the one that was called answers where the call came
    // from.
    CHECK(r.asked == std::vector<std::uint32_t>{gateway_ip});

    // The router fails over to another machine.
    r.mac = {2, 8, 8, 8, 8, 8};
    for (std::size_t i = 0; i < 2; ++i) r.answer(i);
    r.pair.run_for(duration::milliseconds(1));
    r.strays = 0;
    c.client.write(text);
    CHECK(read_all(r.pair, c.server, text.size()) == text);
    r.pair.run_for(duration::milliseconds(1));
    CHECK(r.strays == 0);
    CHECK(r.pair.stats(0).neighbors_moved.value() == 1);
  }
  r.end();
}

TEST_CASE("A gateway that does not answer: host unreachable, and an event", "[pair][gateway]") {
  routed r;
  r.answers = false;
  {
    app_socket s = r.pair.connect(0, 80);
    REQUIRE(r.pair.run_until([&] { return s.failed(); }, duration::seconds(4)));
    CHECK(s.error() == errc::host_unreachable);
    CHECK(r.asked == std::vector<std::uint32_t>(static_cast<std::size_t>(r.pair.values.arp_tries),
                                                gateway_ip));
    const std::vector<event> events = r.pair.host(0).take_events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == event_kind::gateway_silent);
    CHECK(events[0].ip == gateway_ip);
  }
  // Later it is there.
  r.answers = true;
  {
    connection c(r.pair);
    CHECK(c.client.connected());
  }
  r.end();
}

TEST_CASE("A peer that calls from outside the prefix is answered the way it came",
          "[pair][gateway]") {
  // Host 0 has a gateway, host 1 has none.
  routed r([](std::size_t i, core::host_config& c) {
    c.address.prefix = 32;
    if (i == 0) c.gateway = gateway_ip;
  });
  {
    app_socket first = r.pair.connect(1, 80);
    REQUIRE(r.pair.run_until([&] { return first.failed(); }, duration::milliseconds(1)));
    CHECK(first.error() == errc::host_unreachable);
    CHECK(r.pair.stats(1).no_route.value() == 1);

    connection c(r.pair);
    // Another class needs channels of its own: while the peer is there, there is a way.
    app_listener listener(r.pair.host(0), 81);
    app_socket back = r.pair.connect(1, 81, 1);
    CHECK(r.pair.run_until([&] { return back.connected(); }, duration::milliseconds(10)));
    CHECK(r.strays == 0);
    CHECK(r.asked == std::vector<std::uint32_t>{gateway_ip});
  }
  r.end();
}

TEST_CASE("A static neighbour outside the prefix is reached without the gateway",
          "[pair][gateway]") {
  host_pair p({.static_neighbors = true, .configure = routed::with_gateway});
  {
    connection c(p);
    CHECK(c.client.connected());
    CHECK(p.stats(0).arp_requests_sent.value() == 0);
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
