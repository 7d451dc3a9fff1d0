// A connection between two made hosts, and what must hold when it is over.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>

#include "unit/support/host_pair.hpp"
#include "unit/support/traffic.hpp"

namespace nd::test {

inline constexpr duration soon = duration::milliseconds(200);

inline std::vector<std::byte> bytes_of_text(const char* text) {
  const auto* p = reinterpret_cast<const std::byte*>(text);
  return {p, p + std::strlen(text)};
}

/// Host 0 connects to host 1.
struct connection {
  explicit connection(host_pair& p, std::uint8_t traffic_class = 0)
      : listener(p.host(1), 80), client(p.connect(0, 80, traffic_class)) {
    p.run_until(
        [&] {
          if (!server) server = listener.accept();
          return server && client.connected();
        },
        soon);
    REQUIRE(server);
    REQUIRE(client.connected());
  }
  app_listener listener;
  app_socket client;
  app_socket server;
};

inline std::vector<std::byte> read_all(host_pair& p, app_socket& s, std::size_t size) {
  std::vector<std::byte> got;
  p.run_until(
      [&] {
        std::array<std::byte, 4096> buffer;
        const std::size_t n = s.read(buffer);
        got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
        return got.size() >= size || s.at_end() || s.failed();
      },
      soon);
  return got;
}

inline void require_nothing_left(host_pair& p) {
  p.net.on_frame = nullptr;  // what it refers to may be gone, and hosts still send
  REQUIRE(p.comes_to_rest());
  for (std::size_t i = 0; i < 2; ++i) p.stop(i);
  REQUIRE(p.mbufs_in_use() == 0);
}

}  // namespace nd::test
