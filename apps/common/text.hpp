// Values as people write and read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nd::apps {

/// An IPv4 address in host order and a port.
struct host_port {
  std::uint32_t address = 0;
  std::uint16_t port = 0;

  bool operator==(const host_port&) const = default;
};

/// Seconds ("2", "0.5") or a number with ns, us, ms or s. Not negative.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// A whole number, which K, M or G multiplies by 2^10, 2^20 or 2^30.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// "A.B.C.D" or "A.B.C.D:PORT", PORT from 1 on; without it, `default_port`.
std::optional<host_port> parse_host_port(std::string_view text, std::uint16_t default_port);

/// "A.B.C.D:PORT"
std::string to_string(const host_port& value);

/// "12.3 kB", "4.56 Mmsg/s": three figures, a decimal prefix and the unit.
std::string with_prefix(double value, std::string_view unit);

/// The candidate that differs from `word` in the fewest places; empty if none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

inline double seconds(std::chrono::nanoseconds d) noexcept {
  return std::chrono::duration<double>(d).count();
}

}  // namespace nd::apps
