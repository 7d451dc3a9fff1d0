// Who has turns on the model's cores: io lcores, dcopy lcores, threads of the applications.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lcore/app_stream.hpp"
#include "lcore/frame_switch.hpp"
#include "lcore/host.hpp"
#include "model/cluster.hpp"
#include "unit/support/app.hpp"
#include "unit/support/made_host.hpp"

namespace nd::model {

inline constexpr std::uint16_t port_number = 7;

/// Something that has turns on a core.
struct actor {
  explicit actor(std::string r) : role(std::move(r)) {}
  virtual ~actor() = default;
  actor(const actor&) = delete;
  actor& operator=(const actor&) = delete;

  /// A turn: returns what it costs, in cycles, and adds it to `busy` when it was worth it.
  virtual double turn(instant now) = 0;
  double worked(double cycles) {
    busy += cycles;
    return cycles;
  }

  const std::string role;
  double busy = 0;
};

struct core_state {
  double now = 0;  ///< ns
  std::vector<actor*> actors;
};

struct stream_end {
  core::socket_link* link = nullptr;
  std::optional<core::app_stream> stream;
};

/// A host: its lcores, device and dcopy lcores.
class made_host {
 public:
  made_host(std::size_t number, const cluster_plan& plan, unsigned lcores, unsigned dcopy,
            test::host_pools& pools, link& wire, instant now)
      : number_(number), values_(plan.values) {
    values_.ip = "10.0.0.1/24";
    values_.arp_probes = 0;
    values_.sockets = 1024;
    core::host_config config = test::made_config(number, values_, pools);
    config.neighbors = {{test::made_ip(1 - number), test::made_mac(1 - number)}};
    config.epoch = 1;
    address_ = config.address;
    port_capabilities c;
    c.mac = test::made_mac(number);
    c.mtu = plan.mtu;
    std::vector<queue_pair*> queues;
    std::vector<port*> devices;
    for (unsigned i = 0; i < lcores; ++i) {
      queues_.push_back(std::make_unique<queue_pair>(wire, number, c, pools.rx()));
      queues.push_back(queues_.back().get());
      devices.push_back(queues_.back().get());
    }
    wire.join(number, address_, queues);
    if (lcores > 1) {
      exchange_ = std::make_unique<core::lcore_exchange>(lcores);
      ports_ = core::share_devices(*exchange_, address_, devices);
    }
    for (unsigned i = 0; i < lcores; ++i) {
      core::host_config own = config;
      own.name += "-" + std::to_string(i);
      own.seed = 1 + number * 100 + i;
      own.place = {i, lcores};
      own.exchange = exchange_.get();
      port& device = exchange_ ? static_cast<port&>(*ports_[i]) : *queues_[i];
      lcores_.push_back(std::make_unique<core::host>(own, device, now));
    }
    if (dcopy > 0) start_copies(dcopy);
  }

  core::host& lcore(unsigned i) { return *lcores_[i]; }
  queue_pair& queue(unsigned i) { return *queues_[i]; }
  unsigned lcores() const { return static_cast<unsigned>(lcores_.size()); }
  core::lcore_exchange* exchange() { return exchange_.get(); }
  core::copy_service* copies() { return copies_.get(); }

  void post(core::app_end& end, std::uint32_t requests) {
    test::post_to(lcore(end.lcore), end, requests);
  }
  void use(stream_end& e, core::socket_link* link, bool same_thread) {
    e.link = link;
    e.stream.emplace(core::app_environment{.pool = lcore(0).tx_pool(),
                                           .digests = lcore(0).digests(),
                                           .same_thread = same_thread,
                                           .copies = copies_.get(),
                                           .most_unsent = lcore(0).most_unsent()},
                     *link);
  }
  core::listener_link* listen(unsigned i) {
    auto* l = new core::listener_link(1024);
    l->port = port_number;
    l->lcore = static_cast<std::uint8_t>(i);
    post(*l, core::request_listen);
    return l;
  }
  core::socket_link* connect(unsigned i) {
    auto* l = new core::socket_link;
    l->peer_address = test::made_ip(1 - number_);
    l->peer_port = port_number;
    l->lcore = static_cast<std::uint8_t>(i);
    l->send_buffer = static_cast<std::uint64_t>(values_.send_buffer);
    l->receive_buffer = static_cast<std::uint64_t>(values_.receive_buffer);
    post(*l, core::request_connect);
    return l;
  }

 private:
  void start_copies(unsigned count) {
    copies_ = std::make_unique<core::copy_service>(values_);
    for (unsigned i = 0; i < count; ++i)
      copies_->lcores.push_back(std::make_unique<core::dcopy_lcore>(
          dcopy::make_cpu_engine(core::copy_digests(lcore(0).digests())),
          [this](core::app_end& end, std::uint32_t requests) { post(end, requests); }));
  }

  std::size_t number_;
  settings values_;
  core::host_address address_;
  std::vector<std::unique_ptr<queue_pair>> queues_;
  std::unique_ptr<core::lcore_exchange> exchange_;
  std::vector<std::unique_ptr<core::switched_port>> ports_;
  std::vector<std::unique_ptr<core::host>> lcores_;
  std::unique_ptr<core::copy_service> copies_;
};

class io_actor final : public actor {
 public:
  io_actor(bool sender, const cluster_plan& plan, made_host& h, unsigned lcore, link& wire)
      : actor(sender ? "sender's io" : "receiver's io"),
        sender_(sender),
        plan_(plan),
        foreign_(plan.where == placement::apart || plan.dcopy_near > 0),
        host_(h),
        lcore_(lcore),
        wire_(wire) {}

  double turn(instant now) override {
    core::host& h = host_.lcore(lcore_);
    wire_.advance(now);
    const io_work before = done();
    const std::size_t taken = waiting();
    const std::size_t served = h.push(now) + h.pull(now);
    io_work work = done() - before;
    work.handed += std::min<std::size_t>(taken, burst);
    const double cycles = work.cycles(plan_.costs, sender_, foreign_);
    host_.queue(lcore_).launch(
        now + duration(static_cast<std::int64_t>(plan_.costs.nanoseconds(cycles))));
    if (served == 0 || cycles < plan_.costs.idle_turn) return plan_.costs.idle_turn;
    return worked(cycles);
  }

 private:
  static constexpr std::size_t burst = 32;  // of the host's own

  std::size_t waiting() {
    return host_.exchange() == nullptr ? 0 : host_.exchange()->of(lcore_).packets.size();
  }
  io_work done() {
    const counters& c = host_.lcore(lcore_).stats();
    return {c.tx_packets.value(), c.tx_bytes.value(), c.rx_packets.value(), c.rx_bytes.value(),
            c.packets_handed.value()};
  }

  bool sender_;
  const cluster_plan& plan_;
  bool foreign_;
  made_host& host_;
  unsigned lcore_;
  link& wire_;
};

/// A thread of the sender's application: one write a turn, of its sockets in turn.
class writer final : public actor {
 public:
  writer(const cluster_plan& plan, made_host& h, bool own_core)
      : actor("sender's application"), plan_(plan), host_(h), own_core_(own_core) {}
  std::vector<stream_end*> sockets;

  double turn(instant) override {
    for (std::size_t tries = 0; tries < sockets.size(); ++tries) {
      if (blocked_ != nullptr && blocked_->stream->copying_out()) break;  // it waits in its call
      blocked_ = nullptr;
      stream_end& e = *sockets[next_];
      next_ = (next_ + 1) % sockets.size();
      if (e.stream->writable() < plan_.block) continue;
      if (const double cycles = write(e); cycles > 0) return worked(cycles);
    }
    return own_core_ ? plan_.costs.idle_turn : 0;
  }

 private:
  double write(stream_end& e) {
    const std::uint64_t by_callers = callers();
    const std::size_t n = e.stream->put(bytes());
    if (n == 0) return 0;
    host_.post(*e.link, core::request_send);
    const core::copy_service* const copies = host_.copies();
    const bool large = copies != nullptr && core::worth_dcopy(n, copies->writes);
    const auto own = static_cast<double>(large ? callers() - by_callers : n);
    const auto all = static_cast<double>(n);
    const double segment = e.link->max_segment.load(std::memory_order_relaxed);
    if (large) blocked_ = &e;
    return plan_.costs.write_byte * own + plan_.costs.write_packet * own / segment +
           plan_.costs.order_write * (all - own) / segment;
  }
  std::uint64_t callers() const {
    return host_.copies() == nullptr ? 0 : host_.copies()->by_callers.load();
  }
  std::span<const std::byte> bytes() {
    static const std::vector<std::byte> all(1 << 20, std::byte{0x5a});
    return std::span(all).first(plan_.block);
  }

  const cluster_plan& plan_;
  made_host& host_;
  bool own_core_;
  std::size_t next_ = 0;
  stream_end* blocked_ = nullptr;
};

class reader final : public actor {
 public:
  reader(const cluster_plan& plan, made_host& h, bool own_core)
      : actor("receiver's application"),
        plan_(plan),
        host_(h),
        own_core_(own_core),
        buffer_(plan.block) {}
  std::vector<stream_end*> sockets;
  std::uint64_t bytes = 0;

  double turn(instant) override {
    if (blocked_ != nullptr) {
      if (blocked_->stream->copying_in()) return own_core_ ? plan_.costs.idle_turn : 0;
      publish(*blocked_);
      blocked_ = nullptr;
    }
    double cycles = 0;
    for (std::size_t tries = 0; tries < sockets.size() && cycles == 0; ++tries) {
      stream_end& e = *sockets[next_];
      next_ = (next_ + 1) % sockets.size();
      cycles = read(e);
    }
    if (cycles > 0) return worked(cycles);
    return own_core_ ? plan_.costs.idle_turn : 0;
  }

 private:
  void publish(stream_end& e) {
    e.stream->publish_consumed();
    host_.post(*e.link, core::request_consumed);
  }
  double read(stream_end& e) {
    const core::copy_service* const copies = host_.copies();
    const std::uint64_t there = std::min<std::uint64_t>(e.stream->available(), buffer_.size());
    const bool large = copies != nullptr && core::worth_dcopy(there, copies->reads);
    const std::uint64_t by_callers = copies == nullptr ? 0 : copies->by_callers.load();
    const std::size_t n = e.stream->take(buffer_);
    if (n == 0) return 0;
    bytes += n;
    const auto own =
        static_cast<double>(large ? copies->by_callers.load() - by_callers : std::uint64_t{n});
    const double segment = e.link->max_segment.load(std::memory_order_relaxed);
    if (e.stream->copying_in())
      blocked_ = &e;
    else
      publish(e);
    return plan_.costs.read_byte * own + plan_.costs.read_packet * own / segment +
           plan_.costs.order_read * (static_cast<double>(n) - own) / segment;
  }

  const cluster_plan& plan_;
  made_host& host_;
  bool own_core_;
  std::vector<std::byte> buffer_;
  std::size_t next_ = 0;
  stream_end* blocked_ = nullptr;
};

/// Copies are done when their time is over, not when it begins: who waits for them would go on too
/// early.
class copier final : public actor {
 public:
  copier(std::string role, const cost_model& costs, core::dcopy_lcore& l)
      : actor(std::move(role)), costs_(costs), lcore_(l) {}

  double turn(instant now) override {
    if (paid_ > 0) {
      const double done = copy(now);
      const double more = std::max(done - std::exchange(paid_, 0), 0.0);
      if (more > 0) return worked(more);
    }
    if (lcore_.queued_bytes() == 0) return costs_.idle_turn;
    const double most = std::max(costs_.dcopy_write, costs_.dcopy_read);
    paid_ =
        std::max(1.0, static_cast<double>(std::min<std::uint64_t>(lcore_.queued_bytes(), piece)) *
                          std::min(most, by_byte_ > 0 ? by_byte_ : most));
    return worked(paid_);
  }

 private:
  static constexpr std::uint64_t piece = 32 * 1024;

  double copy(instant now) {
    const auto bytes = [&] {
      return std::pair(lcore_.stats().dcopy_bytes_written.value(),
                       lcore_.stats().dcopy_bytes_read.value());
    };
    const auto [written, read] = bytes();
    lcore_.poll(now);
    const auto [now_written, now_read] = bytes();
    const auto w = static_cast<double>(now_written - written);
    const auto r = static_cast<double>(now_read - read);
    const double cycles = w * costs_.dcopy_write + r * costs_.dcopy_read;
    if (w + r > 0) by_byte_ = cycles / (w + r);
    return cycles;
  }

  const cost_model& costs_;
  core::dcopy_lcore& lcore_;
  double paid_ = 0;
  double by_byte_ = 0;
};

}  // namespace nd::model
