// The public API with a DMA device that reaches little, or hangs (support/fake_dma.hpp).
#ifdef ND_FAKE_DEVICES

#include <algorithm>
#include <catch2/catch.hpp>
#include <nd/nd.hpp>
#include <string>
#include <vector>

#include "unit/support/captured_log.hpp"
#include "unit/support/fake_dma.hpp"
#include "unit/support/pool.hpp"
#include "unit/support/two_runtimes.hpp"

namespace {

using nd::test::fake_dma;
using nd::test::fake_dma_traits;
using nd::test::stream_bytes;

nd::config config_of(int host) {
  nd::config c;
  c.set("ring", "dma")
      .set("ip", "10.0.0." + std::to_string(host) + "/24")
      .set("mtu", "9000")
      .set("rx_mbufs", "1024")
      .set("tx_mbufs", "1024")
      .set("peer_timeout", "10s")
      .set("seed", "7");
  return c;
}

/// Two hosts in this thread, joined by the setting `ring`. The client has a dcopy lcore with `dma`.
struct two_hosts {
  explicit two_hosts(const fake_dma& dma)
      : server(nd::existing_eal, config_of(1)),
        client(nd::existing_eal, config_of(2)
                                     .set("dcopy_lcores", "1")
                                     .set("dcopy_dma", std::to_string(dma.id()))
                                     .set("dcopy_min", "16K")),
        acceptor(server, nd::endpoint(nd::any_address, 4000)),
        ends(nd::test::connect_to(acceptor, server, client)) {}
  /// Writes all of `bytes`, and reads it at the other end into `got`.
  void transfer(nd::socket& from, nd::socket& to, std::span<const std::byte> bytes,
                std::span<std::byte> got) {
    std::size_t written = 0, read = 0;
    REQUIRE(nd::test::poll_until(server, client, [&] {
      std::error_code ec;
      if (written < bytes.size()) written += from.write_some(bytes.subspan(written), ec);
      // But for the end large reads only: others are the calling thread's to copy.
      if (to.available() >= 32'000 || bytes.size() - read < 64'000)
        read += to.read_some(got.subspan(read), ec);
      return read == bytes.size();
    }));
    REQUIRE(std::equal(bytes.begin(), bytes.end(), got.begin()));
  }
  std::uint64_t count(std::string_view name) const {
    for (const nd::counter& c : client.stats())
      if (c.name == name) return c.value;
    FAIL("no counter " << name);
    return 0;
  }

  nd::runtime server;
  nd::runtime client;
  nd::acceptor acceptor;
  std::pair<nd::socket, nd::socket> ends;
  nd::socket& near = ends.first;
  nd::socket& far = ends.second;
};

}  // namespace

TEST_CASE("a DMA device without shared virtual addressing copies registered memory", "[dma]") {
  fake_dma dma;
  constexpr std::size_t size = 1'000'000;
  {
    two_hosts hosts(dma);
    const auto bytes = stream_bytes(0, size);
    std::vector<std::byte> on_heap(size);
    const auto both_ways = [&](std::span<std::byte> clients) {
      std::copy(bytes.begin(), bytes.end(), clients.begin());
      hosts.transfer(hosts.near, hosts.far, clients, on_heap);
      std::fill(clients.begin(), clients.end(), std::byte());
      hosts.transfer(hosts.far, hosts.near, bytes, clients);
    };
    std::vector<std::byte> unknown(size);
    both_ways(unknown);
    const std::uint64_t by_cpu =
        hosts.count("dcopy_bytes_written") + hosts.count("dcopy_bytes_read");
    CHECK(hosts.count("dcopy_bytes_written") > size / 2);
    CHECK(hosts.count("dcopy_bytes_read") > size / 2);
    CHECK(hosts.count("dcopy_bytes_dma") == 0);
    CHECK(dma.bytes() == 0);
    const nd::registered_memory known(hosts.client, size);
    both_ways(known.bytes().first(size));
    CHECK(hosts.count("dcopy_bytes_dma") ==
          hosts.count("dcopy_bytes_written") + hosts.count("dcopy_bytes_read") - by_cpu);
    CHECK(hosts.count("dcopy_bytes_dma") > size);
    CHECK(hosts.count("dcopy_bytes_dma") == dma.bytes());
    CHECK(hosts.count("dcopy_dma_lost") == 0);
  }
  CHECK(dma.violations() == std::vector<std::string>());
}

TEST_CASE("a DMA device that hangs holds up one call for a second", "[dma]") {
  fake_dma dma({.sva = true, .completes = 50});
  const nd::test::captured_log log;
  {
    two_hosts hosts(dma);
    const auto bytes = stream_bytes(0, 1'000'000);
    std::vector<std::byte> got(bytes.size());
    for (int i = 0; i < 3; ++i) hosts.transfer(hosts.near, hosts.far, bytes, got);
    CHECK(hosts.count("dcopy_dma_lost") == 1);
    CHECK(hosts.count("dcopy_bytes_dma") > 0);
    CHECK(hosts.count("dcopy_bytes_dma") <= dma.bytes());
    CHECK(hosts.count("dcopy_bytes_written") > 2 * bytes.size());
  }
  CHECK_FALSE(dma.started());
  CHECK_THAT(log.text(), Catch::Contains("DMA device " + std::to_string(dma.id()) +
                                         " finished nothing for a second and is given up: lcore 1 "
                                         "copies by its CPU from now on"));
  CHECK(dma.violations() == std::vector<std::string>());
}

#endif  // ND_FAKE_DEVICES
