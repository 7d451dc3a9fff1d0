// Which lcores do what: what is said, what auto makes of it, and what is refused.
#include "api/lcore_plan.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <system_error>

#include "api/command_line.hpp"
#include "nd/error.hpp"
#include "sched/copy_policy.hpp"

namespace nd::api {
namespace {

using list = std::vector<unsigned>;
using lines = std::vector<std::string>;

settings said(const std::string& io, const std::string& dcopy) {
  settings s;
  s.set("io_lcores", io);
  s.set("dcopy_lcores", dcopy);
  return s;
}

/// Lcore 0 is the main one; of the others `near` are on the device's node, 1, and come last.
lcore_facts machine(unsigned far, unsigned near) {
  lcore_facts facts{.lcores = {{.id = 0, .node = 0, .main = true}}, .device_node = 1};
  for (unsigned id = 1; id <= far + near; ++id)
    facts.lcores.push_back({.id = id, .node = id <= far ? 0 : 1});
  return facts;
}

lcore_plan plan(const std::string& io, const std::string& dcopy, const lcore_facts& facts) {
  return plan_lcores(parse_lcores(said(io, dcopy)), facts);
}

std::string refusal(const std::string& io, const std::string& dcopy, const lcore_facts& facts) {
  try {
    plan(io, dcopy, facts);
  } catch (const std::system_error& e) {
    CHECK(e.code() == errc::bad_option);
    return e.what();
  }
  return "taken";
}

list numbers(unsigned first, unsigned last) {
  list out;
  for (unsigned i = first; i <= last; ++i) out.push_back(i);
  return out;
}

TEST_CASE("Lcores that are named are taken as they are, in their order", "[lcore_plan]") {
  const lcore_facts facts = machine(4, 4);
  const lcore_plan named = plan("5,2-3", "8,1", facts);
  CHECK(named.io == list{5, 2, 3});
  CHECK(named.dcopy == list{8, 1});
  const lcore_plan none = plan("", "", facts);
  CHECK(none.io.empty());
  CHECK(none.dcopy.empty());
}

TEST_CASE("auto splits the EAL's lcores, the device's node first", "[lcore_plan]") {
  struct row {
    unsigned far, near;
    list io, dcopy;
  };
  const row r =
      GENERATE(row{0, 4, {1, 2}, {3, 4}}, row{0, 5, {1, 2, 3}, {4, 5}}, row{2, 2, {3, 4}, {1, 2}},
               row{3, 1, {4, 1}, {2, 3}}, row{1, 0, {1}, {}}, row{0, 1, {1}, {}},
               row{1, 1, {2}, {1}}, row{0, 40, numbers(1, 16), numbers(17, 40)});
  CAPTURE(r.far, r.near);
  const lcore_plan p = plan("auto", "auto", machine(r.far, r.near));
  CHECK(p.io == r.io);
  CHECK(p.dcopy == r.dcopy);
}

TEST_CASE("auto for one of them takes what the other leaves", "[lcore_plan]") {
  const lcore_facts facts = machine(2, 3);  // near: 3, 4, 5
  lcore_plan p = plan("auto", "4", facts);
  CHECK(p.io == list{3, 5, 1, 2});
  CHECK(p.dcopy == list{4});
  p = plan("3,1", "auto", facts);
  CHECK(p.io == list{3, 1});
  CHECK(p.dcopy == list{4, 5, 2});
  p = plan("auto", "", facts);
  CHECK(p.io == list{3, 4, 5, 1, 2});
  CHECK(p.dcopy.empty());
  p = plan("", "auto", facts);
  CHECK(p.io.empty());
  CHECK(p.dcopy == list{3, 4, 5, 1, 2});
  CHECK(plan("1-5", "auto", facts).dcopy.empty());
  CHECK(plan("auto", "", machine(0, 40)).io == numbers(1, 16));
  CHECK(plan("", "auto", machine(0, 40)).dcopy == numbers(1, core::most_dcopy_lcores));
}

TEST_CASE("auto leaves busy lcores alone, and does without nodes", "[lcore_plan]") {
  lcore_facts facts = machine(2, 3);
  facts.lcores[3].busy = true;
  CHECK(plan("auto", "auto", facts).io == list{4, 5});
  facts.device_node = -1;
  CHECK(plan("auto", "auto", facts).io == list{1, 2});
  for (pmd::eal_lcore& l : facts.lcores) l.node = -1;
  CHECK(plan("auto", "auto", facts).io == list{1, 2});
}

TEST_CASE("A main lcore other than 0 is the application's too", "[lcore_plan]") {
  lcore_facts facts = machine(0, 3);
  facts.lcores[0].main = false;
  facts.lcores[2].main = true;
  const lcore_plan p = plan("auto", "auto", facts);
  CHECK(p.io == list{1, 3});
  CHECK(p.dcopy == list{0});
  CHECK(refusal("2", "", facts).find("lcore 2 is the EAL's main one") != std::string::npos);
}

TEST_CASE("What cannot be is refused in the user's words", "[lcore_plan]") {
  struct row {
    const char* io;
    const char* dcopy;
    const char* says;
  };
  const row r =
      GENERATE(row{"3-", "", "setting io_lcores: '3-' is not a list"},
               row{"Auto", "", "setting io_lcores: 'Auto' is not a list"},
               row{"", "auto,3", "setting dcopy_lcores: 'auto,3' is not a list"},
               row{"9", "", "setting io_lcores: lcore 9 is not among the EAL's (-l): 0,1,2,3"},
               row{"", "2,9", "setting dcopy_lcores: lcore 9 is not among the EAL's (-l): 0,1,2,3"},
               row{"0", "", "setting io_lcores: lcore 0 is the EAL's main one, which runs the app"},
               row{"auto", "0-1", "setting dcopy_lcores: lcore 0 is the EAL's main one"},
               row{"1,2,1", "", "setting io_lcores: lcore 1 is named twice"},
               row{"", "2,1-3", "setting dcopy_lcores: lcore 2 is named twice"},
               row{"1-2", "3,2", "lcore 2 is in both settings, io_lcores and dcopy_lcores"},
               row{"1-17", "", "setting io_lcores: 17 lcores, and there can be no more than 16"},
               row{"", "1-33", "setting dcopy_lcores: 33 lcores, and there can be no more than 32"},
               row{"auto", "1-3", "setting io_lcores: auto finds no lcore that is free"});
  CAPTURE(r.io, r.dcopy);
  CHECK_THAT(refusal(r.io, r.dcopy, machine(1, 2)), Catch::Contains(r.says));
}

TEST_CASE("auto without a worker is refused for io, and no dcopy lcore is none", "[lcore_plan]") {
  CHECK_THAT(refusal("auto", "auto", machine(0, 0)), Catch::Contains("(-l)"));
  CHECK(plan("", "auto", machine(0, 0)).dcopy.empty());
}

TEST_CASE("--dev gives the EAL the lcores that are named, and for auto what the CPUs allow",
          "[lcore_plan]") {
  const auto to_have = [](const std::string& io, const std::string& dcopy, std::size_t cpus) {
    return lcores_to_have(parse_lcores(said(io, dcopy)), cpus);
  };
  CHECK(to_have("", "", 4).empty());
  CHECK(to_have("5", "2-3", 4) == list{5, 2, 3});
  CHECK(to_have("auto", "", 4) == list{1, 2, 3});
  CHECK(to_have("2", "auto", 4) == list{2, 1, 3});
  CHECK(to_have("auto", "auto", 1).empty());
  CHECK(to_have("auto", "auto", 200).size() == core::most_io_lcores + core::most_dcopy_lcores);
}

TEST_CASE("The plan is told as a table", "[lcore_plan]") {
  const lcore_facts facts = machine(1, 10);
  CHECK(
      describe_plan(plan("2,10", "1,3", facts), facts) ==
      lines{"role  | lcore | NUMA node | what", "app   |     0 |         0 | the application",
            "io    |     2 |         1 | channels and sockets, 1 of 2",
            "io    |    10 |         1 | channels and sockets, 2 of 2",
            "dcopy |     1 |         0 | copies of large reads and writes; the device is on node 1",
            "dcopy |     3 |         1 | copies of large reads and writes"});
  lcore_facts plain = machine(0, 1);
  plain.device_node = -1;
  plain.lcores[0].node = plain.lcores[1].node = -1;
  CHECK(describe_plan(plan("", "1", plain), plain) ==
        lines{"role  | lcore | NUMA node | what",
              "app   |     0 |         - | the application, and the loop (inline)",
              "dcopy |     1 |         - | copies of large reads and writes"});
}

TEST_CASE("The EAL's lcores are what they are", "[lcore_plan]") {
  // The tests' EAL: lcore 0 is this thread, lcore 1 a worker.
  const std::vector<pmd::eal_lcore> all = pmd::eal_lcores();
  REQUIRE(all.size() == 2);
  CHECK(all[0].id == 0);
  CHECK(all[0].main);
  CHECK_FALSE(all[0].busy);
  CHECK(all[1].id == 1);
  CHECK_FALSE(all[1].main);
  CHECK_FALSE(all[1].busy);
  static std::atomic<bool> ends;
  ends = false;
  pmd::launch_on_lcore(
      "test", 1,
      [](void*) {
        while (!ends.load()) continue;
        return 0;
      },
      nullptr);
  const bool busy = pmd::eal_lcores()[1].busy;
  ends = true;
  pmd::wait_for_lcore(1);
  CHECK(busy);
  CHECK_FALSE(pmd::eal_lcores()[1].busy);
}

TEST_CASE("--io-lcores and --dcopy-lcores are short for their settings", "[lcore_plan]") {
  const command_line c =
      parse_command_line({"-l", "0-4", "--", "--io-lcores", "2,4", "--dcopy-lcores=auto", "x"});
  CHECK(c.cfg.get("io_lcores") == "2,4");
  CHECK(c.cfg.get("dcopy_lcores") == "auto");
  CHECK(c.args == std::vector<std::string>{"x"});
}

}  // namespace
}  // namespace nd::api
