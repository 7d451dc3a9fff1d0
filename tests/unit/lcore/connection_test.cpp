// Connections from SYNC to the last FIN, between two whole stacks.
#include <catch2/catch.hpp>

#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

TEST_CASE("A connection carries bytes both ways and ends in order", "[pair][connection]") {
  const bool udp = GENERATE(false, true);
  const auto traffic_class = static_cast<std::uint8_t>(GENERATE(0, 1));
  CAPTURE(udp, traffic_class);
  host_pair p({.udp = udp});
  {
    connection c(p, traffic_class);
    REQUIRE(c.server.connected());

    const auto question = bytes_of_text("Is anybody there?");
    REQUIRE(c.client.write(question) == question.size());
    REQUIRE(read_all(p, c.server, question.size()) == question);
    c.client.shut_down_send();
    read_all(p, c.server, 1);
    REQUIRE(c.server.at_end());

    // Half closed: the other direction goes on.
    const auto answer = bytes_of_text("Yes.");
    REQUIRE(c.server.write(answer) == answer.size());
    REQUIRE(read_all(p, c.client, answer.size()) == answer);
    REQUIRE_FALSE(c.client.at_end());
    c.server.close();
    read_all(p, c.client, 1);
    REQUIRE(c.client.at_end());
    REQUIRE_FALSE(c.client.failed());
  }
  require_nothing_left(p);
}

TEST_CASE("Counters of both hosts agree", "[pair][connection]") {
  host_pair p;
  {
    connection c(p);
    const std::vector<std::byte> data(100'000);
    REQUIRE(c.client.write(data) < data.size());  // the ring is shorter
    const std::uint64_t written = c.client.written();
    REQUIRE(read_all(p, c.server, written).size() == written);
    c.client.close();
    c.server.close();
    REQUIRE(p.comes_to_rest());
    const counters &a = p.stats(0), &b = p.stats(1);
    CHECK(a.payload_bytes_sent.value() == written);
    CHECK(b.payload_bytes_received.value() == written);
    CHECK(a.tx_packets.value() == b.rx_packets.value());
    CHECK(b.tx_packets.value() == a.rx_packets.value());
    CHECK(a.tx_bytes.value() == b.rx_bytes.value());
    CHECK(a.data_packets_sent.value() == b.data_packets_received.value());
    CHECK(b.acks_sent.value() == a.acks_received.value());
    CHECK(a.records_sent.value() == b.records_received.value());
    CHECK(a.connections_opened.value() == 1);
    CHECK(b.connections_accepted.value() == 1);
    CHECK(a.packets_lost.value() == 0);
    CHECK(a.records_retransmitted.value() == 0);
    CHECK(b.connections_reset.value() == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("Nobody listens: refused", "[pair][connection]") {
  host_pair p;
  {
    app_socket s = p.connect(0, 81);
    REQUIRE(p.run_until([&] { return s.failed(); }, soon));
    REQUIRE(s.error() == errc::connection_refused);
    REQUIRE(p.stats(1).connections_refused.value() == 1);
  }
  require_nothing_left(p);
}

TEST_CASE("A full backlog refuses, and what was accepted goes on", "[pair][connection]") {
  host_pair p;
  {
    app_listener listener(p.host(1), 80, 3);
    std::vector<app_socket> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(p.connect(0, 80));
    p.run_for(soon);
    int up = 0, refused = 0;
    for (const app_socket& s : clients) {
      up += s.connected() ? 1 : 0;
      refused += s.error() == errc::connection_refused ? 1 : 0;
    }
    REQUIRE(up == 3);
    REQUIRE(refused == 2);
    for (int i = 0; i < 3; ++i) REQUIRE(listener.accept());
    REQUIRE_FALSE(listener.accept());
    app_socket late = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return late.connected(); }, soon));
  }
  require_nothing_left(p);
}

TEST_CASE("Both close at once", "[pair][connection]") {
  host_pair p;
  {
    connection c(p);
    c.client.close();
    c.server.close();
    p.run_for(soon);
    REQUIRE(p.stats(0).connections_reset.value() == 0);
    REQUIRE(p.stats(1).connections_reset.value() == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("A close with bytes unread resets", "[pair][connection]") {
  const bool arrived = GENERATE(true, false);  // before the close, or after
  CAPTURE(arrived);
  host_pair p;
  {
    connection c(p);
    if (arrived) {
      c.client.write(bytes_of_text("unread"));
      p.run_for(soon);
    }
    c.server.close();
    p.run_for(duration::microseconds(arrived ? 0 : 500));
    if (!arrived) c.client.write(bytes_of_text("late"));
    REQUIRE(p.run_until([&] { return c.client.failed(); }, soon));
    REQUIRE(c.client.error() == errc::connection_reset);
  }
  require_nothing_left(p);
}

TEST_CASE("A reset in the middle of a transfer frees everything", "[pair][connection]") {
  const auto after = static_cast<std::uint64_t>(GENERATE(0, 1, 5000, 200'000, 1'000'000));
  CAPTURE(after);
  host_pair p;
  p.net.faults.loss = 0.05;
  {
    connection c(p);
    writer w{c.client, 4'000'000};
    reader r{c.server};
    p.run_until(
        [&] {
          w.run();
          r.run();
          return c.server.consumed() >= after;
        },
        duration::seconds(5));
    c.client.write(std::vector<std::byte>(1000));
    p.run_until([&] { return c.server.link().delivered > c.server.consumed(); }, soon);
    c.server.close();
    REQUIRE(p.run_until(
        [&] {
          w.run();
          return c.client.failed();
        },
        duration::seconds(5)));
    REQUIRE(c.client.error() == errc::connection_reset);
  }
  require_nothing_left(p);
}

TEST_CASE("A closed listener ends the connections that wait", "[pair][connection]") {
  const int writes = GENERATE(0, 1, 2, 5);
  CAPTURE(writes);
  host_pair p;
  {
    app_listener listener(p.host(1), 80);
    app_socket s = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return s.connected(); }, soon));
    for (int i = 0; i < writes; ++i) {
      s.write(bytes_of_text("hello"));
      p.run_for(duration::milliseconds(1));
    }
    listener.close();
    REQUIRE(p.run_until([&] { return s.failed(); }, soon));
    REQUIRE(s.error() == errc::connection_reset);
  }
  require_nothing_left(p);
}

TEST_CASE("Packet numbers and streams pass the end of 32 bits", "[pair][connection]") {
  host_pair p({.seed = 3, .configure = [](std::size_t, core::host_config& c) {
                 c.first_number = 0xffff'ffd0;
                 c.first_offset = 0xffff'8000;
               }});
  p.net.faults.loss = 0.02;
  p.net.faults.reorder = 0.1;
  {
    connection c(p);
    writer up{c.client, 200'000, 1}, down{c.server, 200'000, 2};
    reader at_server{c.server, 1}, at_client{c.client, 2};
    REQUIRE(p.run_until(transfer(up, at_server, down, at_client), duration::seconds(5)));
    CHECK(at_server.wrong + at_client.wrong == 0);
    CHECK(c.server.consumed() == up.length);
    CHECK(c.client.consumed() == down.length);
  }
  p.net.faults = {};
  require_nothing_left(p);
}

// Found by nd-sim, profile many, seed 128.
TEST_CASE("A host that goes takes along what nobody has accepted", "[pair][connection]") {
  const bool closed = GENERATE(false, true);
  CAPTURE(closed);
  host_pair p;
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80);
    const auto text = bytes_of_text("never read");
    REQUIRE(p.run_until([&] { return client.write(text) > 0; }, soon));
    REQUIRE(p.run_until([&] { return client.unacknowledged() == 0; }, soon));
    CHECK(p.mbufs_in_use() > 0);
    if (closed) listener.close();
    p.kill(1);
    if (!closed) listener.forget();
  }
  p.stop(0);
  CHECK(p.mbufs_in_use() == 0);
}

TEST_CASE("A repeated SYNC makes no second connection", "[pair][connection]") {
  host_pair p;
  p.net.on_frame = [](made_frame& f, frame_fate& fate) {
    if (f.has(wire::record_type::sync)) fate.copies = 3;
  };
  {
    connection c(p);
    REQUIRE(c.client.connected());
    p.run_for(soon);
    REQUIRE(p.stats(1).connections_accepted.value() == 1);
    REQUIRE(p.stats(1).drop_duplicate.value() == 2);
    REQUIRE_FALSE(c.listener.accept());
  }
  require_nothing_left(p);
}

TEST_CASE("Data that overtakes SYNC_ACK is kept", "[pair][connection]") {
  host_pair p;
  const instant free_from = p.now + duration::milliseconds(2);
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    if (f.has(wire::record_type::sync_ack) && p.now < free_from)
      fate.extra = duration::milliseconds(2);
  };
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80), server;
    REQUIRE(p.run_until([&] { return static_cast<bool>(server = listener.accept()); }, soon));
    p.poll();  // SYNC_ACK leaves by itself
    const auto text = bytes_of_text("early");
    REQUIRE(server.write(text) == text.size());
    p.run_for(duration::microseconds(500));
    REQUIRE_FALSE(client.connected());
    REQUIRE(client.link().delivered == text.size());
    server.close();
    REQUIRE(read_all(p, client, text.size()) == text);
    REQUIRE(p.run_until([&] { return client.connected(); }, soon));
    read_all(p, client, 1);
    REQUIRE(client.at_end());
  }
  require_nothing_left(p);
}

TEST_CASE("A close that overtakes its SYNC leaves no connection behind", "[pair][connection]") {
  host_pair p;
  int held = 0;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
    if (f.has(wire::record_type::sync) && held++ == 0) fate.extra = duration::microseconds(100);
  };
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80);
    REQUIRE(p.run_until([&] { return held > 0; }, soon));
    client.close();
    p.run_for(duration::milliseconds(1));
    // Accepted or not: its application must not wait for a peer that is gone.
    app_socket server = listener.accept();
    if (server) REQUIRE(p.run_until([&] { return server.failed(); }, duration::seconds(2)));
    server.close();
  }
  require_nothing_left(p);
}

TEST_CASE("A write ends where enough waits to leave", "[pair][connection]") {
  pair_options options;
  options.adjust = [](settings& s) { s.notsent_lowat = 1000; };
  host_pair p(std::move(options));
  {
    connection c(p);
    const std::vector<std::byte> bytes(30'000);
    for (std::uint32_t written = 0; written < 20'000;) {
      CHECK(c.client.write(bytes) == 1000);
      CHECK(c.client.write(bytes) == 0);
      written += 1000;
      REQUIRE(p.run_until([&] { return c.client.link().sent == written; }, soon));
    }
    CHECK(read_all(p, c.server, 20'000).size() == 20'000);
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
