// DCTCP (RFC 8257), with byte counting, a window of at least two packets, and the reaction to loss
// of RFC 9002.
#include <algorithm>

#include "channel/congestion.hpp"
#include "channel/coupling.hpp"

namespace nd::core {
namespace {

class dctcp final : public congestion_control {
 public:
  dctcp(std::uint64_t packet_size, std::uint64_t initial_packets)
      : packet_size_(packet_size),
        initial_packets_(initial_packets),
        window_(packet_size * initial_packets) {}

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
      threshold_ = std::max(window_ / 2, minimum());
      window_ = minimum();
      recovery_start_ = growth_start_ = loss.now;
      return true;
    }
    if (loss.largest_sent <= recovery_start_) return false;
    recovery_start_ = loss.now;
    reduced_by_loss_ = true;
    if (queue_seen()) {
      // RFC 8257, section 3.5: as a conventional sender would.
      window_ /= 2;
      growth_start_ = loss.now;
    } else {
      // A bad link rather than a full queue, which marks or delays first. Still a reduction: a
      // queue that does neither must not be overrun.
      window_ -= window_ / 8;
    }
    window_ = threshold_ = std::max(window_, minimum());
    return true;
  }

  std::uint64_t window() const noexcept override { return window_; }

  std::uint64_t pacing_rate() const noexcept override {
    if (srtt_.ns() == 0) return 0;
    // RFC 9002, 7.7: somewhat faster than the window a round trip; twice in slow start, or the
    // window could not double.
    const double gain = in_slow_start() ? 2.0 : 1.25;
    return static_cast<std::uint64_t>(gain * static_cast<double>(window_) * 1e9 /
                                      static_cast<double>(srtt_.ns()));
  }

  std::uint64_t ecn_reductions() const noexcept override { return ecn_reductions_; }

  void set_packet_size(std::uint64_t bytes) noexcept override {
    // The initial window is counted in packets: it grows with the path MTU until it was used.
    if (observed_total_ == 0 && window_ == packet_size_ * initial_packets_)
      window_ = bytes * initial_packets_;
    packet_size_ = bytes;
    window_ = std::max(window_, minimum());
  }

  void set_sharing(unsigned channels) noexcept override { coupling_.set(channels); }

 private:
  bool in_slow_start() const noexcept { return window_ < threshold_; }
  std::uint64_t minimum() const noexcept { return 2 * packet_size_; }

  void grow(const congestion_ack& ack) noexcept {
    observed_total_ += ack.bytes;
    if (ack.largest_sent <= growth_start_) return;  // sent before the last reduction
    if (in_slow_start()) {
      window_ += ack.bytes;
      return;
    }
    increase_credit_ += ack.bytes;
    const double divisor = reduced_by_loss_ ? coupling_.by_loss() : coupling_.by_marks();
    const auto per_packet = static_cast<std::uint64_t>(static_cast<double>(window_) * divisor);
    if (increase_credit_ >= per_packet) {
      increase_credit_ -= per_packet;
      window_ += packet_size_;
    }
  }

  // Section 3.3: at most one reduction a window of data, by the running estimate of the share of
  // marked bytes. The first mark ends slow start at once.
  void on_congestion_experienced(const congestion_ack& ack) noexcept {
    if (in_slow_start()) threshold_ = window_;
    if (ack.largest_sent <= recovery_start_) return;
    recovery_start_ = growth_start_ = ack.now;
    reduced_by_loss_ = false;
    const double reduced = static_cast<double>(window_) * (1.0 - alpha_ / 2);
    window_ = threshold_ = std::max(static_cast<std::uint64_t>(reduced), minimum());
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

  std::uint64_t packet_size_;
  std::uint64_t initial_packets_;
  std::uint64_t window_;
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
  std::uint64_t observed_total_ = 0;
  std::uint64_t observation_end_ = 0;
  std::uint64_t ecn_reductions_ = 0;
};

}  // namespace

std::unique_ptr<congestion_control> make_dctcp(std::uint64_t packet_size,
                                               std::uint64_t initial_packets) {
  return std::make_unique<dctcp>(packet_size, initial_packets);
}

}  // namespace nd::core
