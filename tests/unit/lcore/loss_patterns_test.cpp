// Every pattern of losses among the first ten frames of setup, and of teardown.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

constexpr std::uint64_t frames = 10;

/// Drops frame n from now on where bit n of `pattern` is set.
void lose(host_pair& p, std::uint64_t pattern) {
  const std::uint64_t first = p.net.frames();
  p.net.on_frame = [=](made_frame& f, frame_fate& fate) {
    const std::uint64_t n = f.number - first;
    fate.drop = n < frames && (pattern >> n & 1) != 0;
  };
}

TEST_CASE("Setup survives every pattern of losses", "[pair][patterns]") {
  const bool arp = GENERATE(false, true);
  for (std::uint64_t pattern = 1; pattern < std::uint64_t{1} << frames; ++pattern) {
    CAPTURE(arp, pattern);
    host_pair p({.static_neighbors = !arp, .adjust = [](settings& s) {
                   s.arp_tries = 20;  // more than are lost
                 }});
    lose(p, pattern);
    {
      app_listener listener(p.host(1), 80);
      app_socket client = p.connect(0, 80), server;
      const auto text = bytes_of_text("x");
      bool sent = false, answered = false, got = false;
      const bool done = p.run_until(
          [&] {
            std::array<std::byte, 4> buffer;
            if (!server) server = listener.accept();
            if (!sent) sent = client.write(text) == 1;
            if (server && !answered && server.read(buffer) == 1) answered = server.write(text) == 1;
            got = got || client.read(buffer) == 1;
            return got || client.failed();
          },
          duration::seconds(3));
      REQUIRE(done);
      REQUIRE(client.error() == errc{});
      REQUIRE(got);
      REQUIRE(p.stats(1).connections_accepted.value() == 1);
    }
    require_nothing_left(p);
  }
}

TEST_CASE("Teardown survives every pattern of losses", "[pair][patterns]") {
  const bool at_once = GENERATE(false, true);  // both sides close, or one after the other
  for (std::uint64_t pattern = 1; pattern < std::uint64_t{1} << frames; ++pattern) {
    CAPTURE(at_once, pattern);
    host_pair p;
    {
      connection c(p);
      p.run_for(duration::milliseconds(2));
      lose(p, pattern);
      c.client.write(bytes_of_text("last words"));
      c.client.shut_down_send();
      if (at_once) c.server.shut_down_send();
      std::array<std::byte, 64> buffer;
      bool closing = at_once;
      REQUIRE(p.run_until(
          [&] {
            c.server.read(buffer);
            c.client.read(buffer);
            if (c.server.at_end() && !std::exchange(closing, true)) c.server.shut_down_send();
            return c.server.at_end() && c.client.at_end();
          },
          duration::seconds(3)));
      REQUIRE(c.server.consumed() == 10);
      REQUIRE(c.client.error() == errc{});
      REQUIRE(c.server.error() == errc{});
    }
    require_nothing_left(p);
    REQUIRE(p.up(0) == false);
  }
}

TEST_CASE("A refusal survives every pattern of losses", "[pair][patterns]") {
  for (std::uint64_t pattern = 1; pattern < std::uint64_t{1} << frames; pattern += 2) {
    CAPTURE(pattern);
    host_pair p;
    lose(p, pattern);
    {
      app_socket client = p.connect(0, 80);
      REQUIRE(p.run_until([&] { return client.failed(); }, duration::seconds(3)));
      REQUIRE(client.error() == errc::connection_refused);
    }
    require_nothing_left(p);
  }
}

}  // namespace
}  // namespace nd::test
