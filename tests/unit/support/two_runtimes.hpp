// Two runtimes in one thread, which polls them in turns.
#pragma once

#include <catch2/catch.hpp>
#include <nd/nd.hpp>
#include <optional>
#include <utility>

namespace nd::test {

/// False if it doesn't come to that.
template <class Done>
bool poll_until(runtime& server, runtime& client, Done&& done) {
  for (int turns = 0; turns < 200'000; ++turns) {
    if (done()) return true;
    server.poll();
    client.poll();
  }
  return false;
}

/// A connection: the client's socket and the accepted one, both non-blocking, as is the acceptor.
inline std::pair<socket, socket> connect_to(acceptor& acceptor, runtime& server, runtime& client,
                                            traffic_class wanted = traffic_class::throughput) {
  socket s(client);
  s.set_option(wanted);
  s.non_blocking(true);
  std::error_code ec;
  s.connect({"10.0.0.1", acceptor.local_endpoint().port()}, ec);
  CHECK(ec == errc::in_progress);
  acceptor.non_blocking(true);
  std::optional<socket> accepted;
  REQUIRE(poll_until(server, client, [&] {
    socket a = acceptor.accept(ec);
    if (!ec) accepted.emplace(std::move(a));
    return accepted && s.connected();
  }));
  accepted->non_blocking(true);
  return {std::move(s), std::move(*accepted)};
}

}  // namespace nd::test
