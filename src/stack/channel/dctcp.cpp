// DCTCP (RFC 8257), with byte counting, a window of at least two packets, and the reaction to loss
// of RFC 9002.
#include <algorithm>

#include "channel/congestion.hpp"
#include "channel/congestion_window.hpp"
#include "channel/coupling.hpp"

namespace nd::core {
namespace {

class dctcp final : public congestion_control {
 public:
  dctcp(std::uint64_t packet_size, std::uint64_t initial_packets)
      : window_(packet_size, initial_packets) {}

  void on_ack(const congestion_ack& ack) noexcept override {
    srtt_ = ack.smoothed_rtt;
    minimum_rtt_ = ack.minimum_rtt;
    observed_bytes_ += ack.bytes;
    observed_ce_ += std::min(ack.ce_bytes, ack.bytes);
    if (ack.ce_bytes > 0)
      on_congestion_experienced(ack);
    else if (ack.window_limited)
      grow(ack);
    if (ack.largest >= observation_end_) end_observation(ack.next_number);
  }

  bool on_loss(const congestion_loss& loss) noexcept override {
    if (loss.persistent) {
      threshold_ = std::max(window_.bytes() / 2, window_.minimum());
      window_.set(window_.minimum());
      recovery_start_ = growth_start_ = loss.now;
      return true;
    }
    if (loss.largest_sent <= recovery_start_) return false;
    recovery_start_ = loss.now;
    reduced_by_loss_ = true;
    if (queue_seen()) {
      // RFC 8257, section 3.5: as a conventional sender would.
      window_.set(window_.bytes() / 2);
      growth_start_ = loss.now;
    } else {
      // A bad link rather than a full queue, which marks or delays first. Still a reduction: a
      // queue that does neither must not be overrun.
      window_.set(window_.bytes() - window_.bytes() / 8);
    }
    threshold_ = window_.bytes();
    return true;
  }

  std::uint64_t window() const noexcept override { return window_.bytes(); }

  std::uint64_t pacing_rate() const noexcept override {
    return window_.pacing_rate(srtt_, in_slow_start());
  }

  std::uint64_t ecn_reductions() const noexcept override { return ecn_reductions_; }

  void set_packet_size(std::uint64_t bytes) noexcept override { window_.set_packet_size(bytes); }

  void set_sharing(unsigned channels) noexcept override { coupling_.set(channels); }

 private:
  bool in_slow_start() const noexcept { return window_.bytes() < threshold_; }

  void grow(const congestion_ack& ack) noexcept {
    if (ack.largest_sent <= growth_start_) return;  // sent before the last reduction
    if (in_slow_start()) {
      window_.set(window_.bytes() + ack.bytes);
      return;
    }
    increase_credit_ += ack.bytes;
    const double divisor = reduced_by_loss_ ? coupling_.by_loss() : coupling_.by_marks();
    const auto per_packet =
        static_cast<std::uint64_t>(static_cast<double>(window_.bytes()) * divisor);
    if (increase_credit_ >= per_packet) {
      increase_credit_ -= per_packet;
      window_.set(window_.bytes() + window_.packet_size());
    }
  }

  // Section 3.3: at most one reduction a window of data, by the running estimate of the share of
  // marked bytes. The first mark ends slow start at once.
  void on_congestion_experienced(const congestion_ack& ack) noexcept {
    if (in_slow_start()) threshold_ = window_.bytes();
    if (ack.largest_sent <= recovery_start_) return;
    recovery_start_ = growth_start_ = ack.now;
    reduced_by_loss_ = false;
    const double reduced = static_cast<double>(window_.bytes()) * (1.0 - alpha_ / 2);
    window_.set(static_cast<std::uint64_t>(reduced));
    threshold_ = window_.bytes();
    ++ecn_reductions_;
  }

  /// Marks in this round trip or the last, or a round trip that is longer than it could be, or none
  /// measured yet.
  bool queue_seen() const noexcept {
    return observed_ce_ > 0 || marked_before_ || srtt_ >= minimum_rtt_ * 5 / 4;
  }

  // Section 3.3: alpha = (1 - g) * alpha + g * M, once a round trip.
  void end_observation(std::uint64_t next_number) noexcept {
    constexpr double g = 1.0 / 16;
    if (observed_bytes_ > 0) {
      const double marked =
          static_cast<double>(observed_ce_) / static_cast<double>(observed_bytes_);
      alpha_ = alpha_ * (1 - g) + g * marked;
    }
    marked_before_ = observed_ce_ > 0;
    observed_bytes_ = observed_ce_ = 0;
    observation_end_ = next_number;
  }

  congestion_window window_;
  std::uint64_t threshold_ = ~std::uint64_t{0};
  std::uint64_t increase_credit_ = 0;
  coupling coupling_;
  instant recovery_start_{-1};  ///< what was sent before is part of the last reduction's event
  instant growth_start_{-1};    ///< what was sent before does not let the window grow
  bool reduced_by_loss_ = true;
  duration srtt_{0};
  duration minimum_rtt_{0};

  double alpha_ = 1.0;  // section 3.3, note: conservative until measured
  std::uint64_t observed_bytes_ = 0;
  std::uint64_t observed_ce_ = 0;
  bool marked_before_ = false;  ///< in the observation before
  std::uint64_t observation_end_ = 0;
  std::uint64_t ecn_reductions_ = 0;
};

}  // namespace

std::unique_ptr<congestion_control> make_dctcp(std::uint64_t packet_size,
                                               std::uint64_t initial_packets) {
  return std::make_unique<dctcp>(packet_size, initial_packets);
}

}  // namespace nd::core
