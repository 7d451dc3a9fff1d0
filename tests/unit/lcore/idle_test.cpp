// Between packets: next_deadline() says when to poll, and nothing spins.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

TEST_CASE("An idle pair asks and answers, polled only when it says so", "[pair][idle]") {
  host_pair p;
  {
    connection c(p);
    p.run_for(duration::milliseconds(50));
    const std::uint64_t polls = p.polls, frames = p.net.frames();
    p.run_for(duration::seconds(10));
    CHECK(p.net.frames() - frames > 100);
    CHECK(p.net.frames() - frames < 900);
    CHECK(p.polls - polls < (p.net.frames() - frames) * 5);
    CHECK(c.client.connected());
    CHECK(c.server.connected());
    CHECK(p.stats(0).packets_lost.value() + p.stats(1).packets_lost.value() == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("A request and its answer, polled only when somebody says so", "[pair][idle]") {
  host_pair p;
  {
    connection c(p);
    p.run_for(duration::milliseconds(300));
    for (int i = 0; i < 10; ++i) {
      const instant start = p.now;
      c.client.write(bytes_of_text("ping"));
      REQUIRE(read_all(p, c.server, 4).size() == 4);
      c.server.write(bytes_of_text("pong"));
      REQUIRE(read_all(p, c.client, 4).size() == 4);
      CHECK((p.now - start).ns() < duration::microseconds(100).ns());
    }
  }
  require_nothing_left(p);
}

TEST_CASE("Waiting for the peer does not spin", "[pair][idle]") {
  const bool arp = GENERATE(false, true);
  CAPTURE(arp);
  host_pair p({.static_neighbors = !arp});
  const auto polls_in = [&](duration span) {
    const std::uint64_t polls = p.polls;
    p.run_for(span);
    return p.polls - polls;
  };
  SECTION("for the answer of a handshake, or to ARP") {
    p.net.on_frame = [](made_frame&, frame_fate& fate) { fate.drop = true; };
    app_socket s = p.connect(0, 80);
    CHECK(polls_in(duration::milliseconds(200)) < 50);
    s.close();
    p.net.on_frame = nullptr;
    p.run_for(duration::seconds(4));
  }
  SECTION("for acknowledgements that would open the window") {
    connection c(p);
    const std::vector<std::byte> data(80'000);
    p.net.on_frame = [](made_frame&, frame_fate& fate) { fate.drop = true; };
    c.client.write(data);
    CHECK(polls_in(duration::milliseconds(50)) < 100);
  }
  p.net.on_frame = nullptr;
}

TEST_CASE("Early data and no SYNC_ACK: the connect times out once", "[pair][idle]") {
  host_pair p;
  p.net.on_frame = [](made_frame& f, frame_fate& fate) {
    fate.drop = f.has(wire::record_type::sync_ack);
  };
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80), server;
    REQUIRE(p.run_until([&] { return static_cast<bool>(server = listener.accept()); }, soon));
    p.run_for(duration::milliseconds(300));
    for (int i = 0; i < 3; ++i) {
      server.write(bytes_of_text("early"));
      p.run_for(duration::milliseconds(300));
    }
    REQUIRE(p.run_until([&] { return client.failed(); }, duration::seconds(4)));
    CHECK(client.error() == errc::timed_out);
    p.run_for(duration::milliseconds(10));
    // What arrived waits for the application; no timer may be due because of that.
    const std::uint64_t polls = p.polls;
    p.run_for(duration::milliseconds(10));
    CHECK(p.polls - polls < 20);
  }
  p.net.on_frame = nullptr;
  require_nothing_left(p);
}

TEST_CASE("Closes that were posted before the end are served", "[pair][idle]") {
  host_pair p;
  {
    app_listener listener(p.host(1), 80);
    std::vector<app_socket> clients, servers;
    for (int i = 0; i < 100; ++i) {
      clients.push_back(p.connect(0, 80));
      p.poll();
    }
    REQUIRE(p.run_until(
        [&] {
          while (app_socket s = listener.accept()) servers.push_back(std::move(s));
          return servers.size() == clients.size();
        },
        soon));
    p.run_for(duration::milliseconds(10));
    clients.clear();
    servers.clear();  // closed connections wait for the peer's FIN
    // As the runtime ends: turns until nothing waits for the peer any more.
    REQUIRE(p.run_until([&] { return p.host(0).drained(); }, soon));
    CHECK(p.host(0).mailbox().empty());
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
