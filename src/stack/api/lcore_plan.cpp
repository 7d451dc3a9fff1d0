#include "api/lcore_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "api/number_list.hpp"
#include "api/refuse.hpp"
#include "sched/copy_policy.hpp"

namespace nd::api {
namespace {

using lcore_list = std::vector<unsigned>;

bool names(std::span<const unsigned> list, unsigned lcore) {
  return std::ranges::find(list, lcore) != list.end();
}

std::optional<lcore_list> parse_wish(std::string_view setting, const std::string& text,
                                     std::size_t most) {
  if (text == "auto") return std::nullopt;
  lcore_list list = parse_numbers(setting, text);
  for (auto at = list.begin(); at != list.end(); ++at)
    if (names({list.begin(), at}, *at))
      refuse(fmt::format("setting {}: lcore {} is named twice", setting, *at));
  if (list.size() > most)
    refuse(fmt::format("setting {}: {} lcores, and there can be no more than {}", setting,
                       list.size(), most));
  return list;
}

const pmd::eal_lcore* find_lcore(const lcore_facts& facts, unsigned id) {
  const auto found = std::ranges::find(facts.lcores, id, &pmd::eal_lcore::id);
  return found == facts.lcores.end() ? nullptr : &*found;
}

void check_wish(std::string_view setting, const lcore_list& list, const lcore_facts& facts) {
  for (const unsigned id : list) {
    const pmd::eal_lcore* lcore = find_lcore(facts, id);
    if (lcore == nullptr) {
      std::string all;
      for (const pmd::eal_lcore& l : facts.lcores)
        all += (all.empty() ? "" : ",") + std::to_string(l.id);
      refuse(fmt::format("setting {}: lcore {} is not among the EAL's (-l): {}", setting, id, all));
    }
    if (lcore->main)
      refuse(fmt::format("setting {}: lcore {} is the EAL's main one, which runs the app", setting,
                         id));
  }
}

/// Those that auto may take, the best first.
lcore_list free_lcores(const lcore_wishes& wishes, const lcore_facts& facts) {
  const lcore_list none;
  const lcore_list& io = wishes.io ? *wishes.io : none;
  const lcore_list& dcopy = wishes.dcopy ? *wishes.dcopy : none;
  lcore_list near, far;
  for (const pmd::eal_lcore& l : facts.lcores) {
    if (l.main || l.busy || names(io, l.id) || names(dcopy, l.id)) continue;
    (l.node == facts.device_node ? near : far).push_back(l.id);
  }
  near.insert(near.end(), far.begin(), far.end());
  return near;
}

lcore_list take_first(lcore_list& from, std::size_t most) {
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(std::min(most, from.size()));
  lcore_list out(from.begin(), end);
  from.erase(from.begin(), end);
  return out;
}

std::string node_text(int node) {
  return node < 0 ? "-" : std::to_string(node);
}

}  // namespace

lcore_wishes parse_lcores(const settings& values) {
  lcore_wishes wishes{
      parse_wish("io_lcores", values.io_lcores, core::most_io_lcores),
      parse_wish("dcopy_lcores", values.dcopy_lcores, core::most_dcopy_lcores),
  };
  if (wishes.io && wishes.dcopy)
    for (const unsigned id : *wishes.io)
      if (names(*wishes.dcopy, id))
        refuse(fmt::format("lcore {} is in both settings, io_lcores and dcopy_lcores", id));
  return wishes;
}

std::vector<unsigned> lcores_to_have(const lcore_wishes& wishes, std::size_t cpus) {
  constexpr std::size_t most = 1 + core::most_io_lcores + core::most_dcopy_lcores;
  lcore_list out;
  for (const auto& named : {wishes.io, wishes.dcopy})
    if (named) out.insert(out.end(), named->begin(), named->end());
  if (!wishes.io || !wishes.dcopy)
    for (unsigned id = 1; id < std::min(cpus, most); ++id)
      if (!names(out, id)) out.push_back(id);
  return out;
}

lcore_plan plan_lcores(const lcore_wishes& wishes, const lcore_facts& facts) {
  if (wishes.io) check_wish("io_lcores", *wishes.io, facts);
  if (wishes.dcopy) check_wish("dcopy_lcores", *wishes.dcopy, facts);
  lcore_plan plan{wishes.io.value_or(lcore_list()), wishes.dcopy.value_or(lcore_list())};
  lcore_list left = free_lcores(wishes, facts);
  if (!wishes.io) {
    // Not inline instead: who asks for io lcores may use the runtime from several threads.
    if (left.empty())
      refuse(
          "setting io_lcores: auto finds no lcore that is free; give the EAL more than its main "
          "one (-l)");
    const std::size_t share = wishes.dcopy ? left.size() : (left.size() + 1) / 2;
    plan.io = take_first(left, std::min<std::size_t>(share, core::most_io_lcores));
  }
  if (!wishes.dcopy) plan.dcopy = take_first(left, core::most_dcopy_lcores);
  return plan;
}

std::vector<std::string> describe_plan(const lcore_plan& plan, const lcore_facts& facts) {
  std::vector<std::string> lines;
  const auto add = [&lines](std::string_view role, std::string_view lcore, std::string_view node,
                            std::string_view what) {
    lines.push_back(fmt::format("{:<5} | {:>5} | {:>9} | {}", role, lcore, node, what));
  };
  const auto add_lcore = [&](std::string_view role, unsigned id, std::string what) {
    const pmd::eal_lcore* lcore = find_lcore(facts, id);
    const int node = lcore == nullptr ? -1 : lcore->node;
    if (node >= 0 && facts.device_node >= 0 && node != facts.device_node)
      what += fmt::format("; the device is on node {}", facts.device_node);
    add(role, std::to_string(id), node_text(node), what);
  };
  add("role", "lcore", "NUMA node", "what");
  for (const pmd::eal_lcore& l : facts.lcores)
    if (l.main)
      add("app", std::to_string(l.id), node_text(l.node),
          plan.io.empty() ? "the application, and the loop (inline)" : "the application");
  for (std::size_t i = 0; i < plan.io.size(); ++i)
    add_lcore("io", plan.io[i],
              fmt::format("channels and sockets, {} of {}", i + 1, plan.io.size()));
  for (const unsigned id : plan.dcopy) add_lcore("dcopy", id, "copies of large reads and writes");
  return lines;
}

}  // namespace nd::api
