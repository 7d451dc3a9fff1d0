#include "sim/control/bottleneck.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "sim/fallible_pool.hpp"

namespace nd::sim {
namespace {

constexpr std::uint16_t port = 7;

/// Smaller than other runs': there are many hosts.
std::unique_ptr<test::host_pools> make_pools(const bottleneck_plan& p, bool receiver) {
  const unsigned sender_mbufs = p.channels.size() > 8 ? 256 : 1024;
  const unsigned mbufs = receiver ? (p.mtu > 1500 ? 2048 : 8192) : sender_mbufs;
  return std::make_unique<test::host_pools>(mbufs, receiver ? 256 : mbufs, p.mtu,
                                            &make_fallible_pool);
}

scenario scenario_of(const bottleneck_plan& p) {
  scenario s;
  s.profile = "bottleneck";
  s.seed = p.seed;
  s.hosts = p.channels.size() + 1;
  s.mtu.assign(s.hosts, p.mtu);
  s.ahead.assign(s.hosts, duration());
  s.values.ip = "10.0.0.1/24";
  s.values.congestion = p.congestion;
  s.values.arp_probes = 0;
  s.values.sockets = 1024;
  // Neither credit nor memory for what applications write is to be the limit.
  const auto sockets = static_cast<std::int64_t>(p.sockets * p.channels.size());
  s.values.receive_buffer = std::max<std::int64_t>(1'000'000 / sockets, 32'768);
  s.values.send_buffer =
      std::max<std::int64_t>(300'000 / static_cast<std::int64_t>(p.sockets), 16'384);
  s.bytes_per_second = p.bits_per_second / 8;
  s.queue_bytes = p.queue_bytes;
  s.mark_bytes = p.mark_bytes;
  s.turn = duration::microseconds(1);
  way_model way(p.round_trip / 2);
  way.loss = p.loss;
  s.ways.assign(s.hosts * s.hosts, way);
  return s;
}

class run {
 public:
  explicit run(const bottleneck_plan& p)
      : plan_(p), scenario_(scenario_of(p)), network_(scenario_, trace_), bytes_(65536) {
    // Frames of all senders come to the switch in the order of time.
    network_.wire.bytes_per_second = 0;
    const std::size_t receiver = scenario_.hosts - 1;
    for (std::size_t i = 0; i < scenario_.hosts; ++i) {
      // The setting is a host's own; the plan's number of channels differs by sender.
      settings_of_.push_back(scenario_);
      settings_of_[i].values.channels_throughput = i < receiver ? p.channels[i] : 1;
    }
    for (std::size_t i = 0; i < scenario_.hosts; ++i) {
      pools_.push_back(make_pools(p, i == receiver));
      machines_.push_back(
          std::make_unique<machine>(i, settings_of_[i], network_, trace_, pools_[i].get()));
      machines_[i]->start(now_);
    }
    listener_ = std::make_unique<test::app_listener>(machines_[receiver]->host(), port, 1024);
  }

  ~run() {
    sending_.clear();
    receiving_.clear();
    listener_.reset();
    for (auto& m : machines_) m->abandon();
  }

  bottleneck_result measure() {
    connect();
    advance(plan_.warm_up);
    for (received& r : receiving_) r.before = r.socket.consumed();
    queue_.clear();
    advance(plan_.measured);
    return result();
  }

 private:
  struct received {
    test::app_socket socket;
    std::uint64_t before = 0;
    std::size_t sender = 0;
  };

  // One after the other, so that nobody starts in step.
  void connect() {
    const std::size_t receiver = scenario_.hosts - 1;
    sending_.resize(receiver);
    for (std::size_t i = 0; i < receiver; ++i)
      for (std::size_t n = 0; n < plan_.sockets; ++n) {
        sending_[i].emplace_back(machines_[i]->host(), test::made_ip(receiver), port,
                                 std::uint8_t{0}, settings_of_[i].values);
        advance(duration::microseconds(10));
      }
    // Lost handshake packets are no part of what is measured.
    const instant latest = now_ + duration::seconds(2);
    while (receiving_.size() < receiver * plan_.sockets) {
      if (now_ > latest) throw std::runtime_error("the hosts do not connect");
      advance(duration::milliseconds(1));
    }
  }

  void advance(duration span) {
    const instant end = now_ + span;
    for (;;) {
      instant next = instant::never();
      for (const auto& m : machines_) next = earlier(next, m->next_turn());
      if (next > end) break;
      now_ = std::max(now_, next);
      serve();
    }
    now_ = end;
  }

  void serve() {
    const std::size_t receiver = scenario_.hosts - 1;
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      if (machines_[i]->next_turn() > now_) continue;
      machines_[i]->turn(now_);
      if (i < receiver)
        write(i);
      else
        read();
    }
    queue_.push_back(network_.waiting(receiver, now_));
  }

  void write(std::size_t sender) {
    for (test::app_socket& s : sending_[sender]) {
      if (s.failed()) throw std::runtime_error("a connection failed");
      s.write(bytes_);
    }
  }

  void read() {
    while (test::app_socket s = listener_->accept()) {
      const std::uint32_t from = s.link().peer_address - test::made_ip(0);
      receiving_.push_back({std::move(s), 0, from});
    }
    for (received& r : receiving_) r.socket.read(bytes_);
  }

  bottleneck_result result() {
    bottleneck_result r;
    r.by_sender.resize(scenario_.hosts - 1);
    const double seconds = static_cast<double>(plan_.measured.ns()) * 1e-9;
    for (const received& flow : receiving_) {
      const double rate = static_cast<double>(flow.socket.consumed() - flow.before) / seconds;
      r.by_socket.push_back(rate);
      r.by_sender[flow.sender] += rate;
      r.total += rate;
    }
    r.utilisation = r.total / static_cast<double>(scenario_.bytes_per_second);
    std::ranges::sort(queue_);
    r.queue_mean = std::accumulate(queue_.begin(), queue_.end(), std::uint64_t{0}) / queue_.size();
    r.queue_p99 = queue_[queue_.size() * 99 / 100];
    r.queue_most = queue_.back();
    std::uint64_t sent = 1, lost = 0;
    for (std::size_t i = 0; i + 1 < machines_.size(); ++i) {
      sent += machines_[i]->host().stats().data_packets_sent.value();
      lost += machines_[i]->host().stats().packets_lost.value();
    }
    r.lost = static_cast<double>(lost) / static_cast<double>(sent);
    return r;
  }

  const bottleneck_plan& plan_;
  scenario scenario_;
  std::vector<scenario> settings_of_;
  trace trace_;
  network network_;
  std::vector<std::unique_ptr<test::host_pools>> pools_;
  std::vector<std::unique_ptr<machine>> machines_;
  std::unique_ptr<test::app_listener> listener_;
  std::vector<std::vector<test::app_socket>> sending_;  ///< of each sender
  std::vector<received> receiving_;
  std::vector<std::byte> bytes_;
  std::vector<std::uint64_t> queue_;
  instant now_{1'234'567'891};
};

}  // namespace

double jains_index(const std::vector<double>& shares) {
  double sum = 0, squares = 0;
  for (const double s : shares) {
    sum += s;
    squares += s * s;
  }
  return sum * sum / (static_cast<double>(shares.size()) * squares);
}

bottleneck_result run_bottleneck(const bottleneck_plan& plan) {
  return run(plan).measure();
}

}  // namespace nd::sim
