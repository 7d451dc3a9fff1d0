// The interface of congestion control: events in, window and pacing rate out.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/time.hpp"
#include "channel/delivery_rate.hpp"

namespace nd::core {

struct congestion_ack {
  instant now;
  std::uint64_t bytes;        ///< newly acknowledged
  std::uint64_t ce_bytes;     ///< received with CE since the last acknowledgement
  std::uint64_t largest;      ///< largest packet number newly acknowledged
  std::uint64_t next_number;  ///< next one to be sent: a round ends when it is acknowledged
  instant largest_sent;       ///< when `largest` was sent
  duration smoothed_rtt;
  duration minimum_rtt{};
  duration rtt{};               ///< a new sample, with all delays; 0: none
  std::uint64_t in_flight = 0;  ///< before this acknowledgement
  delivery_sample delivery{};   ///< how fast bytes arrived
  bool window_limited;          ///< the window, not the application, held the sender back
};

struct congestion_loss {
  instant now;
  instant largest_sent;     ///< when the last of the lost packets was sent
  std::uint64_t bytes = 0;  ///< lost
  bool persistent;          ///< RFC 9002, section 7.6
};

/// One per channel. Knows neither the channel nor the clock.
class congestion_control {
 public:
  virtual ~congestion_control() = default;

  virtual void on_ack(const congestion_ack& ack) noexcept = 0;
  /// True when the window was reduced: losses of one round trip are one event.
  virtual bool on_loss(const congestion_loss& loss) noexcept = 0;

  /// Bytes that may be in flight.
  virtual std::uint64_t window() const noexcept = 0;
  /// Bytes a second for the pacer; 0 before the first round trip is measured.
  virtual std::uint64_t pacing_rate() const noexcept = 0;
  /// Times the window was reduced by ECN.
  virtual std::uint64_t ecn_reductions() const noexcept = 0;

  /// Bytes of a full packet on this path.
  virtual void set_packet_size(std::uint64_t bytes) noexcept = 0;
  /// Channels to the same peer that share the path with this one, itself included: together they
  /// increase like one (RFC 6356, with equal windows).
  virtual void set_sharing(unsigned channels) noexcept = 0;
};

/// DCTCP (RFC 8257).
std::unique_ptr<congestion_control> make_dctcp(std::uint64_t packet_size,
                                               std::uint64_t initial_packets);
/// CUBIC (RFC 9438) with HyStart++ (RFC 9406).
std::unique_ptr<congestion_control> make_cubic(std::uint64_t packet_size,
                                               std::uint64_t initial_packets);
/// By bandwidth and round-trip time, after BBR (draft-ietf-ccwg-bbr): losses alone are no sign of
/// congestion.
std::unique_ptr<congestion_control> make_rate_control(std::uint64_t packet_size,
                                                      std::uint64_t initial_packets);

enum class congestion_mode : std::uint8_t { dctcp, cubic, rate };

/// By the values of the setting `congestion`.
inline congestion_mode congestion_mode_of(std::string_view name) noexcept {
  if (name == "cubic") return congestion_mode::cubic;
  return name == "rate" ? congestion_mode::rate : congestion_mode::dctcp;
}

inline std::unique_ptr<congestion_control> make_congestion_control(congestion_mode mode,
                                                                   std::uint64_t packet_size,
                                                                   std::uint64_t initial_packets) {
  switch (mode) {
    case congestion_mode::cubic: return make_cubic(packet_size, initial_packets);
    case congestion_mode::rate: return make_rate_control(packet_size, initial_packets);
    case congestion_mode::dctcp: break;
  }
  return make_dctcp(packet_size, initial_packets);
}

}  // namespace nd::core
