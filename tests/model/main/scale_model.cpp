// scale-model: plays two hosts with many lcores, each busy for as long as its work costs, and
// prints what they move. scripts/scale-model measures the costs and asks.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "model/cluster.hpp"
#include "unit/support/eal.hpp"

namespace nd::model {
namespace {

using nlohmann::json;

cost_model costs_of(const json& in) {
  cost_model c;
  c.hz = in.at("hz").get<double>();
  c.for_each([&](std::string_view name, std::string_view, double& value) {
    value = in.at(std::string(name)).get<double>();
  });
  if (c.hz <= 0 || c.idle_turn <= 0)
    throw std::runtime_error("costs: hz and idle_turn must be more than 0");
  return c;
}

placement placement_of(const std::string& name) {
  if (name == "together") return placement::together;
  if (name == "inline") return placement::inline_;
  if (name == "apart") return placement::apart;
  throw std::runtime_error("where: '" + name + "' is none of together, inline, apart");
}

cluster_plan plan_of(const json& in, const json& costs) {
  cluster_plan p;
  p.costs = costs_of(costs.at(in.at("costs").get<std::string>()));
  p.where = placement_of(in.value("where", "apart"));
  p.io = in.value("io", 1U);
  p.dcopy_near = in.value("dcopy_near", 0U);
  p.dcopy_far = in.value("dcopy_far", 0U);
  p.sockets = in.value("sockets", 1U);
  p.handed = in.value("handed", false);
  p.mtu = in.value("mtu", std::uint16_t{9000});
  p.block = in.value("block", std::size_t{65536});
  p.wire.gbps = in.value("gbps", 0.0);
  p.wire.delay = duration(in.value("delay_ns", std::int64_t{0}));
  p.wire.mark_bytes = in.value("mark_bytes", p.wire.mark_bytes);
  p.wire.queue_bytes = in.value("queue_bytes", p.wire.queue_bytes);
  p.values.send_buffer = in.value("send_buffer", p.values.send_buffer);
  p.values.receive_buffer = in.value("receive_buffer", p.values.receive_buffer);
  p.warm_up = duration::microseconds(in.value("warm_up_us", std::int64_t{3000}));
  p.time = duration::microseconds(in.value("time_us", std::int64_t{3000}));
  return p;
}

json told(const prediction& p) {
  json out{{"gbps", p.gbps}, {"link", p.link},     {"limit", p.limit},
           {"lost", p.lost}, {"marked", p.marked}, {"handed", p.handed}};
  for (const role_load& l : p.loads) out["busy"][l.role] = l.busiest;
  return out;
}

void run() {
  const json in = json::parse(std::cin);
  std::map<std::uint16_t, std::unique_ptr<cluster_pools>> pools;
  json out = json::array();
  for (const json& one : in.at("cases")) {
    const cluster_plan plan = plan_of(one, in.at("costs"));
    // Of one packet size at a time: cases come in that order.
    if (!pools.contains(plan.mtu)) pools.clear();
    auto& those = pools[plan.mtu];
    if (those == nullptr) those = std::make_unique<cluster_pools>(plan.mtu);
    out.push_back(told(predict(plan, *those)));
  }
  fmt::print("{}\n", out.dump());
}

}  // namespace
}  // namespace nd::model

int main(int argc, char** argv) {
  bool explain = false;
  CLI::App app(
      "Predicts what two hosts with many lcores move, from what each step of the stack costs. "
      "Reads "
      "JSON with costs and cases, writes JSON; scripts/scale-model is its user.");
  app.add_flag("--explain", explain, "print the names of the costs, and what they are of");
  CLI11_PARSE(app, argc, argv);
  if (explain) {
    nd::model::cost_model().for_each(
        [](auto name, auto help, double&) { fmt::print("{}\t{}\n", name, help); });
    return 0;
  }
  const nd::test::eal eal("scale-model");
  if (!eal.started()) {
    fmt::print(stderr, "scale-model: rte_eal_init failed\n");
    return 2;
  }
  try {
    nd::model::run();
  } catch (const std::exception& e) {
    fmt::print(stderr, "scale-model: {}\n", e.what());
    return 1;
  }
  return 0;
}
