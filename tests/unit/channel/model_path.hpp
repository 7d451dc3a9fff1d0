// A path as a congestion control sees it: a rate, a delay, a queue, and a sender with a pacer.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "channel/congestion.hpp"
#include "channel/delivery_rate.hpp"
#include "channel/pacer.hpp"

namespace nd::test {

class model_path {
 public:
  static constexpr std::uint64_t packet = 1000;

  explicit model_path(std::unique_ptr<core::congestion_control> control)
      : control_(std::move(control)) {}

  std::uint64_t bytes_per_second = 100'000'000;
  duration round_trip = duration::microseconds(1000);
  std::uint64_t queue_limit = ~std::uint64_t{0};
  std::uint64_t mark_above = ~std::uint64_t{0};
  std::uint64_t lose_one_in = 0;
  duration application_pause;  ///< between two packets; zero: it always has more

  core::congestion_control& control() { return *control_; }
  /// Of the path without a queue.
  std::uint64_t product() const {
    return bytes_per_second / 1'000'000 * static_cast<std::uint64_t>(round_trip.ns()) / 1000;
  }

  /// What was seen in the last run().
  struct observation {
    std::uint64_t delivered = 0, lost = 0;
    std::uint64_t most_queued = 0, least_window = ~std::uint64_t{0}, most_window = 0;
    std::uint64_t least_rate = ~std::uint64_t{0}, most_rate = 0;
  };

  observation run(duration span) {
    seen_ = {};
    const instant end = now_ + span;
    for (;;) {
      const instant send = next_send();
      const instant ack = under_way_.empty() ? instant::never() : under_way_.front().back_at;
      const instant next = earlier(send, ack);
      if (next > end) break;
      now_ = next;
      if (ack <= send)
        acknowledge();
      else
        send_packet();
    }
    now_ = end;
    return seen_;
  }

 private:
  struct flying {
    instant sent, back_at;
    std::uint64_t number;
    core::delivery_mark mark;
    bool lost, marked;
  };

  instant next_send() {
    if (in_flight_ >= control_->window()) return instant::never();
    return std::max(pacer_.next_send(now_), application_ready_);
  }

  void send_packet() {
    const instant start = std::max(now_, busy_until_);
    const auto queued = static_cast<std::uint64_t>(static_cast<double>((start - now_).ns()) *
                                                   static_cast<double>(bytes_per_second) * 1e-9);
    seen_.most_queued = std::max(seen_.most_queued, queued);
    flying f{.sent = now_,
             .back_at = {},
             .number = next_number_++,
             .mark = delivery_.on_sent(now_, in_flight_),
             .lost = queued > queue_limit || (lose_one_in > 0 && next_number_ % lose_one_in == 0),
             .marked = queued > mark_above};
    if (!f.lost)
      busy_until_ =
          start + duration(static_cast<std::int64_t>(packet * 1'000'000'000 / bytes_per_second));
    f.back_at = std::max(start, busy_until_) + round_trip;
    under_way_.push_back(f);
    in_flight_ += packet;
    pacer_.on_sent(packet);
    if (application_pause.ns() > 0) {
      application_ready_ = now_ + application_pause;
      delivery_.on_nothing_to_send(in_flight_);
    }
  }

  void acknowledge() {
    const flying f = under_way_.front();
    under_way_.pop_front();
    if (f.lost) {
      // Noticed by what comes behind it.
      in_flight_ -= packet;
      seen_.lost += packet;
      control_->on_loss(
          {.now = now_, .largest_sent = f.sent, .bytes = packet, .persistent = false});
    } else {
      delivery_.on_delivered(packet);
      seen_.delivered += packet;
      const duration rtt = now_ - f.sent;
      minimum_ = minimum_.ns() == 0 ? rtt : std::min(minimum_, rtt);
      smoothed_ = smoothed_.ns() == 0 ? rtt : (smoothed_ * 7 + rtt) / 8;
      control_->on_ack({.now = now_,
                        .bytes = packet,
                        .ce_bytes = f.marked ? packet : 0,
                        .largest = f.number,
                        .next_number = next_number_,
                        .largest_sent = f.sent,
                        .smoothed_rtt = smoothed_,
                        .minimum_rtt = minimum_,
                        .rtt = rtt,
                        .in_flight = in_flight_,
                        .delivery = delivery_.sample(now_, f.sent, f.mark),
                        .window_limited = true});
      in_flight_ -= packet;
    }
    pacer_.set_rate(control_->pacing_rate(), packet);
    seen_.least_window = std::min(seen_.least_window, control_->window());
    seen_.most_window = std::max(seen_.most_window, control_->window());
    seen_.least_rate = std::min(seen_.least_rate, control_->pacing_rate());
    seen_.most_rate = std::max(seen_.most_rate, control_->pacing_rate());
  }

  std::unique_ptr<core::congestion_control> control_;
  core::pacer pacer_;
  core::delivery_rate delivery_;
  std::deque<flying> under_way_;
  std::uint64_t in_flight_ = 0;
  std::uint64_t next_number_ = 500;
  instant now_{1'000'000'000};
  instant busy_until_;
  instant application_ready_;
  duration minimum_;
  duration smoothed_;
  observation seen_;
};

}  // namespace nd::test
