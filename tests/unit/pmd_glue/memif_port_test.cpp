// The ports of a memif on the driver itself, both ends in this process: who gets which queues of
// whom, and what becomes of them when the other end goes.
#include "pmd_glue/memif_port.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>

#include "pmd_glue/memif_inquiry.hpp"
#include "unit/support/captured_log.hpp"
#include "unit/support/memif_ends.hpp"

using namespace nd::test;

namespace {

using bytes = std::vector<std::uint8_t>;

void turn(memif_end& a, memif_end& b) {
  a.poll_all();
  b.poll_all();
}

/// How many pairs of a client's the server takes; one with more it refuses.
unsigned pairs_taken(memif_end& server) {
  nd::pmd::memif_inquiry inquiry(server.arguments(), 64);
  auto answer = nd::pmd::memif_inquiry::answer::none_yet;
  REQUIRE(run_until([&] { server.poll_all(), answer = inquiry.poll(); },
                    [&] { return answer == nd::pmd::memif_inquiry::answer::pairs; }));
  return inquiry.pairs();
}

/// All that comes to an end on any queue until nothing more does.
bytes drain(memif_end& end) {
  bytes all;
  unsigned quiet = 0;
  run_until(
      [&] {
        ++quiet;
        for (unsigned lcore = 0; lcore < end.lcores(); ++lcore) {
          const memif_end::seen s = end.poll(lcore);
          for (const bytes& lane : {s.bulk, s.urgent}) {
            all.insert(all.end(), lane.begin(), lane.end());
            if (!lane.empty()) quiet = 0;
          }
        }
      },
      [&] { return quiet > 1000; });
  return all;
}

}  // namespace

TEST_CASE("lcores of both ends of a memif have queues of their own as far as both have lcores",
          "[memif]") {
  const auto c = static_cast<unsigned>(GENERATE(1, 2, 3, 4));
  const auto s = static_cast<unsigned>(GENERATE(1, 2, 3, 4));
  CAPTURE(c, s);
  const unsigned both = std::min(c, s);
  const memif_socket socket;
  memif_end server(socket, "server", s);
  memif_end client(socket, "client", c);
  REQUIRE(run_until([&] { turn(server, client); },
                    [&] { return server.sending() == both && client.sending() == both; }));
  for (std::uint8_t i = 0; i < both; ++i) {
    for (const bool urgent : {false, true}) {
      for (memif_end* from : {&client, &server}) {
        REQUIRE(from->send(i, urgent, i));
        memif_end& to = from == &client ? server : client;
        memif_end::seen s;
        REQUIRE(run_until([&] { s = to.poll(i); },
                          [&] { return !s.bulk.empty() || !s.urgent.empty(); }));
        CHECK((urgent ? s.urgent : s.bulk) == bytes{i});
      }
    }
  }
}

TEST_CASE(
    "Of a foreign memif client's pairs the first is polled, and no more taken than lcores poll",
    "[memif]") {
  const auto lcores = static_cast<unsigned>(GENERATE(1, 2, 3));
  const std::string classes = GENERATE("auto", "off");
  const unsigned most = lcores > 1 ? 2 * lcores : classes == "auto" ? 2 : 1;
  const bool with_most = GENERATE(false, true);
  CAPTURE(lcores, classes, with_most);
  const auto pairs = static_cast<std::uint16_t>(with_most ? most : 1);
  const memif_socket socket;
  memif_end server(socket, "server", lcores, {{"class_queues", classes}});
  CHECK(pairs_taken(server) == most);
  foreign_memif client(socket, "client", pairs, pairs);
  REQUIRE(run_until([&] { server.poll_all(); }, [&] { return server.of(0).link_up(); }));
  CHECK(server.sending() == 1);
  client.send_on_all();
  CHECK(drain(server) == bytes{0});
  CHECK(client.receive(0).empty());  // puts its buffers into the ring
  CHECK(server.send(0, false, 1));
  CHECK(server.send(0, true, 2));
  CHECK(client.receive(0) == bytes{1, 2});
}

TEST_CASE("A memif server says when its client does not say how many pairs it has", "[memif]") {
  const bool ours = GENERATE(false, true);
  CAPTURE(ours);
  const captured_log log;
  const auto told = [&] { return log.text().find("no other pair is polled") != std::string::npos; };
  const memif_socket socket;
  memif_end server(socket, "server", 2);
  std::optional<foreign_memif> foreign;
  std::optional<memif_end> client;
  if (ours)
    client.emplace(socket, "client", 2);
  else
    foreign.emplace(socket, "client", 4, 4);
  const auto all = [&] {
    server.poll_all();
    if (client) client->poll_all();
  };
  REQUIRE(run_until(all, [&] { return server.sending() == (ours ? 2 : 1); }));
  for (int i = 0; i < 100; ++i) all();
  CHECK_FALSE(told());
  server.ahead = nd::duration::milliseconds(1500);
  // The jump makes the guard let the driver look for a hang-up first.
  for (int i = 0; i < 100; ++i) all();
  REQUIRE(run_until(all, [&] { return server.send(0, false, 0) || !client; }));
  CHECK((ours ? told() : run_until(all, told)) == !ours);
}

TEST_CASE("A memif server polls as many pairs of a foreign client as rx_queues says", "[memif]") {
  const auto receiving = static_cast<std::uint16_t>(GENERATE(1, 4));
  CAPTURE(receiving);
  const memif_socket socket;
  memif_end server(socket, "server", 1, {{"rx_queues", "4"}, {"rx_descriptors", "128"}});
  CHECK(pairs_taken(server) == 4);
  foreign_memif client(socket, "client", receiving, 4);
  REQUIRE(run_until([&] { server.poll_all(); }, [&] { return server.of(0).link_up(); }));
  client.send_on_all();
  bytes all = drain(server);
  std::ranges::sort(all);
  CHECK(all == bytes{0, 1, 2, 3});
  CHECK(client.receive(0).empty());
  CHECK(server.send(0, false, 9));
  CHECK(client.receive(0) == bytes{9});
}

TEST_CASE("A memif server's lcores use what the client of now has, not what those before it had",
          "[memif]") {
  const memif_socket socket;
  memif_end server(socket, "server", 3);
  for (const unsigned lcores : {3u, 1u, 2u, 3u, 0u}) {  // 0: foreign, which says nothing
    CAPTURE(lcores);
    std::optional<memif_end> client;
    std::optional<foreign_memif> foreign;
    if (lcores > 0)
      client.emplace(socket, "client", lcores);
    else
      foreign.emplace(socket, "client", 1, 1);
    const unsigned sending = std::max(lcores, 1u);
    const auto all = [&] {
      server.poll_all();
      if (client) client->poll_all();
    };
    REQUIRE(run_until(all, [&] {
      return server.sending() == sending && (!client || client->sending() == sending);
    }));
    for (std::uint8_t i = 0; client && i < lcores; ++i) {
      REQUIRE(client->send(i, false, i));
      memif_end::seen s;
      REQUIRE(run_until([&] { s = server.poll(i); }, [&] { return !s.bulk.empty(); }));
      CHECK(s.bulk == bytes{i});
    }
    client.reset();
    foreign.reset();
    server.ahead = server.ahead + nd::pmd::memif_guard::silence;
    REQUIRE(run_until([&] { server.poll_all(); }, [&] { return server.sending() == 0; }));
    // The others see the next link before the first lcore does.
    foreign.emplace(socket, "client", 1, 1);
    REQUIRE(run_until([] {}, [&] { return foreign->linked(); }));
    REQUIRE(run_until([&] { server.poll(1), server.poll(2); },
                      [&] { return server.of(1).link_up() && server.of(2).link_up(); }));
    CHECK(server.sending() == 0);
    foreign->send_on_all();
    for (int i = 0; i < 10; ++i) {
      CHECK(server.poll(1).bulk.empty());
      CHECK(server.poll(2).bulk.empty());
    }
    CHECK(drain(server) == bytes{0});
    foreign.reset();
    server.ahead = server.ahead + nd::pmd::memif_guard::silence;
    REQUIRE(run_until([&] { server.poll_all(); }, [&] { return server.sending() == 0; }));
  }
}

TEST_CASE("Lcores of a memif with one lane at an end have the pairs that the client counts",
          "[memif]") {
  const std::string at_client = GENERATE("auto", "off");
  CAPTURE(at_client);
  const memif_socket socket;
  memif_end server(socket, "server", 2, {{"class_queues", at_client == "off" ? "auto" : "off"}});
  memif_end client(socket, "client", 2, {{"class_queues", at_client}});
  REQUIRE(run_until([&] { turn(server, client); },
                    [&] { return server.sending() == 2 && client.sending() == 2; }));
  for (memif_end* from : {&client, &server}) {
    REQUIRE(from->send(1, true, 7));
    memif_end& to = from == &client ? server : client;
    memif_end::seen s;
    REQUIRE(run_until([&] { s = to.poll(1); }, [&] { return !s.bulk.empty(); }));
    CHECK(s.bulk == bytes{7});
  }
}

TEST_CASE("A memif without a link takes frames and drops them", "[memif]") {
  const memif_socket socket;
  memif_end server(socket, "server", 2);
  server.poll_all();
  for (const unsigned lcore : {0u, 1u}) {
    CHECK(server.send(lcore, false, 1));
    CHECK(server.send(lcore, true, 1));
  }
}
