// Congestion control by a model of the path, after BBR (draft-ietf-ccwg-bbr): the bandwidth by
// delivery-rate samples, the smallest round-trip time, and what follows from both. A loss alone is
// no sign of congestion. CE marks, and losses with a queue, bound what is in flight.
#include <algorithm>
#include <array>

#include "channel/congestion.hpp"
#include "channel/congestion_window.hpp"

namespace nd::core {
namespace {

/// Largest value of the last rounds. A round in which the application was the limit counts only
/// when it was faster.
class bandwidth_filter {
 public:
  void on_sample(const delivery_sample& s) noexcept {
    if (s.bytes_per_second == 0 || (s.application_limited && s.bytes_per_second < maximum_)) return;
    rounds_[current_] = std::max(rounds_[current_], s.bytes_per_second);
    maximum_ = std::max(maximum_, s.bytes_per_second);
    measured_ = true;
  }
  void end_round() noexcept {
    if (!measured_) return;
    measured_ = false;
    current_ = (current_ + 1) % rounds_.size();
    rounds_[current_] = 0;
    maximum_ = *std::ranges::max_element(rounds_);
  }
  bool measured() const noexcept { return measured_; }  ///< in this round
  std::uint64_t maximum() const noexcept { return maximum_; }

 private:
  std::array<std::uint64_t, 10> rounds_{};
  std::size_t current_ = 0;
  std::uint64_t maximum_ = 0;
  bool measured_ = false;
};

class rate_control final : public congestion_control {
 public:
  rate_control(std::uint64_t packet_size, std::uint64_t initial_packets)
      : window_(packet_size, initial_packets) {}

  void on_ack(const congestion_ack& ack) noexcept override {
    srtt_ = ack.smoothed_rtt;
    bandwidth_.on_sample(ack.delivery);
    round_bytes_ += ack.bytes;
    round_ce_ += std::min(ack.ce_bytes, ack.bytes);
    round_in_flight_ = std::max(round_in_flight_, ack.in_flight);
    watch_round_trip(ack);
    if (ack.largest >= round_end_) end_round(ack);
    advance(ack);
    grow(ack.bytes);
  }

  bool on_loss(const congestion_loss& loss) noexcept override {
    round_lost_ += loss.bytes;
    if (!loss.persistent) return false;
    window_.set(window_.minimum());
    return true;
  }

  std::uint64_t window() const noexcept override { return window_.bytes(); }

  std::uint64_t pacing_rate() const noexcept override {
    if (bandwidth_.maximum() == 0) return 0;
    // Not slower than the smallest window: where a link loses more than probing sends in addition,
    // samples alone would lead to nothing.
    const double least = static_cast<double>(window_.minimum()) * 1e9 /
                         static_cast<double>(std::max(srtt_, duration(1)).ns());
    return static_cast<std::uint64_t>(
        std::max(pacing_gain() * static_cast<double>(bandwidth_.maximum()), least));
  }

  std::uint64_t ecn_reductions() const noexcept override { return ecn_reductions_; }

  void set_packet_size(std::uint64_t bytes) noexcept override { window_.set_packet_size(bytes); }

  void set_sharing(unsigned channels) noexcept override { sharing_ = std::max(channels, 1U); }

 private:
  enum class phase : std::uint8_t {
    startup,    ///< doubles until the bandwidth no longer grows
    drain,      ///< what startup has queued leaves
    up,         ///< faster than the path, to see whether there is more
    down,       ///< what that has queued leaves
    cruise,     ///< as fast as the path
    probe_rtt,  ///< little in flight, to see the path without a queue
  };

  // Section 5.6.1 of the draft: 4 ln 2 doubles the delivered bytes each round.
  static constexpr double startup_gain = 2.77;
  /// In flight at most this many times what the path holds, divided among the channels of a peer:
  /// room for probing, and for acknowledgements that come late.
  static constexpr double headroom = 2;
  static constexpr double probing = 0.25;  ///< likewise: by how much faster
  // As in BBRv2 and CUBIC.
  static constexpr double loss_tolerated = 0.02;
  static constexpr double decrease_by_overflow = 0.7;
  static constexpr int cruise_rounds = 6;
  static constexpr int most_rounds_down = 8;
  static constexpr std::uint64_t unbounded = ~std::uint64_t{0};

  std::uint64_t product(double gain) const noexcept {
    return static_cast<std::uint64_t>(gain * static_cast<double>(bandwidth_.maximum()) *
                                      static_cast<double>(minimum_rtt_.ns()) * 1e-9);
  }

  double pacing_gain() const noexcept {
    switch (phase_) {
      case phase::startup: return startup_gain;
      case phase::drain: return 1 / startup_gain;
      case phase::up: return 1 + probing / sharing_;
      case phase::down: return 1 - probing / sharing_;
      default: return 1;
    }
  }

  void enter(phase p, instant now) noexcept {
    phase_ = p;
    entered_ = now;
    rounds_in_phase_ = 0;
  }

  void end_round(const congestion_ack& ack) noexcept {
    round_end_ = ack.next_number;
    ++rounds_in_phase_;
    const double marked = share(round_ce_, round_bytes_);
    const bool overflow =
        queued() && share(round_lost_, round_bytes_ + round_lost_) > loss_tolerated;
    if (phase_ == phase::startup)
      look_for_plateau(overflow || marked >= 0.5, ack.delivery.application_limited);
    if (overflow)
      reduce_bound(decrease_by_overflow);
    else
      bound(marked);
    bandwidth_.end_round();
    round_bytes_ = round_ce_ = round_lost_ = round_in_flight_ = 0;
    round_rtt_ = {};
  }

  static double share(std::uint64_t part, std::uint64_t of) noexcept {
    return of == 0 ? 0 : static_cast<double>(part) / static_cast<double>(of);
  }
  /// Not one packet of the round found the path empty.
  bool queued() const noexcept { return round_rtt_ > minimum_rtt_ * 5 / 4; }

  void look_for_plateau(bool congested, bool application_limited) noexcept {
    if (congested) {
      filled_ = true;
    } else if (bandwidth_.measured() && !application_limited) {
      if (bandwidth_.maximum() * 4 >= plateau_ * 5) {
        plateau_ = bandwidth_.maximum();
        plateau_rounds_ = 0;
      } else if (++plateau_rounds_ >= 3) {
        filled_ = true;
      }
    }
  }

  // Shares of one bottleneck become equal by what marks take in proportion, and an additive
  // increase; bandwidth and gains alone would keep them as they are.
  void bound(double marked) noexcept {
    constexpr double g = 1.0 / 16;  // RFC 8257, section 3.3
    if (bound_ == unbounded && marked == 0) return;
    alpha_ = alpha_ * (1 - g) + g * marked;
    if (marked == 0) {
      bound_ += std::max<std::uint64_t>(window_.packet_size() / sharing_, 1);
      if (bound_ > product(2 * headroom)) bound_ = unbounded;
      return;
    }
    reduce_bound(1 - alpha_ / 2);
    ++ecn_reductions_;
  }

  void reduce_bound(double factor) noexcept {
    const auto reduced = factor * static_cast<double>(std::min(bound_, round_in_flight_));
    bound_ = std::max(static_cast<std::uint64_t>(reduced), window_.minimum());
  }

  void watch_round_trip(const congestion_ack& ack) noexcept {
    if (ack.rtt.ns() == 0) return;
    if (minimum_rtt_.ns() == 0 || ack.rtt <= minimum_rtt_) {
      minimum_rtt_ = ack.rtt;
      minimum_at_ = ack.now;
    }
    round_rtt_ = round_rtt_.ns() == 0 ? ack.rtt : std::min(round_rtt_, ack.rtt);
    if (phase_ == phase::probe_rtt && rounds_in_phase_ > 0)
      probed_rtt_ = probed_rtt_.ns() == 0 ? ack.rtt : std::min(probed_rtt_, ack.rtt);
  }

  void advance(const congestion_ack& ack) noexcept {
    const std::uint64_t in_flight = ack.in_flight - std::min(ack.in_flight, ack.bytes);
    switch (phase_) {
      case phase::startup:
        if (filled_) enter(phase::drain, ack.now);
        return;
      case phase::drain:
        if (in_flight > product(1)) return;
        // Packet numbers begin anywhere: channels do not probe in step.
        cruise_for_ = 1 + static_cast<int>(ack.next_number % cruise_rounds);
        enter(phase::cruise, ack.now);
        return;
      case phase::up:
        if (ack.now - entered_ < minimum_rtt_) return;
        if (in_flight >= std::min(product(1 + probing / sharing_), window_.bytes()) ||
            rounds_in_phase_ >= 3)
          enter(phase::down, ack.now);
        return;
      case phase::down:
        if (in_flight > product(1) && rounds_in_phase_ < most_rounds_down) return;
        cruise_for_ = cruise_rounds;
        enter(phase::cruise, ack.now);
        return;
      case phase::cruise:
        if (ack.now - minimum_at_ > probe_interval())
          enter(phase::probe_rtt, ack.now);
        else if (ack.now - entered_ >= minimum_rtt_ * cruise_for_)
          enter(phase::up, ack.now);
        return;
      case phase::probe_rtt:
        if (rounds_in_phase_ < 3 || ack.now - entered_ < duration::microseconds(200)) return;
        if (probed_rtt_.ns() > 0) minimum_rtt_ = probed_rtt_;
        probed_rtt_ = {};
        minimum_at_ = ack.now;
        cruise_for_ = cruise_rounds;
        enter(phase::up, ack.now);
        return;
    }
  }

  /// 10 s are the draft's for the internet; a data centre's round trips are a thousand times
  /// shorter.
  duration probe_interval() const noexcept {
    return std::clamp(minimum_rtt_ * 1000, duration::milliseconds(50), duration::seconds(10));
  }

  void grow(std::uint64_t acked) noexcept {
    std::uint64_t wanted = window_.bytes() + acked;
    if (!filled_) {
      if (bandwidth_.maximum() > 0)
        wanted = std::min(wanted, std::max(product(startup_gain), window_.initial()));
    } else if (phase_ == phase::probe_rtt) {
      wanted = std::min(wanted, product(0.5));
    } else {
      const std::uint64_t probing_room = 2 * window_.packet_size() / sharing_;
      wanted = std::min(wanted, product(1 + (headroom - 1) / sharing_) + probing_room);
    }
    window_.set(std::min(wanted, bound_));
  }

  congestion_window window_;
  unsigned sharing_ = 1;
  duration srtt_{0};

  bandwidth_filter bandwidth_;
  duration minimum_rtt_;
  instant minimum_at_;
  duration probed_rtt_;

  phase phase_ = phase::startup;
  instant entered_;
  int rounds_in_phase_ = 0;
  int cruise_for_ = cruise_rounds;
  bool filled_ = false;
  std::uint64_t plateau_ = 0;
  int plateau_rounds_ = 0;

  std::uint64_t round_end_ = 0;
  std::uint64_t round_bytes_ = 0;
  std::uint64_t round_ce_ = 0;
  std::uint64_t round_lost_ = 0;
  duration round_rtt_;  ///< smallest
  std::uint64_t round_in_flight_ = 0;
  std::uint64_t bound_ = unbounded;
  double alpha_ = 1;
  std::uint64_t ecn_reductions_ = 0;
};

}  // namespace

std::unique_ptr<congestion_control> make_rate_control(std::uint64_t packet_size,
                                                      std::uint64_t initial_packets) {
  return std::make_unique<rate_control>(packet_size, initial_packets);
}

}  // namespace nd::core
