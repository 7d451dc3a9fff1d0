#include "api/text.hpp"

#include <fmt/format.h>

#include "nd/endpoint.hpp"

namespace nd::api {

std::string text_of(std::uint32_t ip) {
  return nd::address(ip).to_string();
}

std::string text_of(const mac_address& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

log_line describe(const event& e, const std::string& own) {
  using pmd::log_level;
  const std::string ip = text_of(e.ip);
  switch (e.kind) {
    case event_kind::link_up: return {log_level::notice, "the link is up again"};
    case event_kind::link_down:
      return {log_level::warning, "the link is down: frames are lost until it is up again"};
    case event_kind::device_gone:
      return {log_level::error,
              "the interface was removed: all connections are over; start again when it is back"};
    case event_kind::address_conflict:
      return {log_level::error,
              fmt::format("{} is the address of {} too: give one of the two another (setting ip)",
                          ip, text_of(e.mac))};
    case event_kind::neighbor_moved:
      return {log_level::info, fmt::format("{} was at {} and is at {} now: a restart, a failover, "
                                           "or two hosts with one address",
                                           ip, text_of(e.before), text_of(e.mac))};
    case event_kind::off_link_neighbor:
      return {log_level::warning,
              fmt::format("{} ({}) takes this host for its neighbour, but {} does not hold it: a "
                          "wrong prefix length here or there",
                          ip, text_of(e.mac), own)};
    case event_kind::no_route:
      return {log_level::warning,
              fmt::format("no way to {}: it is outside {}, and there is no gateway (settings ip, "
                          "gateway)",
                          ip, own)};
    case event_kind::gateway_silent:
      return {log_level::warning, fmt::format("the gateway {} does not answer ARP", ip)};
    case event_kind::mtu_differs:
      return {
          log_level::notice,
          fmt::format("the MTU of {} is {}, of this host {}: the smaller one holds between them",
                      ip, e.bytes, e.limit)};
    case event_kind::path_mtu_limited:
      return {log_level::warning,
              fmt::format("packets above some {} bytes do not reach {}, though both ends take {}: "
                          "something on the way has a smaller MTU",
                          e.bytes, ip, e.limit)};
    case event_kind::frame_cut:
      return {log_level::warning,
              fmt::format("{} sends packets of {} bytes, of which this host's device keeps {}: "
                          "they are lost; a smaller MTU there, or a larger one here",
                          ip, e.bytes, e.limit)};
    case event_kind::peer_lied:
      return {log_level::error,
              fmt::format("{} acknowledges packets that it can not have received: its connections "
                          "are over",
                          ip)};
  }
  return {log_level::error, "unknown event"};
}

}  // namespace nd::api
