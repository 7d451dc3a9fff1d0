// The client's loops, one step at a time. This is what is measured.
//
// A lane is driven by client.hpp: step() until ready(), start(), step() for as long as the run
// takes, stop(), step() until ended(). step() returns whether the lane could go on at once; if not,
// it waits for the network.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "nd-echo/batches.hpp"
#include "nd-echo/client_connection.hpp"
#include "nd-echo/dialer.hpp"

namespace nd::apps::echo {

/// What all lanes start with: one connection that stands.
template <network Net>
class lane_base {
 public:
  bool ready() const noexcept { return connection_.has_value() || ended_; }
  bool ended() const noexcept { return ended_; }
  void give_up(bench& b, std::string_view why) {
    if (connection_) connection_->give_up(b, why);
    ended_ = true;
  }

 protected:
  using connection = client_connection<typename Net::stream>;

  lane_base(Net& net, const options& o, std::uint64_t seed, turn_clock::time_point deadline,
            std::size_t chunk)
      : dialer_(net, o, deadline),
        greeting_{o.mode, o.verify, o.size, seed},
        chunk_(chunk),
        zero_copy_(o.zero_copy) {}

  // True once the connection stands.
  bool dial(bench& b) {
    if (connection_) return true;
    if (auto stream = dialer_.step(b))
      connection_.emplace(std::move(*stream), greeting_, chunk_, zero_copy_);
    if (dialer_.failed()) ended_ = true;
    return connection_.has_value();
  }

  // Stops. True if there is a connection to say goodbye on.
  bool stoppable() noexcept {
    stopping_ = true;
    if (!connection_ || !started_) ended_ = true;
    return !ended_;
  }

  dialer<Net> dialer_;
  hello greeting_;
  std::size_t chunk_;
  bool zero_copy_;
  std::optional<connection> connection_;
  bool started_ = false;
  bool stopping_ = false;
  bool ended_ = false;
};

/// rr and pipeline: `depth` messages are outstanding; as many as came back are sent again. What is
/// sent together is one write, what came together is one read.
template <network Net>
class message_lane : public lane_base<Net> {
  using base = lane_base<Net>;
  using base::connection_, base::started_, base::stopping_, base::ended_;

 public:
  message_lane(Net& net, const options& o, std::uint64_t seed, turn_clock::time_point deadline)
      : base(net, o, seed, deadline, write_size(o)),
        size_(o.size),
        depth_(o.depth),
        outstanding_(o.depth),
        pause_(o.pause) {}

  void start(bench& b) {
    started_ = true;
    if (!connection_) return;
    connection_->queue(depth_ * size_);
    outstanding_.push(depth_, b.clock.refresh());
    connection_->flush(b);
  }

  bool step(bench& b) {
    if (ended_ || !base::dial(b) || !started_) return false;
    const typename base::connection::arrival in = connection_->receive(b);
    if (in.payload != 0) on_echo(b, in.payload);
    if (held_back_ != 0 && b.clock.refresh() >= resume_)
      send(std::exchange(held_back_, 0), b.clock.now());
    connection_->flush(b);
    ended_ = connection_->ended();
    return in.more;
  }

  void stop(bench& b) {
    held_back_ = 0;
    if (!base::stoppable()) return;
    connection_->finish();
    connection_->flush(b);
  }

 private:
  void send(std::uint64_t messages, turn_clock::time_point now) {
    connection_->queue(messages * size_);
    outstanding_.push(messages, now);
  }

  // More than this in one write gains nothing, and would only fall out of the cache.
  static std::size_t write_size(const options& o) {
    constexpr std::uint64_t enough = std::uint64_t{1} << 20;
    return static_cast<std::size_t>(std::max(o.size, std::min(o.size * o.depth, enough)));
  }

  void on_echo(bench& b, std::uint64_t bytes) {
    partial_ += bytes;
    if (partial_ < size_) return;
    const std::uint64_t done = partial_ == size_ ? 1 : partial_ / size_;
    partial_ -= done * size_;
    // One reading of the clock ends these messages and begins the next ones.
    const turn_clock::time_point now = b.clock.refresh();
    outstanding_.pop(done, [&](turn_clock::time_point sent, std::uint64_t count) {
      b.record(sent, count, size_);
    });
    if (stopping_) return;
    if (pause_.count() == 0) return send(done, now);
    held_back_ += done;
    resume_ = now + pause_;
  }

  std::uint64_t size_;
  std::uint64_t depth_;
  batches outstanding_;
  std::uint64_t partial_ = 0;  // bytes of a message that has not come back whole
  std::chrono::nanoseconds pause_;
  std::uint64_t held_back_ = 0;  // messages, until the pause is over
  turn_clock::time_point resume_;
};

/// stream: writes blocks as fast as they are taken. What counts is what the server reports.
template <network Net>
class stream_lane : public lane_base<Net> {
  using base = lane_base<Net>;
  using base::connection_, base::started_, base::stopping_, base::ended_;

 public:
  /// `one_write`: a step, because a ping-pong waits for the next one.
  stream_lane(Net& net, const options& o, std::uint64_t seed, turn_clock::time_point deadline,
              bool one_write = false)
      : base(net, o, seed, deadline, static_cast<std::size_t>(o.size)),
        size_(o.size),
        one_write_(one_write) {}

  void start(bench&) noexcept { started_ = true; }

  bool step(bench& b) {
    if (ended_ || !base::dial(b) || !started_) return false;
    const bool goes_on = one_write_ ? write_once(b) : connection_->flush(b);
    if (goes_on && !stopping_ && !connection_->has_queued()) connection_->queue(size_);
    // Reports are rare. Looking for them costs a system call where there is a kernel.
    if (!goes_on || stopping_ || ++turns_ % 64 == 0) {
      connection_->receive(b);
      if (b.measuring) b.current.bytes += connection_->confirmed() - counted_;
      counted_ = connection_->confirmed();
    }
    ended_ = connection_->ended();
    return goes_on && !stopping_;
  }

  void stop(bench&) noexcept {
    if (base::stoppable()) connection_->finish();
  }

 private:
  bool write_once(bench& b) {
    const bool goes_on = !connection_->has_queued() || connection_->write(b);
    if (goes_on && !connection_->has_queued()) connection_->flush(b);  // FIN, where that is due
    return goes_on;
  }

  std::uint64_t size_;
  bool one_write_;
  std::uint64_t counted_ = 0;  // of what the server confirmed
  unsigned turns_ = 0;
};

/// mixed: rr or stream, as its options say.
template <network Net>
class mixed_lane {
 public:
  mixed_lane(Net& net, const options& o, std::uint64_t seed, turn_clock::time_point deadline) {
    if (o.mode == mode::stream)
      lane_.template emplace<stream_lane<Net>>(net, o, seed, deadline, true);
    else
      lane_.template emplace<message_lane<Net>>(net, o, seed, deadline);
  }

  bool ready() const noexcept {
    return visit([](const auto& lane) { return lane.ready(); });
  }
  bool ended() const noexcept {
    return visit([](const auto& lane) { return lane.ended(); });
  }
  void give_up(bench& b, std::string_view why) {
    visit([&](auto& lane) { lane.give_up(b, why); });
  }
  void start(bench& b) {
    visit([&](auto& lane) { lane.start(b); });
  }
  bool step(bench& b) {
    return visit([&](auto& lane) { return lane.step(b); });
  }
  void stop(bench& b) {
    visit([&](auto& lane) { lane.stop(b); });
  }

 private:
  template <class F>
  auto visit(F&& f) {
    auto* const messages = std::get_if<message_lane<Net>>(&lane_);
    return messages != nullptr ? f(*messages) : f(*std::get_if<stream_lane<Net>>(&lane_));
  }
  template <class F>
  auto visit(F&& f) const {
    const auto* const messages = std::get_if<message_lane<Net>>(&lane_);
    return messages != nullptr ? f(*messages) : f(*std::get_if<stream_lane<Net>>(&lane_));
  }

  std::variant<std::monostate, message_lane<Net>, stream_lane<Net>> lane_;
};

/// crr: connect, one exchange, close by both ends. The latency is that of the whole cycle.
template <network Net>
class crr_lane : public lane_base<Net> {
  using base = lane_base<Net>;
  using base::connection_, base::started_, base::stopping_, base::ended_, base::greeting_;

 public:
  crr_lane(Net& net, const options& o, std::uint64_t seed, turn_clock::time_point deadline)
      : base(net, o, seed, deadline, static_cast<std::size_t>(o.size)), size_(o.size) {}

  // The first cycle's connection stands already, so that cycle does not count.
  void start(bench&) noexcept { started_ = true; }

  bool step(bench& b) {
    if (ended_) return false;
    if (!base::dial(b) || !started_) return false;
    if (!asked_) {
      asked_ = true;
      connection_->queue(size_);
      connection_->finish();
    }
    connection_->flush(b);
    const bool more = connection_->receive(b).more;
    if (!connection_->ended()) return more;
    ended_ = stopping_ || connection_->failed();
    close_cycle(b);
    return true;
  }

  void stop(bench&) noexcept { base::stoppable(); }

 private:
  void close_cycle(bench& b) {
    const bool good = !connection_->failed();
    connection_.reset();
    asked_ = false;
    const turn_clock::time_point now = b.clock.refresh();
    if (good && began_ != turn_clock::time_point{}) b.record(began_, 1, size_);
    began_ = now;
    // Contents that differ from the last cycle's: a mix-up of connections shows.
    ++greeting_.seed;
  }

  std::uint64_t size_;
  turn_clock::time_point began_{};
  bool asked_ = false;
};

}  // namespace nd::apps::echo
