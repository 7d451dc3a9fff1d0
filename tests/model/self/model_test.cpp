// The cost model of scripts/scale-model, tried out with made costs.
#include <catch2/catch.hpp>

#include "model/cluster.hpp"

namespace nd::model {
namespace {

using Catch::WithinRel;

cluster_pools& pools() {
  // Never destroyed: the EAL is gone by then.
  static auto& made = *new cluster_pools(9000);
  return made;
}

/// A core does 1e9 cycles a second, and a sent packet is all that takes long.
cluster_plan busy_sender(double packet = 2000) {
  cluster_plan p;
  p.costs.idle_turn = 50;
  p.costs.send_packet = packet;
  p.costs.receive_packet = 100;
  p.costs.send_ack = p.costs.receive_ack = 50;
  p.costs.write_byte = p.costs.read_byte = 0.01;
  p.wire.delay = duration::microseconds(5);
  p.values.send_buffer = 4 << 20;
  p.values.receive_buffer = 2 << 20;
  return p;
}

double payload_gbps(double packets_a_second) {
  return packets_a_second * 8930 * 8e-9;  // about
}

}  // namespace

TEST_CASE("a busy lcore sends what its packets cost", "[model]") {
  const prediction p = predict(busy_sender(), pools());
  CHECK_THAT(p.gbps, WithinRel(payload_gbps(1e9 / 2000), 0.1));
  CHECK(p.limit == "sender's io");
  CHECK(p.lost == 0);
}

TEST_CASE("twice the cost a packet is half the throughput", "[model]") {
  const double one = predict(busy_sender(2000), pools()).gbps;
  const double two = predict(busy_sender(4000), pools()).gbps;
  CHECK_THAT(two, WithinRel(one / 2, 0.03));
}

TEST_CASE("the same costs predict the same", "[model]") {
  cluster_plan plan = busy_sender();
  plan.io = 2;
  plan.sockets = 4;
  const prediction a = predict(plan, pools()), b = predict(plan, pools());
  CHECK(a.gbps == b.gbps);
  CHECK(a.loads.front().busiest == b.loads.front().busiest);
}

TEST_CASE("lcores share the work of many sockets", "[model]") {
  cluster_plan plan = busy_sender();
  plan.sockets = 4;
  const double one = predict(plan, pools()).gbps;
  plan.io = 2;
  CHECK_THAT(predict(plan, pools()).gbps, WithinRel(2 * one, 0.05));
}

TEST_CASE("no more passes than the link carries", "[model]") {
  cluster_plan plan = busy_sender(100);
  plan.wire.gbps = 10;
  plan.wire.mark_bytes = 50'000;
  plan.warm_up = duration::milliseconds(20);
  plan.time = duration::milliseconds(10);
  const prediction p = predict(plan, pools());
  CHECK(p.gbps < 10);
  CHECK_THAT(p.gbps, WithinRel(9.9, 0.05));
  CHECK(p.limit == "link");
  CHECK(p.marked > 0);
}

TEST_CASE("the application's copies limit it, until dcopy lcores make them", "[model]") {
  cluster_plan plan = busy_sender(200);
  plan.costs.write_byte = 0.5;
  plan.costs.dcopy_write = 0.5;
  plan.costs.order_write = 100;
  const prediction alone = predict(plan, pools());
  CHECK_THAT(alone.gbps, WithinRel(16, 0.05));  // 1e9 cycles a second, 2 bytes a cycle
  CHECK(alone.limit == "sender's application");
  plan.dcopy_near = 1;
  const prediction one = predict(plan, pools());
  CHECK(one.gbps < 1.05 * alone.gbps);
  CHECK(one.gbps > 0.8 * alone.gbps);
  plan.dcopy_near = 2;
  CHECK_THAT(predict(plan, pools()).gbps, WithinRel(2 * one.gbps, 0.1));
}

TEST_CASE("one core plays both hosts", "[model]") {
  cluster_plan plan = busy_sender(1000);
  plan.costs.receive_packet = 500;
  plan.costs.wire_packet = 500;
  plan.costs.send_ack = plan.costs.receive_ack = 0;
  plan.costs.write_byte = plan.costs.read_byte = 0;
  plan.where = placement::together;
  plan.wire.delay = {};
  CHECK_THAT(predict(plan, pools()).gbps, WithinRel(payload_gbps(1e9 / 2000), 0.15));
}

TEST_CASE("packets for another lcore's sockets cost a hand-over at either end", "[model]") {
  cluster_plan plan = busy_sender(10);
  plan.costs.receive_packet = 10;
  plan.costs.hand_packet = 1000;
  plan.costs.send_ack = plan.costs.receive_ack = 10;
  plan.costs.write_byte = plan.costs.read_byte = 0;
  plan.where = placement::together;
  plan.wire.delay = {};
  plan.handed = true;
  const prediction p = predict(plan, pools());
  CHECK(p.handed > 0);
  // Half of the packets: the other half comes by the channel that the receiver's lcore has opened.
  CHECK_THAT(p.gbps, WithinRel(payload_gbps(1e9 / 1020), 0.15));
}

}  // namespace nd::model
