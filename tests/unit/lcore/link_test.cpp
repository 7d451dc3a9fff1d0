// The link goes and comes, the interface goes for good, the address is shared: with another host,
// or with the kernel.
#include <deque>

#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

std::vector<event_kind> kinds(host_pair& p, std::size_t i) {
  std::vector<event_kind> out;
  for (const event& e : p.host(i).take_events()) out.push_back(e.kind);
  return out;
}

struct made_kernel final : kernel_link {
  bool has_our_address() const noexcept override { return shared; }
  void resolve(std::uint32_t ip) override { asked.push_back(ip); }
  std::optional<kernel_news> next() override {
    if (news.empty()) return std::nullopt;
    const kernel_news n = news.front();
    news.pop_front();
    return n;
  }
  bool shared = false;
  std::vector<std::uint32_t> asked;
  std::deque<kernel_news> news;
};

pair_options watching(made_kernel* kernel_of_host_0) {
  return {.static_neighbors = kernel_of_host_0 == nullptr || !kernel_of_host_0->shared,
          .configure = [kernel_of_host_0](std::size_t i, core::host_config& c) {
            c.watch_interval = duration::milliseconds(10);
            if (i == 0) c.kernel = kernel_of_host_0;
            if (i == 0 && kernel_of_host_0 != nullptr) c.values.arp_probes = 3;
          }};
}

/// Hosts that watch never rest: their sockets are gone, and nothing may be left.
void end(host_pair& p) {
  p.net.on_frame = nullptr;
  p.run_for(duration::milliseconds(20));
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("A link that goes down and up again is told once each; bytes arrive", "[pair][link]") {
  host_pair p(watching(nullptr));
  {
    connection c(p);
    p.run_for(duration::milliseconds(50));
    CHECK(kinds(p, 0).empty());
    bool cut = true;
    p.net.on_frame = [&cut](made_frame&, frame_fate& fate) { fate.drop = cut; };
    p.device(0).up = false;
    const std::vector<std::byte> text = bytes_of_text("in spite of it");
    c.client.write(text);
    p.run_for(duration::milliseconds(60));
    CHECK(kinds(p, 0) == std::vector{event_kind::link_down});
    CHECK(p.stats(0).link_downs.value() == 1);
    cut = false;
    p.device(0).up = true;
    CHECK(read_all(p, c.server, text.size()) == text);
    p.run_for(duration::milliseconds(50));
    CHECK(kinds(p, 0) == std::vector{event_kind::link_up});
    CHECK(kinds(p, 1).empty());
    p.net.on_frame = nullptr;
  }
  end(p);
}

/// Host 0 starts anew on a device without a link.
struct started_without_link {
  started_without_link()
      : pair({.static_neighbors = false, .configure = [this](std::size_t i, core::host_config& c) {
                c.watch_interval = duration::milliseconds(500);
                if (restarted && i == 0) pair.device(0).up = false;
              }}) {
    pair.stop(0);
    restarted = true;
    pair.start(0);
    pair.net.on_frame = [this](made_frame& f, frame_fate& fate) {
      fate.drop = !pair.device(0).up;
      if (f.from == 0) ++sent;
    };
  }
  bool restarted = false;
  int sent = 0;
  host_pair pair;
};

TEST_CASE("A connect waits for the link that a NIC takes its time to have", "[pair][link]") {
  const duration late = duration::milliseconds(GENERATE(5, 400, 2500));
  CAPTURE(late.ns());
  started_without_link s;
  host_pair& p = s.pair;
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80);
    p.run_for(late);
    CHECK_FALSE(client.failed());
    CHECK(s.sent == 0);  // a device without a link would keep what it is given
    p.device(0).up = true;
    // A look at the device every 10 ms, and nothing is lost any more.
    CHECK(p.run_until([&] { return client.connected(); }, duration::milliseconds(20)));
    const bool told = late > duration::milliseconds(500);
    CHECK(kinds(p, 0) == (told ? std::vector{event_kind::link_down, event_kind::link_up}
                               : std::vector<event_kind>{}));
    CHECK(p.stats(0).link_downs.value() == 0);
  }
  end(p);
}

TEST_CASE("A connect that waits for a link lets the loop sleep between looks", "[pair][link]") {
  started_without_link s;
  host_pair& p = s.pair;
  {
    app_socket client = p.connect(0, 80);
    p.run_for(duration::milliseconds(55));
    CHECK(p.host(0).next_deadline() > p.now);
    CHECK(p.host(0).next_deadline() <= p.now + duration::milliseconds(10));
    CHECK_FALSE(client.failed());
  }
  end(p);
}

TEST_CASE("A connect without a link ends at its own time, and not as unreachable", "[pair][link]") {
  started_without_link s;
  host_pair& p = s.pair;
  {
    const instant start = p.now;
    app_socket client = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return client.failed(); }, duration::seconds(5)));
    CHECK(client.error() == errc::timed_out);
    CHECK(p.now - start >= p.values.connect_timeout);
    CHECK(kinds(p, 0) == std::vector{event_kind::link_down});
    CHECK(p.stats(0).arp_failed.value() == 0);
  }
  end(p);
}

TEST_CASE("A removed interface ends all that waits on it with no_device", "[pair][link]") {
  made_kernel kernel;
  host_pair p(watching(&kernel));
  {
    connection c(p);
    app_listener listener(p.host(0), 81);
    p.run_for(duration::milliseconds(1));
    app_socket opening(p.host(0), 0x0a000009, 80, 0, p.values);
    p.run_for(duration::milliseconds(1));
    c.client.write(std::vector<std::byte>(100'000));
    p.net.unplug(p.device(0));
    kernel.news.push_back({.what = kernel_news::kind::gone});
    p.run_for(duration::milliseconds(15));
    CHECK(c.client.failed());
    CHECK(c.client.error() == errc::no_device);
    CHECK(opening.error() == errc::no_device);
    CHECK(listener.error() == errc::no_device);
    CHECK(kinds(p, 0) == std::vector{event_kind::device_gone});

    std::uint64_t frames = 0;
    p.net.on_frame = [&](made_frame& f, frame_fate&) { frames += f.from == 0 ? 1 : 0; };
    app_socket later = p.connect(0, 80);
    app_listener late(p.host(0), 82);
    p.run_for(duration::milliseconds(1));
    CHECK(later.error() == errc::no_device);
    CHECK(late.error() == errc::no_device);
    p.run_for(duration::seconds(1));
    CHECK(c.server.error() == errc::peer_lost);
    CHECK(kinds(p, 0).empty());
    CHECK(frames == 0);
  }
  end(p);
}

TEST_CASE("Two hosts with one address notice each other", "[pair][arp]") {
  const bool second_probes = GENERATE(true, false);
  CAPTURE(second_probes);
  host_pair p({.static_neighbors = false,
               .configure = [second_probes](std::size_t i, core::host_config& c) {
                 c.address.ip = host_pair::ip_of(0);
                 c.values.arp_probes = i == 0 || second_probes ? 3 : 0;
               }});
  p.run_for(duration::seconds(5));
  for (std::size_t i = 0; i < 2; ++i) {
    CAPTURE(i);
    CHECK(p.stats(i).address_conflicts.value() > 0);
    const std::vector<event> events = p.host(i).take_events();
    REQUIRE(events.size() == 1);  // of many conflicts
    CHECK(events[0].kind == event_kind::address_conflict);
    CHECK(events[0].ip == host_pair::ip_of(0));
    CHECK(events[0].mac == host_pair::mac_of(1 - i));
  }
  // They end: two that defend do not go on for ever.
  p.run_for(duration::seconds(30));
  const std::uint64_t frames = p.net.frames();
  CHECK(frames < 40);
  p.run_for(duration::seconds(30));
  CHECK(p.net.frames() == frames);
  end(p);
}

TEST_CASE("Probes and announcements of an address that nobody else has", "[pair][arp]") {
  host_pair p({.static_neighbors = false, .configure = [](std::size_t i, core::host_config& c) {
                 if (i == 0) c.values.arp_probes = 3;
               }});
  std::vector<std::uint32_t> senders;
  p.net.on_frame = [&senders](made_frame& f, frame_fate&) {
    const auto& arp = wire::at<wire::arp_packet>(
        static_cast<const void*>(f.bytes.data() + sizeof(wire::ethernet_header)));
    CHECK(f.is_arp());
    CHECK(arp.operation == wire::arp_request);
    CHECK(arp.target_ip == host_pair::ip_of(0));
    senders.push_back(arp.sender_ip);
  };
  p.run_for(duration::seconds(10));
  const std::uint32_t us = host_pair::ip_of(0);
  CHECK(senders == std::vector<std::uint32_t>{0, 0, 0, us, us});
  CHECK(p.stats(0).address_conflicts.value() == 0);
  CHECK(p.stats(1).arp_replies_sent.value() == 0);
  end(p);
}

TEST_CASE("A netmask that is wrong at one end is told at the other", "[pair][arp]") {
  // Host 1 takes all of 10.0.0.0/8 for its link, host 0 is in 10.0.0.1/32.
  host_pair p({.static_neighbors = false, .configure = [](std::size_t i, core::host_config& c) {
                 c.address.prefix = i == 0 ? 32 : 8;
               }});
  {
    app_listener listener(p.host(0), 80);
    app_socket s = p.connect(1, 80);
    // It works, because answers go to where packets came from.
    CHECK(p.run_until([&] { return s.connected(); }, duration::seconds(1)));
    CHECK(p.stats(0).arp_off_link.value() == 1);
    CHECK(kinds(p, 0) == std::vector{event_kind::off_link_neighbor});
  }
  end(p);
}

TEST_CASE("Where the kernel has the address it resolves, and answers ARP and ping", "[pair][arp]") {
  made_kernel kernel;
  kernel.shared = true;
  host_pair p(watching(&kernel));
  int arps = 0;
  p.net.on_frame = [&arps](made_frame& f, frame_fate&) {
    arps += f.is_arp() && f.from == 0 ? 1 : 0;
  };
  {
    app_listener listener(p.host(1), 80);
    app_socket s = p.connect(0, 80);
    p.run_for(duration::milliseconds(5));
    CHECK(kernel.asked == std::vector<std::uint32_t>{host_pair::ip_of(1)});
    CHECK_FALSE(s.connected());
    kernel.news.push_back({.what = kernel_news::kind::neighbor,
                           .ip = host_pair::ip_of(1),
                           .mac = host_pair::mac_of(1)});
    // Strangers' are of no interest.
    kernel.news.push_back(
        {.what = kernel_news::kind::neighbor, .ip = 0x0a000077, .mac = {2, 1, 1, 1, 1, 1}});
    CHECK(p.run_until([&] { return s.connected(); }, duration::milliseconds(20)));
    // Host 1 asks, and it is the kernel's to answer.
    app_listener back(p.host(0), 81);
    std::vector<std::byte> request(wire::ethernet_min_frame);
    auto& e = wire::at<wire::ethernet_header>(static_cast<void*>(request.data()));
    e.destination = mac_broadcast;
    e.type = wire::ethertype_arp;
    wire::at<wire::arp_packet>(static_cast<void*>(request.data() + sizeof e)) =
        wire::make_arp(wire::arp_request, {2, 5, 5, 5, 5, 5}, 0x0a000055, {}, host_pair::ip_of(0));
    p.net.inject(p.now, 0, std::move(request));
    p.run_for(duration::milliseconds(1));
    CHECK(p.stats(0).arp_received.value() == 1);
    CHECK(arps == 0);
  }
  end(p);
}

TEST_CASE("A neighbour that the kernel does not find is unreachable", "[pair][arp]") {
  made_kernel kernel;
  kernel.shared = true;
  host_pair p(watching(&kernel));
  {
    app_socket s = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return s.failed(); }, duration::seconds(4)));
    CHECK(s.error() == errc::host_unreachable);
    CHECK(kernel.asked.size() == static_cast<std::size_t>(p.values.arp_tries));
  }
  end(p);
}

}  // namespace
}  // namespace nd::test
