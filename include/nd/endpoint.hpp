// IPv4 addresses and endpoints.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace nd {

/// An IPv4 address in host order. A plain value.
class address {
 public:
  constexpr address() noexcept = default;
  constexpr explicit address(std::uint32_t host_order) noexcept : value_(host_order) {}
  /// Parses "A.B.C.D"; throws std::system_error(errc::invalid_argument) naming the text.
  explicit address(std::string_view dotted);

  constexpr std::uint32_t to_uint() const noexcept { return value_; }
  constexpr bool is_any() const noexcept { return value_ == 0; }
  std::string to_string() const;

  constexpr auto operator<=>(const address&) const noexcept = default;

 private:
  std::uint32_t value_ = 0;
};

/// "Any of this host's addresses", for an acceptor.
inline constexpr address any_address{};

/// An address and a virtual port (1 to 65535; 0 lets the library choose where that makes sense).
class endpoint {
 public:
  constexpr endpoint() noexcept = default;
  constexpr endpoint(nd::address a, std::uint16_t port) noexcept : address_(a), port_(port) {}
  /// Parses a dotted address; throws as `address` does.
  endpoint(std::string_view dotted, std::uint16_t port) : address_(dotted), port_(port) {}

  constexpr nd::address address() const noexcept { return address_; }
  constexpr std::uint16_t port() const noexcept { return port_; }
  /// "A.B.C.D:port"
  std::string to_string() const;

  constexpr auto operator<=>(const endpoint&) const noexcept = default;

 private:
  nd::address address_;
  std::uint16_t port_ = 0;
};

}  // namespace nd
