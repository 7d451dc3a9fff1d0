// The benchmark's loops over streams that take and give what they like.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <list>
#include <string>

#include "fake_network.hpp"
#include "nd-echo/client.hpp"
#include "nd-echo/lanes.hpp"
#include "nd-echo/served_connection.hpp"

namespace {

using namespace nd::apps;
using namespace nd::apps::echo;
using nd::apps::test::fake_network;
using nd::apps::test::fake_stream;

// Serves whatever connects, one step for each poll of the client.
struct fake_server {
  explicit fake_server(fake_network& n) : net(n) {
    net.on_poll = [this] { step(); };
  }
  void step() {
    for (; !net.accepted.empty(); net.accepted.pop_front()) {
      connections.emplace_back(std::move(net.accepted.front()));
    }
    clock.turn();
    for (auto it = connections.begin(); it != connections.end();) {
      it->step(clock, sums);
      if (it->ended()) error += it->error();
      it = it->ended() ? connections.erase(it) : std::next(it);
    }
  }

  fake_network& net;
  turn_clock clock;
  server_sums sums;
  std::list<served_connection<fake_stream>> connections;
  std::string error;
};

options make_options(mode m, std::uint64_t size, std::uint64_t depth) {
  options o;
  o.role = role::client;
  o.mode = m;
  o.size = size;
  o.depth = depth;
  o.verify = true;
  o.wait = std::chrono::seconds(0);
  return o;
}

template <class Lane>
struct fixture {
  explicit fixture(const options& o, std::uint64_t seed)
      : net(seed), server(net), b("test"), lane(net, o, 77, b.clock.now() + o.wait) {
    b.measuring = true;
  }
  void turns(int n) {
    for (int i = 0; i < n && !lane.ended(); ++i) {
      net.poll(false);
      lane.step(b);
    }
  }
  // From connecting to the goodbye.
  void whole_run(int measured_turns) {
    turns(100);
    REQUIRE(lane.ready());
    lane.start(b);
    turns(measured_turns);
    lane.stop(b);
    turns(2000000);
    REQUIRE(lane.ended());
    for (int i = 0; i < 1000 && !server.connections.empty(); ++i) server.step();
  }

  fake_network net;
  fake_server server;
  bench b;
  Lane lane;
};

using message = message_lane<fake_network>;
using stream = stream_lane<fake_network>;
using crr = crr_lane<fake_network>;

}  // namespace

TEST_CASE("workload: what is echoed beside streams is not part of their goodput") {
  fixture<mixed_lane<fake_network>> f(make_options(mode::rr, 64, 1), 3);
  f.b.streams_only = true;
  f.whole_run(200);
  CHECK(f.b.current.messages > 0);
  CHECK(f.b.current.bytes == 0);
}

TEST_CASE("workload: rr with a pause makes one round trip, then none until it is over") {
  options o = make_options(mode::rr, 64, 1);
  o.pause = std::chrono::hours(1);
  fixture<message> f(o, 3);
  f.turns(100);
  f.lane.start(f.b);
  f.turns(20000);
  CHECK(f.b.current.messages == 1);
  f.lane.stop(f.b);
  f.turns(20000);
  CHECK(f.lane.ended());
  CHECK(f.b.errors == 0);
}

TEMPLATE_TEST_CASE_SIG("workload: echoing modes bring every message back", "",
                       ((mode Mode, class Lane), Mode, Lane), (mode::rr, message),
                       (mode::pipeline, message), (mode::crr, crr)) {
  const auto size = static_cast<std::uint64_t>(GENERATE(1U, 7U, 64U, 4096U, 100001U));
  const auto seed = static_cast<std::uint64_t>(GENERATE(1U, 2U));
  CAPTURE(size, seed);
  fixture<Lane> f(make_options(Mode, size, Mode == mode::pipeline ? 33 : 1), seed);
  f.whole_run(20000);
  CHECK(f.b.errors == 0);
  CHECK(f.b.verify_failures == 0);
  CHECK(f.server.error.empty());
  CHECK(f.server.connections.empty());
  CHECK(f.server.sums.verify_failures == 0);
  CHECK(f.b.current.messages > 0);
  CHECK(f.b.current.latency.count() == f.b.current.messages);
  CHECK(f.b.current.bytes == f.b.current.messages * size);
  // The first cycle of crr is connected before the start, and not counted.
  CHECK(f.server.sums.messages == f.b.current.messages + (Mode == mode::crr ? 1 : 0));
}

TEST_CASE("workload: stream counts what the server says it received") {
  const auto size = static_cast<std::uint64_t>(GENERATE(1U, 1000U, 65536U));
  fixture<stream> f(make_options(mode::stream, size, 1), 3);
  f.whole_run(20000);
  CHECK(f.b.errors == 0);
  CHECK(f.b.verify_failures == 0);
  CHECK(f.server.error.empty());
  CHECK(f.b.current.bytes == f.server.sums.bytes);
  CHECK(f.server.sums.bytes % size == 0);
  CHECK(f.server.sums.bytes > 0);
}

TEST_CASE("workload: a wrong byte is found, on either way") {
  const bool there = GENERATE(true, false);
  fixture<message> f(make_options(mode::pipeline, 64, 8), 4);
  f.turns(100);
  f.lane.start(f.b);
  for (int i = 0; i < 10000; ++i) {
    // Behind the hello, or it would be that what is wrong.
    if (i == 5000) {
      auto& bytes = (there ? f.net.last->there : f.net.last->back).bytes;
      while (bytes.empty()) f.turns(1);
      bytes.front() ^= std::byte{0x10};
    }
    f.turns(1);
  }
  f.lane.stop(f.b);
  f.turns(100000);
  REQUIRE(f.lane.ended());
  CHECK(f.b.errors == 0);
  // A byte that the server gets wrong is also echoed wrong.
  CHECK(f.b.verify_failures == (there ? 2 : 1));
}

TEST_CASE("workload: a wrong byte of a stream reaches the client's report") {
  fixture<stream> f(make_options(mode::stream, 1000, 1), 5);
  f.turns(100);
  f.lane.start(f.b);
  f.turns(1000);
  auto& bytes = f.net.last->there.bytes;
  while (bytes.empty()) f.turns(1);
  bytes.back() ^= std::byte{1};
  f.turns(1000);
  f.lane.stop(f.b);
  f.turns(100000);
  REQUIRE(f.lane.ended());
  CHECK(f.b.verify_failures == 1);
}

TEST_CASE("workload: a connection that breaks is one error") {
  fixture<message> f(make_options(mode::rr, 64, 1), 6);
  f.turns(100);
  f.lane.start(f.b);
  f.turns(1000);
  f.net.last->reset = true;
  f.turns(1000);
  CHECK(f.lane.ended());
  CHECK(f.b.errors == 1);
  CHECK_FALSE(f.server.error.empty());
}

TEST_CASE("workload: a server that closes early is an error") {
  fixture<message> f(make_options(mode::rr, 64, 1), 7);
  f.turns(100);
  f.lane.start(f.b);
  f.turns(1000);
  f.server.connections.clear();
  f.net.last->back.bytes.clear();
  f.net.last->back.fin = true;
  f.turns(1000);
  CHECK(f.lane.ended());
  CHECK(f.b.errors == 1);
}

TEST_CASE("workload: a server that is not there is waited for, but not for ever") {
  options o = make_options(mode::rr, 64, 1);
  SECTION("no patience") {
    fake_network net(8);
    bench b("test");
    message lane(net, o, 1, b.clock.now());
    net.refusals = 1;
    for (int i = 0; i < 100; ++i) lane.step(b);
    CHECK(lane.ended());
    CHECK(b.errors == 1);
  }
  SECTION("patience") {
    fake_network net(9);
    bench b("test");
    message lane(net, o, 1, b.clock.now() + std::chrono::hours(1));
    net.refusals = 2;
    while (!lane.ready()) {
      b.clock.refresh();
      lane.step(b);
    }
    CHECK_FALSE(lane.ended());
    CHECK(b.errors == 0);
    CHECK(net.refusals == 0);
  }
}

TEST_CASE("workload: the server drops who is no client") {
  fake_network net(10);
  fake_server server(net);
  fake_stream stranger = net.connect({}, mode::rr);
  const std::vector<std::byte> junk(100, std::byte{0x41});
  while (net.last->there.bytes.size() < 32) stranger.write_some(junk);
  for (int i = 0; i < 100; ++i) server.step();
  CHECK(server.connections.empty());
  CHECK(server.error.find("no client") != std::string::npos);
  CHECK(server.sums.connections == 0);
}

TEST_CASE("workload: a whole client run") {
  const mode m = GENERATE(mode::rr, mode::pipeline, mode::stream, mode::crr, mode::mixed);
  options o = make_options(m, 100, m == mode::pipeline ? 16 : 1);
  o.connections = 3;
  o.warmup = std::chrono::milliseconds(2);
  o.duration = std::chrono::milliseconds(20);
  fake_network net(11);
  fake_server server(net);
  const summary s = run_client(net, o, output(-1, ""), "test");
  CHECK(s.good());
  CHECK(s.total.messages > 0);
  CHECK(s.duration_s >= 0.02);
  CHECK(s.goodput_gbps() > 0);
  CHECK(s.mode == to_string(m));
  CHECK((s.total.latency.count() > 0) == (m != mode::stream));
}
