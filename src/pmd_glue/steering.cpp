#include "pmd_glue/steering.hpp"

#include <net/if.h>
#include <rte_bus.h>
#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_flow.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <string_view>
#include <system_error>

#include "nd/endpoint.hpp"
#include "nd/error.hpp"
#include "pmd_glue/log.hpp"
#include "pmd_glue/netdev.hpp"

namespace nd::pmd {
namespace {

using texts = std::vector<std::string>;

std::string dotted(std::uint32_t ip) {
  return nd::address(ip).to_string();
}

std::string reason_of(int result, const rte_flow_error& error) {
  return error.message != nullptr ? error.message : rte_strerror(-result);
}

steering_needs needs_of(const settings& values, const rte_eth_dev_info& info) {
  steering_needs needs;
  needs.ip = values.own_address().to_uint();
  needs.udp = values.encap == "udp";
  needs.ip_protocol = static_cast<std::uint8_t>(values.ip_protocol);
  needs.udp_port = static_cast<std::uint16_t>(values.udp_port);
  if (info.if_index == 0) return needs;
  const std::vector<netdev> all = list_netdevs();
  needs.kernel_has_ip = kernel_has(all, needs.ip);
  if (const netdev* device = find_by_index(all, info.if_index))
    for (const netdev::address& a : device->addresses) needs.kernel_ips.push_back(a.ip);
  return needs;
}

std::string name_of(std::uint16_t id, const rte_eth_dev_info& info) {
  std::string name = "ethdev port " + std::to_string(id) + " (" + info.driver_name;
  std::array<char, IF_NAMESIZE> interface {};
  if (info.if_index != 0 && if_indextoname(info.if_index, interface.data()) != nullptr)
    name += std::string(", ") + interface.data();
  return name + ")";
}

constexpr std::uint8_t dscp_mask = 0xfc;

/// The items of a match, and what they point at.
struct flow_pattern {
  explicit flow_pattern(const flow_match& match) noexcept {
    std::size_t n = 0;
    if (match.arp) {
      eth_spec.hdr.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP);
      eth_mask.hdr.ether_type = 0xffff;
      items[n++] = {RTE_FLOW_ITEM_TYPE_ETH, &eth_spec, nullptr, &eth_mask};
    } else {
      items[n++] = {RTE_FLOW_ITEM_TYPE_ETH, nullptr, nullptr, nullptr};
      if (match.destination) {
        ip_spec.hdr.dst_addr = rte_cpu_to_be_32(*match.destination);
        ip_mask.hdr.dst_addr = 0xffffffff;
      }
      if (match.protocol) {
        ip_spec.hdr.next_proto_id = *match.protocol;
        ip_mask.hdr.next_proto_id = 0xff;
      }
      if (match.tos) {
        ip_spec.hdr.type_of_service = *match.tos;
        ip_mask.hdr.type_of_service = dscp_mask;
      }
      const bool any = !match.destination && !match.protocol && !match.tos;
      items[n++] = {RTE_FLOW_ITEM_TYPE_IPV4, any ? nullptr : &ip_spec, nullptr,
                    any ? nullptr : &ip_mask};
      if (match.udp_port) {
        udp_spec.hdr.dst_port = rte_cpu_to_be_16(*match.udp_port);
        udp_mask.hdr.dst_port = 0xffff;
        if (match.source_port) {
          udp_spec.hdr.src_port = rte_cpu_to_be_16(match.source_port->value);
          udp_mask.hdr.src_port = rte_cpu_to_be_16(match.source_port->mask);
        }
        items[n++] = {RTE_FLOW_ITEM_TYPE_UDP, &udp_spec, nullptr, &udp_mask};
      }
    }
    items[n] = {RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr};
  }
  flow_pattern(const flow_pattern&) = delete;
  flow_pattern& operator=(const flow_pattern&) = delete;

  rte_flow_item_eth eth_spec{}, eth_mask{};
  rte_flow_item_ipv4 ip_spec{}, ip_mask{};
  rte_flow_item_udp udp_spec{}, udp_mask{};
  std::array<rte_flow_item, 4> items{};
};

/// RSS over all queues, or the first queue alone.
struct flow_fate {
  flow_fate(const flow_target& target, bool rss) noexcept {
    if (rss) {
      spread.func = RTE_ETH_HASH_FUNCTION_DEFAULT;
      spread.types = target.rss_types;
      spread.key_len = static_cast<std::uint32_t>(target.rss_key.size());
      spread.key = target.rss_key.empty() ? nullptr : target.rss_key.data();
      spread.queue_num = static_cast<std::uint32_t>(target.queues.size());
      spread.queue = target.queues.data();
      actions[0] = {RTE_FLOW_ACTION_TYPE_RSS, &spread};
    } else {
      queue.index = target.queues.front();
      actions[0] = {RTE_FLOW_ACTION_TYPE_QUEUE, &queue};
    }
    actions[1] = {RTE_FLOW_ACTION_TYPE_END, nullptr};
  }
  flow_fate(const flow_fate&) = delete;
  flow_fate& operator=(const flow_fate&) = delete;

  rte_flow_action_rss spread{};
  rte_flow_action_queue queue{};
  std::array<rte_flow_action, 2> actions{};
};

std::string fate_text(const flow_target& target, bool rss) {
  if (!rss) return " / end actions queue index " + std::to_string(target.queues.front()) + " / end";
  std::string text = " / end actions rss queues";
  for (const std::uint16_t q : target.queues) text += " " + std::to_string(q);
  return text + " end / end";
}

}  // namespace

std::string flow_match::text() const {
  if (arp) return "eth type is 0x0806";
  std::string out = "eth / ipv4";
  if (destination) out += " dst is " + dotted(*destination);
  if (protocol) out += " proto is " + std::to_string(*protocol);
  if (tos) out += " tos spec " + std::to_string(*tos) + " tos mask " + std::to_string(dscp_mask);
  if (udp_port) out += " / udp dst is " + std::to_string(*udp_port);
  if (udp_port && source_port)
    out += " src spec " + std::to_string(source_port->value) + " src mask " +
           std::to_string(source_port->mask);
  return out;
}

std::vector<flow_wish> plan_rules(const steering_needs& needs, texts& warnings) {
  flow_match mine;  // whoever it is sent to
  if (needs.udp) {
    mine.udp_port = needs.udp_port;
  } else {
    mine.protocol = needs.ip_protocol;
  }
  flow_match exact = mine;
  exact.destination = needs.ip;
  flow_wish packets{
      .what = "ND's packets", .matches = {exact, mine}, .without = "", .spread = true};
  std::vector<flow_wish> wishes;
  if (!needs.kernel_has_ip) {
    // Nobody but us has the address: all that is sent to it may come here.
    packets.matches.push_back({.destination = needs.ip});
    wishes.push_back({.what = "ping",
                      .matches = {{.destination = needs.ip, .protocol = std::uint8_t{1}}},
                      .without = "ping is not answered"});
  }
  wishes.insert(wishes.begin(), packets);
  if (needs.arp_copied) return wishes;

  const std::string by_hand = "set each other's MAC at both ends (setting neighbors)";
  if (needs.kernel_ips.empty()) {
    wishes.push_back({.what = "ARP",
                      .matches = {{.arp = true}},
                      .without = "no ARP reaches this host: " + by_hand});
  } else {
    // A rule takes ARP away from the kernel as a whole, the answers to its own requests too.
    warnings.push_back("the kernel uses this interface as " + dotted(needs.kernel_ips.front()) +
                       " and keeps ARP; without CAP_NET_RAW there are no copies of it: " + by_hand);
  }
  return wishes;
}

std::optional<flow_wish> wish_of_lcore(const flow_wish& wish, std::size_t lcore,
                                       std::size_t lcores) {
  // 49152 and 16384 are multiples of all powers of two up to 16384: the id's low bits are the
  // port's.
  if (lcores < 2 || lcores > 16384 || !std::has_single_bit(lcores)) return std::nullopt;
  flow_wish out{.what = wish.what + " of io lcore " + std::to_string(lcore + 1) + " of " +
                        std::to_string(lcores),
                .matches = {},
                .without = wish.without,
                .priority = wish.priority};
  const auto mask = static_cast<std::uint16_t>(lcores - 1);
  for (flow_match match : wish.matches) {
    if (!match.udp_port) continue;
    match.source_port = {static_cast<std::uint16_t>((lcore + 1) & mask), mask};
    out.matches.push_back(match);
  }
  if (out.matches.empty()) return std::nullopt;
  return out;
}

flow_wish wish_of_class(const flow_wish& wish, std::uint8_t tos) {
  flow_wish out = wish;
  out.what += " of the latency class";
  for (flow_match& match : out.matches) match.tos = tos;
  return out;
}

std::optional<std::string> flow_rules::grant(const flow_wish& wish, const flow_target& target,
                                             std::string& refusal) {
  const std::string start =
      wish.priority == 0 ? "" : "priority " + std::to_string(wish.priority) + " ";
  const bool can_spread = target.queues.size() > 1 && target.rss_types != 0 && wish.spread;
  for (const bool rss : {true, false}) {
    if (rss && !can_spread) continue;
    for (const flow_match& match : wish.matches) {
      rte_flow_attr attributes{};
      attributes.ingress = 1;
      attributes.priority = wish.priority;
      const flow_pattern pattern(match);
      const flow_fate fate(target, rss);
      rte_flow_error error{};
      const int result = rte_flow_validate(port_id_, &attributes, pattern.items.data(),
                                           fate.actions.data(), &error);
      if (result == 0) {
        error = {};
        rte_flow* rule = rte_flow_create(port_id_, &attributes, pattern.items.data(),
                                         fate.actions.data(), &error);
        if (rule != nullptr) {
          rules_.push_back(rule);
          return start + match.text() + fate_text(target, rss);
        }
      }
      if (!refusal.empty()) refusal += "; ";
      refusal += start + match.text() + fate_text(target, rss) + ": " +
                 reason_of(result != 0 ? result : -rte_errno, error);
    }
  }
  return std::nullopt;
}

void flow_rules::clear(std::size_t kept) noexcept {
  for (rte_flow* rule : std::span(rules_).subspan(kept)) {
    rte_flow_error error{};
    const int result = rte_flow_destroy(port_id_, rule, &error);
    if (result != 0)
      log(log_level::warning, "ethdev port " + std::to_string(port_id_) +
                                  ": a flow rule was not destroyed: " + reason_of(result, error));
  }
  rules_.resize(kept);
}

bool shares_with_kernel(const rte_eth_dev_info& info) {
  // Virtual devices have an interface too, but are not the NIC: what net_tap would leave to the
  // kernel, the kernel has just sent.
  const rte_bus* bus = rte_bus_find_by_device(info.device);
  return info.if_index != 0 && bus != nullptr && std::string_view(rte_bus_name(bus)) != "vdev";
}

bool wants_isolation(const settings& values, const rte_eth_dev_info& info) {
  return values.isolate == "on" || (values.isolate != "off" && shares_with_kernel(info));
}

nic_sharing::nic_sharing(const settings& values, const rte_eth_dev_info& info, bool shared)
    : port_id_(static_cast<std::uint16_t>(values.port)),
      interface_(info.if_index),
      must_(values.isolate == "on"),
      name_(name_of(port_id_, info)),
      needs_(needs_of(values, info)),
      rules_(port_id_) {
  if (values.isolate == "off" || (!must_ && !shared)) return;
  rte_flow_error error{};
  const int result = rte_flow_isolate(port_id_, 1, &error);
  isolated_ = result == 0;
  if (!isolated_)
    give_up("the device refuses isolated mode (rte_flow_isolate: " + reason_of(result, error) +
            ")");
}

void nic_sharing::refuse(const std::string& why) const {
  throw std::system_error(make_error_code(errc::no_device), name_ + ": " + why);
}

/// Without isolated mode the kernel gets nothing that is sent to the port's MAC address.
void nic_sharing::give_up(const std::string& why) {
  if (must_)
    refuse(why + ": setting isolate=on can't be kept; isolate=off takes all frames of the port");
  if (!needs_.kernel_ips.empty())
    refuse(why + ", and would take all frames from the kernel, which uses the interface as " +
           dotted(needs_.kernel_ips.front()) + ": setting isolate=off does so");
  log(log_level::warning,
      name_ + ": " + why + ": all frames of the port come here, none to the kernel");
}

/// A rule for each io lcore, or none: then they share one.
bool nic_sharing::grant_by_lcore(const flow_wish& wish, const flow_target& target) {
  const std::size_t lcores = target.queues.size();
  const std::size_t before = rules_.size();
  if (!target.by_lcore || !wish.spread) return false;
  for (std::size_t i = 0; i < lcores; ++i) {
    const auto part = wish_of_lcore(wish, i, lcores);
    if (!part) return false;
    std::string refusal;
    const auto rule = rules_.grant(*part, {.queues = {target.queues[i]}}, refusal);
    if (!rule) {
      log(log_level::warning, name_ + ": no flow rule for " + part->what + " by " + refusal);
      rules_.clear(before);
      return false;
    }
    log(log_level::notice, name_ + ": flow rule for " + part->what + ": " + *rule);
  }
  return true;
}

bool nic_sharing::grant(const flow_wish& wish, const flow_target& target) {
  if (grant_by_lcore(wish, target)) return true;
  std::string refusal;
  const auto rule = rules_.grant(wish, target, refusal);
  if (!refusal.empty())
    log(log_level::warning, name_ + ": no flow rule for " + wish.what + " by " + refusal);
  if (rule) log(log_level::notice, name_ + ": flow rule for " + wish.what + ": " + *rule);
  return rule.has_value();
}

/// Rules for ND's packets by class, those of the latency class before the others; or none.
bool nic_sharing::grant_by_class(const flow_wish& wish, const flow_target& target,
                                 const class_target& latency) {
  if (latency.queues.empty() || !wish.spread) return false;
  flow_target own = target;
  own.queues = latency.queues;
  flow_wish others = wish;
  others.priority = 1;
  separates_classes_ = grant(wish_of_class(wish, latency.tos), own) && grant(others, target);
  if (!separates_classes_) rules_.clear();  // ND's packets are the first wish: all are of theirs
  return separates_classes_;
}

bool nic_sharing::install(const flow_target& target, const class_target& latency) {
  if (!isolated_) return true;
  if (interface_ != 0) {
    try {
      arp_.emplace(interface_);
      needs_.arp_copied = true;
    } catch (const std::system_error&) {
      // plan_rules() says what it means.
    }
  }
  texts warnings;
  for (const flow_wish& wish : plan_rules(needs_, warnings)) {
    if (grant_by_class(wish, target, latency) || grant(wish, target)) continue;
    if (wish.without.empty()) {
      rules_.clear();
      arp_.reset();
      give_up("the device takes no flow rule for " + wish.what);
      return false;
    }
    log(log_level::warning, name_ + ": " + wish.without);
  }
  for (const std::string& w : warnings) log(log_level::warning, name_ + ": " + w);
  return true;
}

void nic_sharing::leave_isolated_mode() {
  rte_flow_error error{};
  if (const int result = rte_flow_isolate(port_id_, 0, &error); result != 0)
    refuse("leaving isolated mode: " + reason_of(result, error));
  isolated_ = false;
}

std::uint64_t rss_types_of(const settings& values, const rte_eth_dev_info& info) noexcept {
  const std::uint64_t ip =
      info.flow_type_rss_offloads & (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER);
  const std::uint64_t udp = info.flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_UDP;
  return values.encap == "udp" && udp != 0 ? udp : ip;
}

std::vector<std::uint8_t> rss_key_of(const settings& values, const rte_eth_dev_info& info) {
  std::vector<std::uint8_t> key(values.rss_key.size() / 2);
  bool good = values.rss_key.size() % 2 == 0;
  for (std::size_t i = 0; good && i < key.size(); ++i) {
    const char* at = values.rss_key.data() + 2 * i;
    const auto [end, ec] = std::from_chars(at, at + 2, key[i], 16);
    good = ec == std::errc() && end == at + 2;
  }
  if (!good || (!key.empty() && key.size() != info.hash_key_size)) {
    throw std::system_error(
        make_error_code(errc::bad_option),
        "setting rss_key: '" + values.rss_key + "' is not " +
            (info.hash_key_size != 0 ? std::to_string(info.hash_key_size) + " bytes as hex digits"
                                     : std::string("of use: the device takes no key")));
  }
  return key;
}

}  // namespace nd::pmd
