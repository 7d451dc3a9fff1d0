// ARP and addresses: who is found, who is not, and how soon that is said.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

std::vector<std::byte> arp_frame(std::uint16_t operation, const mac_address& from,
                                 std::uint32_t from_ip, std::uint32_t target_ip) {
  std::vector<std::byte> frame(wire::ethernet_min_frame);
  auto& e = wire::at<wire::ethernet_header>(static_cast<void*>(frame.data()));
  e.destination = mac_broadcast;
  e.source = from;
  e.type = wire::ethertype_arp;
  wire::at<wire::arp_packet>(static_cast<void*>(frame.data() + sizeof e)) =
      wire::make_arp(operation, from, from_ip, {}, target_ip);
  return frame;
}

TEST_CASE("An address is resolved, with retries", "[pair][arp]") {
  const int lost = GENERATE(0, 1, 2, 4);
  CAPTURE(lost);
  host_pair p({.static_neighbors = false});
  int arps = 0;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    fate.drop = f.is_arp() && f.from == 0 && arps++ < lost;
  };
  const instant start = p.now;
  {
    app_listener listener(p.host(1), 80);
    app_socket s = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return s.connected(); }, duration::seconds(1)));
    const duration took = p.now - start;
    CHECK(took < p.values.arp_retry * lost + duration::milliseconds(20));
    CHECK(took >= p.values.arp_retry * lost);
    CHECK(p.stats(0).arp_requests_sent.value() == static_cast<std::uint64_t>(lost) + 1);
    CHECK(p.stats(1).arp_replies_sent.value() == 1);
    CHECK(p.stats(1).arp_requests_sent.value() == 0);  // it learnt from the handshake
  }
  require_nothing_left(p);
}

TEST_CASE("Nobody has the address: host unreachable", "[pair][arp]") {
  host_pair p({.static_neighbors = false});
  p.net.on_frame = [](made_frame& f, frame_fate& fate) { fate.drop = f.is_arp(); };
  const instant start = p.now;
  {
    app_socket s = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return s.failed(); }, duration::seconds(4)));
    CHECK(s.error() == errc::host_unreachable);
    const duration took = p.now - start;
    CHECK(took < p.values.arp_retry * (p.values.arp_tries + 1));
    CHECK(p.stats(0).arp_requests_sent.value() == static_cast<std::uint64_t>(p.values.arp_tries));
  }
  // Later it is there.
  p.net.on_frame = nullptr;
  {
    connection c(p);
    REQUIRE(c.client.connected());
  }
  require_nothing_left(p);
}

TEST_CASE("An address of another network is unreachable at once", "[pair][arp]") {
  host_pair p({.static_neighbors = false});
  {
    app_socket s(p.host(0), 0x0b000001, 80, 0, p.values);
    REQUIRE(p.run_until([&] { return s.failed(); }, duration::milliseconds(1)));
    REQUIRE(s.error() == errc::host_unreachable);
    app_socket self(p.host(0), host_pair::ip_of(0), 80, 0, p.values);
    REQUIRE(p.run_until([&] { return self.failed(); }, duration::milliseconds(1)));
    REQUIRE(self.error() == errc::address_not_available);
    CHECK(p.stats(0).no_route.value() == 1);
    const std::vector<event> events = p.host(0).take_events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == event_kind::no_route);
    CHECK(events[0].ip == 0x0b000001);
  }
  REQUIRE(p.net.frames() == 0);
  require_nothing_left(p);
}

TEST_CASE("Requests for this address are answered, others are not", "[pair][arp]") {
  host_pair p({.static_neighbors = false});
  const mac_address stranger{2, 9, 9, 9, 9, 9};
  p.net.inject(p.now, 1, arp_frame(wire::arp_request, stranger, 0x0a000063, host_pair::ip_of(1)));
  p.net.inject(p.now, 1, arp_frame(wire::arp_request, stranger, 0x0a000063, 0x0a000055));
  p.run_for(duration::milliseconds(1));
  REQUIRE(p.stats(1).arp_received.value() == 2);
  REQUIRE(p.stats(1).arp_replies_sent.value() == 1);
  require_nothing_left(p);
}

TEST_CASE("A peer that changes its MAC address is followed; a static one is not", "[pair][arp]") {
  const bool fixed = GENERATE(false, true);
  CAPTURE(fixed);
  host_pair p({.static_neighbors = fixed});
  {
    connection c(p);
    const mac_address other{2, 9, 9, 9, 9, 9};
    mac_address seen{};
    p.net.on_frame = [&](made_frame& f, frame_fate&) {
      if (f.from == 0 && !f.is_arp())
        seen = wire::at<wire::ethernet_header>(static_cast<void*>(f.bytes.data())).destination;
    };
    p.net.inject(p.now, 0,
                 arp_frame(wire::arp_reply, other, host_pair::ip_of(1), host_pair::ip_of(0)));
    p.run_for(duration::milliseconds(1));
    c.client.write(bytes_of_text("x"));
    p.run_for(duration::microseconds(100));
    CHECK(seen == (fixed ? host_pair::mac_of(1) : other));
    p.net.inject(
        p.now, 0,
        arp_frame(wire::arp_reply, host_pair::mac_of(1), host_pair::ip_of(1), host_pair::ip_of(0)));
    CHECK(read_all(p, c.server, 1) == bytes_of_text("x"));
    p.net.on_frame = nullptr;  // it refers to what ends here
  }
  require_nothing_left(p);
}

TEST_CASE("The MAC address of a peer that was lost is asked for again", "[pair][arp]") {
  host_pair p({.static_neighbors = false});
  {
    connection c(p);
    REQUIRE(p.stats(0).arp_requests_sent.value() == 1);
    p.net.on_frame = [](made_frame&, frame_fate& fate) { fate.drop = true; };
    c.client.write(bytes_of_text("lost"));
    REQUIRE(
        p.run_until([&] { return c.client.failed() && c.server.failed(); }, duration::seconds(2)));
    p.net.on_frame = nullptr;
    app_socket again = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return again.connected(); }, duration::seconds(1)));
    CHECK(p.stats(0).arp_requests_sent.value() == 2);
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
