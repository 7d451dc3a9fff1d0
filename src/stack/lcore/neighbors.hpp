// The ARP table (RFC 826): answers, resolves with bounded retries, keeps static entries.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/port.hpp"
#include "base/time.hpp"

namespace nd::core {

/// Pure bookkeeping: says which requests are due; the host sends them.
class neighbor_table {
 public:
  neighbor_table(duration retry, int tries) noexcept : retry_(retry), tries_(tries) {}

  void add_static(std::uint32_t ip, const mac_address& mac) {
    entries_[ip] = {.mac = mac, .resolved = true, .fixed = true};
  }

  std::optional<mac_address> find(std::uint32_t ip) const noexcept {
    const auto it = entries_.find(ip);
    if (it == entries_.end() || !it->second.resolved) return std::nullopt;
    return it->second.mac;
  }

  /// Starts asking for `ip`. False where that is under way.
  bool resolve(instant now, std::uint32_t ip) {
    auto [it, fresh] = entries_.try_emplace(ip);
    if (!fresh) return false;
    it->second.tries_left = tries_;
    it->second.next_request = now;
    it->second.asking = true;
    ++asking_;
    return true;
  }

  /// Learns from a packet of `ip`. Only what was asked for, or is known, is kept: strangers can't
  /// fill the table. True when this resolved it or changed it.
  bool learn(std::uint32_t ip, const mac_address& mac) {
    const auto it = entries_.find(ip);
    if (it == entries_.end() || it->second.fixed) return false;
    neighbor& n = it->second;
    if (n.resolved && n.mac == mac) return false;
    if (n.asking) --asking_;
    n = {.mac = mac, .resolved = true};
    return true;
  }

  /// What is known of `ip` has shown to be of no use any more (RFC 1122, section 2.3.2.1).
  void forget(std::uint32_t ip) {
    const auto it = entries_.find(ip);
    if (it != entries_.end() && it->second.resolved && !it->second.fixed) entries_.erase(it);
  }

  /// Keeps an address that proved itself (a valid cookie came from it), or is the gateway's. True
  /// as for learn().
  bool confirm(std::uint32_t ip, const mac_address& mac) {
    entries_.try_emplace(ip);
    return learn(ip, mac);
  }

  /// Calls `request(ip)` for each address to ask for now and `failed(ip)` for each given up.
  template <class Request, class Failed>
  void on_timer(instant now, Request&& request, Failed&& failed) {
    if (asking_ == 0) return;
    for (auto it = entries_.begin(); it != entries_.end();) {
      neighbor& n = it->second;
      if (!n.asking || n.next_request > now) {
        ++it;
      } else if (n.tries_left-- > 0) {
        n.next_request = now + retry_;
        request(it->first);
        ++it;
      } else {
        const std::uint32_t ip = it->first;
        it = entries_.erase(it);
        --asking_;
        failed(ip);
      }
    }
  }

  std::size_t size() const noexcept { return entries_.size(); }
  bool asking() const noexcept { return asking_ > 0; }

  /// There was no link: what is being asked for is due now, with all its tries.
  void start_over(instant now) noexcept {
    if (asking_ == 0) return;
    for (auto& [ip, n] : entries_) {
      if (!n.asking) continue;
      n.tries_left = tries_;
      n.next_request = now;
    }
  }

  instant next_deadline() const noexcept {
    instant next = instant::never();
    if (asking_ == 0) return next;
    for (const auto& [ip, n] : entries_)
      if (n.asking) next = earlier(next, n.next_request);
    return next;
  }

 private:
  struct neighbor {
    mac_address mac{};
    bool resolved = false;
    bool fixed = false;
    bool asking = false;
    int tries_left = 0;
    instant next_request{};
  };
  std::unordered_map<std::uint32_t, neighbor> entries_;
  duration retry_;
  int tries_;
  unsigned asking_ = 0;  ///< entries that are being resolved
};

}  // namespace nd::core
