// Large reads and writes that dcopy lcores copy, piece by piece and in any order.
#include "lcore/app_stream.hpp"

#include <cstdlib>

#include "unit/support/connection.hpp"
#include "unit/support/copiers.hpp"

namespace nd::test {
namespace {

constexpr std::uint64_t smallest = 20'000;

/// For calls of `smallest` bytes and more.
struct test_copiers : copiers {
  test_copiers(host_pair& p, std::size_t count) : copiers(p.host(0), count, &std::abort) {
    writes = reads = {.smallest = smallest, .in_flight = 1 << 20};
  }
};

std::vector<std::byte> stream_of(std::size_t size) {
  std::vector<std::byte> bytes(size);
  fill_stream(bytes, 0, 1);
  return bytes;
}

/// A connection of which host 0's end has a stream with dcopy lcores.
struct dcopy_connection : connection {
  dcopy_connection(host_pair& p, core::copy_service& copies)
      : connection(p),
        pair(p),
        stream({.pool = p.host(0).tx_pool(), .digests = p.host(0).digests(), .copies = &copies},
               client.link()) {}
  std::size_t put(std::span<const std::byte> bytes) {
    const std::size_t n = stream.put(bytes);
    post_to(pair.host(0), client.link(), core::request_send);
    return n;
  }
  host_pair& pair;
  core::app_stream stream;
};

TEST_CASE(
    "A large write is copied by dcopy lcores, and the caller's bytes are its own again after it",
    "[dcopy][stream]") {
  host_pair p;
  test_copiers copies(p, 3);
  {
    dcopy_connection c(p, copies);
    std::vector<std::byte> bytes = stream_of(300'000);
    REQUIRE(c.put(bytes) == bytes.size());
    REQUIRE(c.stream.copying_out());
    REQUIRE(c.stream.written() == bytes.size());
    for (const auto& lcore : copies.lcores) CHECK(lcore->queued_bytes() > 0);
    p.run_for(duration::milliseconds(1));
    CHECK(p.stats(0).payload_bytes_sent.value() == 0);
    // The last pieces first.
    for (std::size_t i = copies.lcores.size(); i-- > 0;)
      while (copies.lcores[i]->poll({}) > 0) p.run_for(duration::microseconds(20));
    CHECK_FALSE(c.stream.copying_out());
    CHECK(copies.bytes() == bytes.size());
    CHECK(copies.by_callers == 0);
    const std::vector<std::byte> expected =
        std::exchange(bytes, std::vector<std::byte>(bytes.size()));
    CHECK(read_all(p, c.server, expected.size()) == expected);
  }
  require_nothing_left(p);
}

TEST_CASE("What is in front of a small write may still be copied", "[dcopy][stream]") {
  host_pair p;
  test_copiers copies(p, 1);
  {
    dcopy_connection c(p, copies);
    const std::vector<std::byte> bytes = stream_of(60'000);
    REQUIRE(c.put(std::span(bytes).first(100)) == 100);
    REQUIRE(c.put(std::span(bytes).subspan(100, 59'000)) == 59'000);
    REQUIRE(c.put(std::span(bytes).subspan(59'100)) == 900);
    p.run_for(duration::milliseconds(1));
    CHECK(p.stats(0).payload_bytes_sent.value() == 100);
    copies.run();
    CHECK(read_all(p, c.server, bytes.size()) == bytes);
  }
  require_nothing_left(p);
}

TEST_CASE("Small writes, and more than a socket may have under way, are the caller's to copy",
          "[dcopy][stream]") {
  host_pair p;
  test_copiers copies(p, 1);
  copies.writes.in_flight = 40'000;
  {
    dcopy_connection c(p, copies);
    const std::vector<std::byte> bytes = stream_of(smallest - 1 + 200'000);
    REQUIRE(c.put(std::span(bytes).first(smallest - 1)) == smallest - 1);
    CHECK_FALSE(c.stream.copying_out());
    REQUIRE(c.put(std::span(bytes).subspan(smallest - 1)) == 200'000);
    CHECK(copies.lcores[0]->queued_bytes() < 100'000);
    CHECK(copies.by_callers == 200'000 - copies.lcores[0]->queued_bytes());
    copies.run();
    CHECK(read_all(p, c.server, bytes.size()) == bytes);
  }
  require_nothing_left(p);
}

TEST_CASE("A connection that is reset while dcopy lcores copy for it frees what comes from them",
          "[dcopy][stream]") {
  host_pair p;
  test_copiers copies(p, 2);
  const bool stack_first = GENERATE(false, true);
  {
    dcopy_connection c(p, copies);
    const std::vector<std::byte> bytes = stream_of(200'000);
    REQUIRE(c.put(bytes) == bytes.size());
    copies.lcores[0]->poll({});
    c.server.abort();
    REQUIRE(p.run_until([&] { return c.client.failed(); }, soon));
    CHECK(c.stream.copying_out());
    copies.run();
    CHECK_FALSE(c.stream.copying_out());
    if (stack_first) p.run_for(duration::milliseconds(1));
  }
  require_nothing_left(p);
}

TEST_CASE("A write takes no more than there are mbufs, and goes on when there are",
          "[dcopy][stream]") {
  host_pair p;
  test_copiers copies(p, 1);
  {
    dcopy_connection c(p, copies);
    const std::vector<std::byte> bytes = stream_of(300'000);
    std::size_t n = 0;
    {
      const hoard others(p.pools(0).tx(), 50);
      n = c.put(bytes);
      CHECK(n > 60'000);
      CHECK(n < 75'000);
      copies.run();
      CHECK(c.put(std::span(bytes).subspan(n)) == 0);
    }
    n += c.put(std::span(bytes).subspan(n));
    CHECK(n == bytes.size());
    copies.run();
    CHECK(read_all(p, c.server, bytes.size()) == bytes);
  }
  require_nothing_left(p);
}

TEST_CASE("A stack that stands still bounds what waits in the response ring", "[dcopy][stream]") {
  host_pair p({.adjust = [](settings& v) { v.send_buffer = 16 << 20; }});
  test_copiers copies(p, 1);
  {
    dcopy_connection c(p, copies);
    const std::vector<std::byte> bytes = stream_of(8 << 20);
    std::size_t n = 0;
    for (std::size_t more = 1; more > 0; n += more) {
      more = c.put(std::span(bytes).subspan(n));
      copies.run();
    }
    CHECK(n <= 511 * p.host(0).max_payload());
    CHECK(n > 200 * p.host(0).max_payload());
    REQUIRE(p.run_until(
        [&] {
          n += c.put(std::span(bytes).subspan(n));
          copies.run();
          std::array<std::byte, 16384> buffer;
          while (c.server.read(buffer) > 0) continue;
          return c.server.consumed() == bytes.size();
        },
        duration::seconds(10)));
  }
  require_nothing_left(p);
}

TEST_CASE("A large read is copied by dcopy lcores, which free what was read", "[dcopy][stream]") {
  host_pair p;
  test_copiers copies(p, 2);
  const std::size_t buffer_size = GENERATE(std::size_t{30'000}, std::size_t{44'444});
  {
    dcopy_connection c(p, copies);
    const std::vector<std::byte> bytes = stream_of(80'000);
    REQUIRE(c.server.write(bytes) == bytes.size());
    std::vector<std::byte> got;
    REQUIRE(p.run_until([&] { return c.stream.available() > 2 * 30'000; }, soon));
    while (got.size() < bytes.size()) {
      std::vector<std::byte> buffer(buffer_size);
      std::size_t n = 0;
      REQUIRE(p.run_until([&] { return (n = c.stream.take(buffer)) > 0; }, soon));
      CHECK(c.stream.copying_in() == (n >= smallest));
      p.run_for(duration::microseconds(50));
      copies.run();
      REQUIRE_FALSE(c.stream.copying_in());
      c.stream.publish_consumed();
      post_to(p.host(0), c.client.link(), core::request_consumed);
      got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
    }
    CHECK(got == bytes);
    CHECK(copies.bytes() >= 60'000);
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
