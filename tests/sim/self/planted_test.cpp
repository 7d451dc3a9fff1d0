// The simulator can fail: each fault that is planted here must be reported.
#include <algorithm>
#include <catch2/catch.hpp>

#include "sim/simulation.hpp"
#include "unit/support/app.hpp"
#include "unit/support/rewrite.hpp"

namespace nd::sim {
namespace {

/// Two hosts, a clean network, and connections that end in order.
scenario quiet() {
  scenario s = draw_scenario("default", 1);
  s.hosts = 2;
  s.udp = false;
  s.checksums = s.static_neighbors = true;
  s.mtu.assign(2, 1500);
  s.ahead.assign(2, duration::seconds(1));
  s.values.encap = "ip";
  s.values.checksum = "full";
  s.values.arp_probes = 0;
  s.ways.assign(4, way_model{duration::microseconds(20)});
  s.targets.clear();
  s.faults.clear();
  s.peers_may_be_lost = false;
  s.fault_span = duration::milliseconds(20);
  connection_plan c;
  c.server = 1;
  for (side_plan& side : c.sides) {
    side.bytes = 20'000;
    side.write_most = 3000;
  }
  s.connections.assign(4, c);
  return s;
}

std::string played(const scenario& s, const std::function<void(simulation&)>& plant = {}) {
  trace t;
  simulation sim(s, t);
  if (plant) plant(sim);
  return sim.run().failure;
}

using Catch::Matchers::Contains;

TEST_CASE("Nothing planted, nothing reported", "[sim]") {
  CHECK(played(quiet()).empty());
}

TEST_CASE("Dcopy lcores copy where a scenario has them", "[sim][dcopy]") {
  scenario s = quiet();
  s.copiers = 2;
  s.copy_time = duration::microseconds(50);
  s.values.dcopy_min = 1000;
  trace t;
  const run_result r = simulation(s, t).run();
  CHECK(r.failure.empty());
  CHECK(r.counted.by_name().at("dcopy_bytes_written") > 100'000);
  CHECK(r.counted.by_name().at("dcopy_bytes_read") > 10'000);
}

TEST_CASE("A wrong byte is seen", "[sim]") {
  const std::string failure = played(quiet(), [](simulation& sim) {
    sim.net().wire.on_frame = [done = false](test::made_frame& f, test::frame_fate&) mutable {
      test::rewrite_records(f, [&](std::vector<test::copied_record>& all) {
        for (test::copied_record& r : all) {
          if (done || r.record.type != wire::record_type::data) continue;
          r.payload.back() ^= std::byte{1};
          done = true;
        }
      });
    };
  });
  CHECK_THAT(failure, Contains("is wrong"));
}

TEST_CASE("Bytes that come twice are seen", "[sim]") {
  // The second packet of a stream gets the first one's bytes.
  const std::string failure = played(quiet(), [](simulation& sim) {
    auto first = std::make_shared<std::vector<std::byte>>();
    sim.net().wire.on_frame = [first](test::made_frame& f, test::frame_fate&) {
      test::rewrite_records(f, [&](std::vector<test::copied_record>& all) {
        for (test::copied_record& r : all) {
          if (r.record.type != wire::record_type::data || r.payload.size() < 8) continue;
          if (first->empty()) *first = r.payload;
          std::copy_n(first->begin(), std::min(first->size(), r.payload.size()), r.payload.begin());
        }
      });
    };
  });
  CHECK_THAT(failure, Contains("is wrong"));
}

TEST_CASE("Corruption that nobody checks is seen", "[sim]") {
  scenario s = quiet();
  s.checksums = false;
  s.values.checksum = "none";
  for (way_model& w : s.ways) w.corrupt = 0.1;
  CHECK_FALSE(played(s).empty());
}

TEST_CASE("A stream that ends early is seen", "[sim]") {
  scenario s = quiet();
  for (connection_plan& c : s.connections)
    for (side_plan& side : c.sides) side.bytes = side.write_most = 1;
  const std::string failure = played(s, [](simulation& sim) {
    sim.net().wire.on_frame = [](test::made_frame& f, test::frame_fate&) {
      test::rewrite_records(f, [](std::vector<test::copied_record>& all) {
        for (test::copied_record& r : all) {
          if (r.record.type == wire::record_type::data) r.record.type = wire::record_type::ack;
          if (r.record.type == wire::record_type::fin) std::ranges::fill(r.payload, std::byte{0});
        }
      });
    };
  });
  CHECK_THAT(failure, Contains("stream ends after 0 bytes"));
}

TEST_CASE("A sender beyond its credit is seen", "[sim]") {
  scenario s = quiet();
  s.values.receive_buffer = 4096;
  const std::string failure = played(s, [](simulation& sim) {
    sim.net().wire.on_frame = [](test::made_frame& f, test::frame_fate&) {
      test::rewrite_records(f, [](std::vector<test::copied_record>& all) {
        for (test::copied_record& r : all) r.record.grant += 15'000;
      });
    };
  });
  CHECK_THAT(failure, Contains("protocol_errors"));
}

TEST_CASE("An acknowledgement of what was never sent is seen", "[sim]") {
  const std::string failure = played(quiet(), [](simulation& sim) {
    sim.net().wire.on_frame = [](test::made_frame& f, test::frame_fate&) {
      if (!f.is(wire::packet_kind::data)) return;
      f.header().ack = f.header().ack + 1000;
      test::rewrite_records(f, [](auto&) {});
    };
  });
  CHECK_THAT(failure, Contains("never sent"));
}

TEST_CASE("A missing mbuf is seen", "[sim]") {
  mbuf_ptr kept;
  const std::string failure = played(quiet(), [&](simulation& sim) {
    kept.reset(rte_pktmbuf_alloc(sim.host(1).host().tx_pool()));
  });
  CHECK_THAT(failure, Contains("keeps 1 mbufs"));
  kept.reset();
  CHECK(played(quiet()).empty());
}

TEST_CASE("A connection that nobody opened is seen", "[sim]") {
  test::app_socket forgotten;
  const std::string failure = played(quiet(), [&](simulation& sim) {
    forgotten = test::app_socket(sim.host(0).host(), test::made_ip(1), 80, 0, quiet().values);
  });
  CHECK_THAT(failure, Contains("nobody opened"));
  forgotten.forget();
}

TEST_CASE("A peer that no host is, is seen", "[sim]") {
  test::app_socket nowhere;
  const std::string failure = played(quiet(), [&](simulation& sim) {
    nowhere = test::app_socket(sim.host(0).host(), test::made_ip(50), 80, 0, quiet().values);
  });
  CHECK_THAT(failure, Contains("2 peers"));
  nowhere.forget();
}

TEST_CASE("A connection that never ends is seen", "[sim]") {
  const std::string failure = played(quiet(), [](simulation& sim) {
    sim.net().wire.on_frame = [](test::made_frame& f, test::frame_fate& fate) {
      fate.drop = f.has(wire::record_type::fin);
    };
  });
  CHECK_THAT(failure, Contains("not over"));
}

TEST_CASE("A failure without a reason is seen", "[sim]") {
  const std::string failure = played(quiet(), [](simulation& sim) {
    sim.net().wire.on_frame = [](test::made_frame& f, test::frame_fate& fate) {
      fate.drop = f.number > 20;
    };
  });
  CHECK_THAT(failure, Contains("for no reason"));
}

}  // namespace
}  // namespace nd::sim
