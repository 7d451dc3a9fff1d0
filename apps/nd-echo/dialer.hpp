// Connects, and tries again where that helps.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "nd-echo/bench.hpp"
#include "nd-echo/network.hpp"

namespace nd::apps::echo {

template <network Net>
class dialer {
 public:
  using stream = typename Net::stream;
  using time_point = turn_clock::time_point;

  /// Until `deadline` a server that is not there is waited for; afterwards it is an error.
  dialer(Net& net, const options& o, time_point deadline)
      : net_(net), peer_(o.peer), mode_(o.mode), deadline_(deadline) {}

  /// The connection, once it stands. After an error, which is counted, failed() is true.
  std::optional<stream> step(bench& b) {
    if (!attempt_) {
      if (b.clock.now() < next_) return std::nullopt;
      attempt_.emplace(net_.connect(peer_, mode_));
    }
    switch (attempt_->connect_status()) {
      case io_status::would_block: return std::nullopt;
      case io_status::ok: return std::exchange(attempt_, std::nullopt);
      default: break;
    }
    const std::error_code why = attempt_->error();
    attempt_.reset();
    const time_point now = b.clock.refresh();
    const connect_failure kind = Net::classify(why);
    // Ports and buffers come back when connections that are being closed are done.
    if (kind == connect_failure::no_room && short_since_ == time_point{}) short_since_ = now;
    const time_point limit =
        kind == connect_failure::no_room ? short_since_ + std::chrono::seconds(5) : deadline_;
    if (kind == connect_failure::other || now >= limit) {
      b.error(to_string(peer_), "connect: " + why.message());
      failed_ = true;
    } else {
      next_ = now + (kind == connect_failure::no_room ? std::chrono::milliseconds(1)
                                                      : std::chrono::milliseconds(50));
    }
    return std::nullopt;
  }

  bool failed() const noexcept { return failed_; }

 private:
  Net& net_;
  host_port peer_;
  echo::mode mode_;
  time_point deadline_;
  time_point next_{};
  time_point short_since_{};
  std::optional<stream> attempt_;
  bool failed_ = false;
};

}  // namespace nd::apps::echo
