// One host on one lcore: the poll-mode loop and the tables that the lcore owns. With several io
// lcores there is one of these on each, with sockets and channels of its own.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/counters.hpp"
#include "base/event.hpp"
#include "base/kernel_link.hpp"
#include "base/port.hpp"
#include "base/rate_limit.hpp"
#include "base/rng.hpp"
#include "base/settings.hpp"
#include "base/stage_meter.hpp"
#include "base/timer_wheel.hpp"
#include "channel/channel.hpp"
#include "lcore/address_guard.hpp"
#include "lcore/exchange.hpp"
#include "lcore/handed_packets.hpp"
#include "lcore/neighbors.hpp"
#include "lcore/peer.hpp"
#include "lcore/socket_table.hpp"

namespace nd::core {

struct host_config {
  std::string name = "host";  ///< of its tables; differs between the hosts of a process
  settings values;
  lcore_place place;
  lcore_exchange* exchange = nullptr;  ///< with several lcores
  host_address address;
  std::uint32_t gateway = 0;  ///< on the link; 0: none
  std::vector<std::pair<std::uint32_t, mac_address>> neighbors;
  kernel_link* kernel = nullptr;  ///< where the kernel has the device's interface too
  duration watch_interval;        ///< between looks at the link; zero: never
  std::uint64_t epoch = 0;        ///< this boot; later boots have larger ones
  cookie_jar::key cookie_key{};
  std::uint64_t seed = 0;
  /// Where all channels' packet numbers start, in place of a random number, and all streams, at
  /// both ends alike: so that tests reach the end of 32 bits.
  std::optional<std::uint32_t> first_number;
  std::uint64_t first_offset = 0;
  stage_meter::clock cycle_clock = nullptr;  ///< null: cycles are not metered
  rte_mempool* rx_pool = nullptr;            ///< of the device
  std::uint32_t rx_reserved = 0;             ///< mbufs of it that only the device uses
  /// Of what applications write; its mbufs fit a packet of the device's MTU, as do those of
  rte_mempool* tx_pool = nullptr;
  /// packets that the stack builds itself: full send buffers must not keep it from acknowledging.
  rte_mempool* packet_pool = nullptr;
  /// With encap udp: whether the device brings a peer's packets with this source port to this
  /// lcore. Null: nobody knows.
  std::function<bool(std::uint32_t peer_ip, std::uint16_t udp_source)> comes_here;
};

/// What a host holds, and how much of it there may be.
struct host_holdings {
  std::size_t peers = 0;
  std::size_t channels = 0;
  std::size_t sockets = 0;
  std::size_t neighbors = 0;  ///< addresses in the ARP table
  std::size_t resets = 0;     ///< that wait for room in a channel
  std::size_t handed = 0;     ///< packets that other lcores are at work on
  std::size_t forwarded = 0;  ///< records that other lcores carry
  std::uint64_t credit = 0;   ///< bytes granted and not consumed
  std::uint64_t credit_limit = 0;
  std::uint64_t out_of_order = 0;  ///< bytes of mbufs, beyond credit
  std::uint64_t out_of_order_limit = 0;
};

/// All calls from one thread, but for posting to the mailbox.
class host {
 public:
  host(const host_config& config, port& device, instant now);
  ~host();
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  /// One turn of the loop: push(), then pull(). Returns how much there was to do.
  std::size_t poll(instant now) {
    const std::size_t pushed = push(now);
    return pushed + pull(now);
  }
  /// What applications asked for, timers, frames out. Returns how many requests, timers of channels
  /// and sockets, and frames.
  std::size_t push(instant now);
  /// Frames in, and what they brought to the applications: what those answer leaves with the next
  /// push(). Returns how many frames. `now` must be later than when push() sent: an answer may be
  /// here already.
  std::size_t pull(instant now);
  /// When poll() has something to do even if nothing arrives.
  instant next_deadline() const noexcept;

  /// Where applications post requests. Any thread.
  core::mailbox& mailbox() noexcept { return mailbox_; }
  const counters& stats() const noexcept { return stats_; }
  /// What a person should hear of since the last call; the poller asks between polls.
  bool has_events() const noexcept { return !events_.empty(); }
  std::vector<event> take_events() { return events_.take(); }

  /// No bytes and no FIN wait for a peer any more, and no closed connection for its peer's FIN.
  bool drained() noexcept;
  /// Traffic of the latency class came or left within the last millisecond: bulk data moves in
  /// slices (setting bulk_slice), so that nothing of it takes long.
  bool serves_latency(instant now) const noexcept {
    return now - latency_seen_ < latency_memory && bulk_packets_ > 0;
  }
  /// Tells the peers that this host ends: call it again, with polls in between, until it returns
  /// false because all have answered, or for as long as is reasonable.
  bool say_goodbye(instant now);

  bool has_channels() const noexcept;
  host_holdings holdings() const noexcept;
  /// Calls `f(const channel&)` for each.
  template <class F>
  void for_each_channel(F&& f) const {
    for (const auto& entry : channels_)
      if (entry != nullptr) f(std::as_const(entry->chan));
  }

  /// For copies on the thread that polls.
  stage_meter& meter() noexcept { return meter_; }

  lcore_place place() const noexcept { return config_.place; }
  std::uint16_t max_payload() const noexcept;
  bool digests() const noexcept { return environment_.digests; }
  rte_mempool* tx_pool() const noexcept { return config_.tx_pool; }
  /// Bytes can leave from the application's own memory, as far as the device goes.
  bool can_lend() const noexcept { return device_.tx_chains; }
  /// The digests of lent bytes are taken when a packet needs them: channels may leave them out.
  bool late_digests() const noexcept { return config_.values.checksum == "none"; }
  /// Bytes that an application's core may copy ahead of what leaves.
  std::uint64_t most_unsent() const noexcept {
    const std::int64_t most = config_.values.notsent_lowat;
    return most == 0 ? std::numeric_limits<std::uint64_t>::max() : static_cast<std::uint64_t>(most);
  }

 private:
  static constexpr std::size_t burst = 32;
  static constexpr std::size_t tx_budget = 64;  ///< packets a turn
  static constexpr duration latency_memory = duration::milliseconds(1);
  /// Full bursts in a row: bulk data stands in the device's ring, and its senders are told (CE).
  static constexpr int crowded_after = 8;
  /// Packets that a throughput socket sends before the next one: both ends stay with it for a
  /// while.
  static constexpr std::int32_t bulk_round = 4;
  /// How long packets may wait for one before them that another lcore is at work on. Out of order,
  /// acknowledgements look like losses.
  static constexpr duration handed_patience = duration::microseconds(100);
  /// How long an lcore that could carry nothing is left alone.
  static constexpr duration lane_rest = duration::milliseconds(10);
  /// How long a link may take to come up before somebody who waits for it is told.
  static constexpr duration link_grace = duration::milliseconds(500);
  /// Of one peer; it may open no more.
  static constexpr std::size_t max_channels_per_class = 64;
  /// RESETs for one peer that wait for room in its channels; then it opens no more connections.
  static constexpr std::size_t most_resets = 256;

  /// Frames that the device has not taken yet.
  struct frames_out {
    bool full() const noexcept { return count == frames.size(); }
    std::array<rte_mbuf*, burst> frames{};
    std::size_t count = 0;
  };

  // host_receive.cpp: frames in.
  std::size_t receive(instant now);
  void on_frame(instant now, mbuf_ptr frame);
  void on_packet(instant now, mbuf_ptr packet, const received_packet& in);
  void on_channel_packet(instant now, mbuf_ptr packet, const received_packet& in,
                         channel_entry& entry);
  bool is_fresh(channel& c, const wire::channel_header& header);
  bool deliver(instant now, mbuf_ptr& packet, peer& p, std::span<std::byte> records);
  using record_handler = socket_outcome (host::*)(instant, mbuf_ptr&, socket_entry&,
                                                  const wire::record_view&, bool alone);
  static record_handler handler_of(wire::record_type type) noexcept;
  socket_outcome on_data(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool);
  socket_outcome on_grant(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool);
  socket_outcome on_notification(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool);
  socket_outcome on_sync_ack(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool);
  socket_outcome on_fin(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool);
  socket_outcome on_reset(instant, mbuf_ptr&, socket_entry&, const wire::record_view&, bool);
  bool on_sync(instant now, peer& p, const wire::record_view& record);
  static bool is_new_connection(peer& p, std::uint64_t id);
  bool refuse_unknown(peer& p, const wire::record_view& record);
  void touch(socket_entry& s);
  void hand_over(instant now);

  // host_handoff.cpp: records of other lcores' sockets.
  bool is_ours(const wire::record_view& record) const noexcept {
    return config_.place.count == 1 || lcore_of_ports(record.header->source, record.header->dest,
                                                      config_.place.count) == config_.place.index;
  }
  std::uint32_t lcores_of(std::span<std::byte> records) const noexcept;
  void hand_out(instant now, mbuf_ptr packet, channel_entry& entry, const handed_packet& what,
                std::span<std::byte> records, std::uint32_t lcores);
  std::size_t serve_exchange(instant now);
  bool deliver_handed(instant now, const handoff& h);
  void on_handed_back(instant now, const handoff& h);
  void accept(instant now, channel_entry& entry, const handed_packet& what);
  void accept_in_order(instant now, channel_entry& entry);
  void conclude(std::uint32_t ticket);
  channel_entry* channel_of(const handed_packet& what) const noexcept;
  void bury(channel_entry& entry);
  void tell_lcores(const peer_news& news);
  void tell_again();
  void on_news(instant now, const peer_news& news);

  // host_network.cpp: neighbours and the gateway, ARP, ICMP, the link's state.
  std::uint32_t next_hop(std::uint32_t ip) const noexcept;
  bool is_neighbor(std::uint32_t ip) const noexcept;
  std::optional<mac_address> find_way(instant now, const peer& p);
  void learn(instant now, std::uint32_t ip, const mac_address& mac);
  void on_no_neighbor(instant now, std::uint32_t ip);
  void fail_unreachable(instant now, std::uint32_t ip);
  [[gnu::cold]] void on_neighbor_timer(instant now);
  void ask_neighbors(instant now);
  bool is_waiting() const noexcept;
  [[gnu::cold]] void on_arp(instant now, mbuf_ptr frame);
  void on_address_conflict(instant now, const mac_address& other);
  void announce();
  void send_arp(std::uint16_t operation, const mac_address& to, std::uint32_t sender_ip,
                const mac_address& target_mac, std::uint32_t target_ip);
  [[gnu::cold]] void on_icmp(instant now, mbuf_ptr frame, const received_packet& in);
  [[gnu::cold]] void watch(instant now);
  [[gnu::cold]] void on_cut(instant now, const received_packet& in);
  void on_peer_mtu(instant now, const peer& p, std::uint16_t mtu);
  void watch_path_mtu(instant now, channel_entry& entry);
  void on_link(instant now, bool up);
  void on_device_gone(instant now);

  // host_handshake.cpp: channels come and go.
  [[gnu::cold]] void on_init(instant now, const received_packet& in);
  [[gnu::cold]] void on_cookie_echo(instant now, const received_packet& in);
  static channel_entry* channel_called(const peer& p, std::uint32_t peer_id) noexcept;
  static bool is_void(const peer& p, const channel_entry* present,
                      const wire::handshake_body& echo) noexcept;
  [[gnu::cold]] void on_handshake_answer(instant now, channel_entry& entry, wire::packet_kind kind,
                                         const wire::handshake_body& body);
  [[gnu::cold]] void on_abort(instant now, const received_packet& in);
  [[gnu::cold]] void on_close(instant now, channel_entry& entry);
  [[gnu::cold]] void on_lying_peer(instant now, peer& p);
  [[gnu::cold]] void answer_unknown(instant now, const received_packet& in);
  void answer(const received_packet& in, const wire::channel_header& header,
              std::span<const std::byte> body);
  [[gnu::cold]] wire::packet_format handshake_format(std::uint32_t peer_ip) const noexcept;
  packet_route route_to(std::uint32_t ip, const mac_address& mac, std::uint8_t traffic_class,
                        std::uint32_t channel) const noexcept;
  channel_entry* find_channel(std::uint32_t id) const noexcept;
  std::size_t free_channel_number(std::uint32_t peer_ip) const;
  channel_entry* create_channel(peer& p, const mac_address& mac, std::uint8_t traffic_class);
  [[gnu::cold]] void open_channels(instant now, peer& p, std::size_t traffic_class);
  void update_peer(peer& p);
  void learn_epoch(instant now, peer& p, std::uint64_t epoch);
  [[gnu::cold]] void relieve(instant now, channel_entry& entry);
  static bool others_answer(instant now, const channel_entry& entry);
  [[gnu::cold]] void drop_channel(instant now, channel_entry& entry);
  [[gnu::cold]] void lose_peer(instant now, peer& p, errc error, bool reconnect);
  [[gnu::cold]] void give_up(instant now, peer& p, errc error, bool reconnect);
  peer* peer_of(instant now, std::uint32_t ip);
  bool forget_idle_peer(instant now);

  // host_requests.cpp: applications, timers, and what becomes of sockets.
  std::size_t serve_requests(instant now);
  void drop_requests();
  static void drop_listener(listener_link& listener);
  void on_socket_request(instant now, socket_link& link, std::uint32_t requests);
  void on_listener_request(instant now, listener_link& link, std::uint32_t requests);
  void connect(instant now, socket_link& link);
  std::uint16_t free_port(std::uint32_t peer_ip, std::uint16_t peer_port);
  socket_entry* create_socket(socket_link& link, const socket_key& key, std::uint64_t connection,
                              peer& p);
  std::uint32_t path_payload(const peer& p, std::size_t traffic_class) const noexcept;
  [[gnu::cold]] void on_path_mtu(channel_entry& entry);
  std::size_t on_timer(instant now, timer& t);
  void on_channel_timer(instant now, channel_entry& entry);
  void settle(instant now, socket_entry& s, socket_outcome outcome);
  void finish(socket_entry& s);
  void send_sync(socket_entry& s);
  void on_sync_arrived(socket_entry& s);
  void apply_verdicts(instant now, peer& p);
  void on_verdict(instant now, const wire::record& r, bool arrived);

  // host_send.cpp: frames out.
  void send(instant now);
  void push_records(instant now, peer& p);
  void push_class(instant now, peer::per_class& c, std::int32_t round);
  template <class Choose, class Give>
  void serve_ready(instant now, peer::per_class& c, std::int32_t round, bool each_waits_alone,
                   Choose&& choose, Give&& give);
  /// Bytes that a socket sends before the next one of its class.
  std::int32_t round_of(std::size_t traffic_class) const noexcept {
    return (traffic_class == latency_class ? 1 : bulk_round) * std::int32_t{max_payload()};
  }
  [[gnu::cold]] void forward(instant now);
  [[gnu::cold]] void forward_class(instant now, peer& p, peer::per_class& c,
                                   std::size_t traffic_class);

  // host_forwarding.cpp: records that another lcore's channels carry.
  [[gnu::cold]] void push_forwarded(peer& p, peer::per_class& c, std::int32_t bound);
  [[gnu::cold]] void carry(instant now, const forwarded_record& f);
  [[gnu::cold]] void send_back(const peer& p, const wire::record& r, bool arrived);
  void send_back(std::uint32_t peer_ip, const wire::record& r, bool arrived, std::uint32_t payload);
  void let_go(peer::per_class& c);
  void taken(unsigned home);
  void return_forwarded(peer& p);
  [[gnu::cold]] void on_returned(instant now, const forwarded_record& f);
  [[gnu::cold]] void push_reset(peer& p, const wire::record& r);
  [[gnu::cold]] void queue_resets(peer& p, peer::per_class& c);
  std::size_t send_channel(instant now, channel_entry& entry, std::size_t budget);
  void acknowledge(instant now);
  frames_out& lane_of(const channel_entry& entry) noexcept {
    return entry.chan.traffic_class() == latency_class ? urgent_ : tx_;
  }
  void transmit(rte_mbuf* packet, const packet_route& route, frames_out& out);
  void enqueue(rte_mbuf* frame, frames_out& out);
  void flush(instant now);
  void flush(instant now, frames_out& out);
  void activate(channel_entry& entry);
  void activate(peer& p);
  void make_ready(socket_entry& s);

  host_config config_;
  port& port_;
  const port_capabilities& device_;
  counters stats_;
  stage_meter meter_;
  rng random_;
  timer_wheel timers_;
  core::mailbox mailbox_;
  credit_pool credit_;
  memory_budget out_of_order_;
  handed_packets handed_;
  const bool forwards_;
  std::size_t forwarded_ = 0;                                 ///< records that other lcores have
  std::array<std::uint64_t, most_io_lcores> forwarded_to_{};  ///< each, in all
  std::deque<std::pair<unsigned, peer_news>> untold_;  ///< and for which lcore: its ring was full
  socket_environment environment_;
  cookie_jar cookies_;
  neighbor_table neighbors_;
  address_guard guard_;
  timer neighbor_wake_{timer::owner_kind::neighbor, nullptr};  ///< of both
  timer watch_wake_{timer::owner_kind::watch, nullptr};
  event_queue events_;
  bool link_up_;
  bool link_down_told_ = false;
  instant tell_link_down_at_ = instant::never();  ///< somebody needs a link that was never there
  bool device_gone_ = false;

  std::unordered_map<std::uint32_t, std::unique_ptr<peer>> peers_;
  std::vector<std::unique_ptr<channel_entry>> channels_;  ///< by channel_number()
  socket_table sockets_;
  std::unordered_map<std::uint16_t, listener_link*> listeners_;
  std::uint16_t next_port_;
  std::optional<socket_key> no_port_for_;  ///< nothing was free, and no socket has ended since
  std::uint64_t next_connection_;          ///< id; given in turn

  std::vector<channel_entry*> active_channels_;
  std::vector<peer*> active_peers_;
  std::vector<wire::socket_handle> touched_;
  std::vector<std::unique_ptr<channel_entry>> graveyard_;  ///< dead channels, until push() ends
  std::vector<channel_load> loads_;                        ///< of the channels of a class
  const channel_policy channel_policy_;
  record_verdicts verdicts_;
  std::vector<wire::ack_range> ranges_;
  frames_out tx_;
  frames_out urgent_;         ///< of latency channels; they leave first
  std::size_t bulk_packets_;  ///< of a slice; 0: no slices
  instant latency_seen_;
  bool bulk_waited_ = false;  ///< the last pull() left bulk data where it was
  int full_bursts_ = 0;       ///< of bulk data in a row, each as large as a slice
  bool pushed_ = false;       ///< the last push() had something to do
  bool pulled_ = false;       ///< frames came since
  source_limit aborts_;
  rate_limit echo_replies_;
};

}  // namespace nd::core
