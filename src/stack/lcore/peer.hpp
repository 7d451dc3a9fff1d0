// All that this host keeps about another one (nd_conn_ctrl): its channels and who wants to send.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/index_queue.hpp"
#include "base/timer_wheel.hpp"
#include "channel/channel.hpp"
#include "lcore/exchange.hpp"
#include "lcore/framing.hpp"
#include "lcore/socket_table.hpp"

namespace nd::core {

inline constexpr std::size_t traffic_classes = 2;  // nd::traffic_class
inline constexpr std::size_t bulk_class = 0;
inline constexpr std::size_t latency_class = 1;

struct channel_entry {
  channel_entry(const channel_config& config, counters& stats, peer& p)
      : chan(config, stats), owner(p) {}

  bool is_live() const noexcept { return chan.state() == channel_state::open && !chan.stalled(); }
  channel_load load() const noexcept {
    return {chan.queue_room(), is_live(), chan.loss_share(), chan.queued_bytes()};
  }

  channel chan;
  peer& owner;
  packet_route route;
  std::uint16_t payload = 0;  ///< max_payload() as its sockets know it
  bool mtu_limited = false;   ///< its path takes less than both ends, and that was told
  bool active = false;        ///< in the host's list of channels to look at in this turn
  /// Tickets of packets that other lcores are at work on, or that came after one of those.
  index_queue<std::uint32_t> handed;
  timer wake{timer::owner_kind::channel, this};
};

/// The sockets of one class that have something to send, in turn; and the wait list of its
/// channels, because they stay in it while those are full.
class ready_queue {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  socket_entry* front() const noexcept { return head_; }
  void push(socket_entry& s) noexcept {
    if (s.ready) return;
    s.ready = true;
    s.next_ready = nullptr;
    s.prev_ready = tail_;
    (tail_ != nullptr ? tail_->next_ready : head_) = &s;
    tail_ = &s;
  }
  void pop() noexcept { remove(*head_); }
  void remove(socket_entry& s) noexcept {
    if (!s.ready) return;
    (s.prev_ready != nullptr ? s.prev_ready->next_ready : head_) = s.next_ready;
    (s.next_ready != nullptr ? s.next_ready->prev_ready : tail_) = s.prev_ready;
    s.ready = false;
  }

 private:
  socket_entry* head_ = nullptr;
  socket_entry* tail_ = nullptr;
};

/// To another lcore's channels.
struct lane {
  std::uint16_t payload = 0;  ///< bytes that a record may have there; 0: not known yet
  instant closed_until;       ///< nothing could be carried there
};

struct peer {
  struct per_class {
    std::vector<channel_entry*> channels;  ///< opening or open
    ready_queue ready;
    bool stuck = false;  ///< all of `ready` wait for channels of their own, which are full

    std::vector<lane> lanes;                     ///< by lcore; none while nothing was forwarded
    index_queue<forwarded_record> forwarded{0};  ///< for our channels
    channel_cursor cursor;                       ///< of those

    /// Sockets, or other lcores, have something to send.
    bool waiting() const noexcept { return !ready.empty() || !forwarded.empty(); }
    bool any_live() const noexcept {
      return std::ranges::any_of(channels, [](const channel_entry* e) { return e->is_live(); });
    }
  };

  std::uint32_t ip = 0;
  std::uint64_t epoch = 0;  ///< 0: not known yet
  instant known_since;      ///< with this epoch

  // Of the last time that it was given up.
  std::uint64_t lost_epoch = 0;
  instant lost_at;           ///< cookies from before are void; zero: none is
  instant gone_at;           ///< what other lcores had of it then is void
  bool fell_silent = false;  ///< that was why, and it has not come back since
  int pauses = 0;            ///< times that it did come back in the same life
  std::array<per_class, traffic_classes> classes;
  std::deque<wire::record> resets;  ///< records without an owner, sent before all others
  /// Somebody has something to send, and a channel takes it.
  bool can_push() const noexcept {
    for (const per_class& c : classes) {
      const bool live = c.any_live();
      for (const channel_entry* e : c.channels) {
        if (live && !e->is_live()) continue;
        const bool wanted = (!c.ready.empty() && !c.stuck) || !c.forwarded.empty();
        if (wanted && e->chan.queue_room() > 0) return true;
        if (!resets.empty() && e->chan.can_queue()) return true;
      }
    }
    return false;
  }

  /// Ids of the connections that it opened, by the lcore that did. They are given in turn, so a
  /// SYNC that comes again is recognised even when its connection has long ended.
  std::map<unsigned, received_numbers> connections;

  /// Ours to it. A SYN is held back while one that is half its window older has not arrived: it
  /// would be taken for one that comes again. In batches: when the last one has arrived the next
  /// ones go.
  std::uint64_t first_sync = 0;  ///< the lowest id that may be on its way
  std::size_t syncs_under_way = 0;
  std::deque<wire::socket_handle> syncs_held;  ///< in the order of their ids

  memory_budget out_of_order;
  std::size_t sockets = 0;

  bool has_ready() const noexcept {
    return !resets.empty() || classes[0].waiting() || classes[1].waiting();
  }

  /// Somebody wants to send in this class, and nothing carries it. Resets go by any class; they may
  /// be all that there is where what they answer came to another lcore.
  bool needs_channels(std::size_t traffic_class) const noexcept {
    const auto none = [](const per_class& c) { return c.channels.empty(); };
    const bool stuck =
        traffic_class == bulk_class && !resets.empty() && std::ranges::all_of(classes, none);
    return stuck || (classes[traffic_class].waiting() && none(classes[traffic_class]));
  }

  bool active = false;  ///< in the host's list of peers with something to send
};

}  // namespace nd::core
