// CUBIC (RFC 9438) with byte counting, HyStart++ in the first slow start, and ECN as RFC 8511 has
// it.
#include <algorithm>
#include <cmath>

#include "channel/congestion.hpp"
#include "channel/congestion_window.hpp"
#include "channel/coupling.hpp"
#include "channel/hystart.hpp"

namespace nd::core {
namespace {

constexpr double growth_constant = 0.4;  // section 5: C
constexpr double decrease = 0.7;         // section 4.6: beta_cubic
// RFC 8511, section 3.1: a mark comes long before a queue overflows.
constexpr double decrease_by_mark = 0.85;

class cubic final : public congestion_control {
 public:
  cubic(std::uint64_t packet_size, std::uint64_t initial_packets)
      : window_(packet_size, initial_packets) {}

  void on_ack(const congestion_ack& ack) noexcept override {
    srtt_ = ack.smoothed_rtt;
    if (ack.ce_bytes > 0 && ack.largest_sent > recovery_start_) {
      reduce(ack.now, decrease_by_mark);
      reduced_by_loss_ = false;
      ++ecn_reductions_;
      return;
    }
    if (in_slow_start()) start_.on_ack(ack.largest, ack.next_number, ack.rtt);
    if (!ack.window_limited) {
      // Section 4.2: time without congestion counts only while the window was used.
      if (idle_since_.is_never()) idle_since_ = ack.now;
      return;
    }
    if (!idle_since_.is_never()) {
      epoch_ = epoch_ + (ack.now - idle_since_);
      idle_since_ = instant::never();
    }
    if (ack.largest_sent <= recovery_start_) return;  // sent before the last reduction
    if (in_slow_start())
      slow_start(ack);
    else
      avoid_congestion(ack);
  }

  bool on_loss(const congestion_loss& loss) noexcept override {
    if (loss.persistent) {
      reduce(loss.now, decrease);
      window_.set(window_.minimum());
      start_ = {};
      return true;
    }
    if (loss.largest_sent <= recovery_start_) return false;
    reduce(loss.now, decrease);
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

  void slow_start(const congestion_ack& ack) noexcept {
    window_.set(std::min(window_.bytes() + start_.growth(ack.bytes), threshold_));
    if (start_.done()) threshold_ = window_.bytes();
  }

  // Sections 4.2 to 4.5: W(t) = C (t - K)^3 + W_max, in packets and seconds. At a given loss rate W
  // goes with C^(1/4) and, as Reno, with the increase's square root; so that C is divided by the
  // square of what divides the increase.
  void avoid_congestion(const congestion_ack& ack) noexcept {
    const auto packet = static_cast<double>(window_.packet_size());
    const double divisor = reduced_by_loss_ ? coupling_.by_loss() : coupling_.by_marks();
    const double c = growth_constant / (divisor * divisor);
    if (!epoch_running_) start_epoch(ack.now, c);
    const double window = exact_ / packet;
    const double acked = static_cast<double>(ack.bytes) / packet;

    const double t = seconds(ack.now - epoch_ + srtt_);
    const double ahead = t - inflection_s_;
    const double target =
        std::clamp(c * ahead * ahead * ahead + maximum_ / packet, window, 1.5 * window);
    double grown = window + (target - window) * acked / window;

    // Section 4.3: never slower than Reno, from the reduction on.
    const double reno = reno_ >= prior_ ? 1.0 : 3 * (1 - decrease) / (1 + decrease);
    reno_ += packet * reno / divisor * acked / window;
    grown = std::max(grown, std::min(reno_ / packet, 1.5 * window));
    exact_ = grown * packet;
    window_.set(static_cast<std::uint64_t>(exact_));
  }

  void start_epoch(instant now, double c) noexcept {
    epoch_running_ = true;
    epoch_ = now;
    exact_ = reno_ = static_cast<double>(window_.bytes());
    if (maximum_ < exact_) maximum_ = prior_ = exact_;
    inflection_s_ = std::cbrt((maximum_ - exact_) / static_cast<double>(window_.packet_size()) / c);
  }

  void reduce(instant now, double factor) noexcept {
    recovery_start_ = now;
    reduced_by_loss_ = true;
    const auto before = static_cast<double>(window_.bytes());
    prior_ = before;
    // Section 4.7, fast convergence: a window that did not reach the last one makes room.
    maximum_ = before < maximum_ ? before * (1 + factor) / 2 : before;
    window_.set(static_cast<std::uint64_t>(before * factor));
    threshold_ = window_.bytes();
    epoch_running_ = false;
  }

  static double seconds(duration d) noexcept { return static_cast<double>(d.ns()) * 1e-9; }

  congestion_window window_;
  std::uint64_t threshold_ = ~std::uint64_t{0};
  coupling coupling_;
  bool reduced_by_loss_ = true;
  instant recovery_start_{-1};
  instant idle_since_ = instant::never();
  duration srtt_{0};
  hystart start_;

  // Bytes, so that the packet size may change.
  double exact_ = 0;         ///< the window with its fraction
  double maximum_ = 0;       ///< W_max
  double prior_ = 0;         ///< cwnd_prior
  double reno_ = 0;          ///< W_est
  double inflection_s_ = 0;  ///< K
  instant epoch_;            ///< of the last reduction's end
  bool epoch_running_ = false;
  std::uint64_t ecn_reductions_ = 0;
};

}  // namespace

std::unique_ptr<congestion_control> make_cubic(std::uint64_t packet_size,
                                               std::uint64_t initial_packets) {
  return std::make_unique<cubic>(packet_size, initial_packets);
}

}  // namespace nd::core
