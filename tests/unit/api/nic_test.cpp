// Two hosts on two NICs (support/fake_nic.hpp), through the public API.
#ifdef ND_FAKE_DEVICES

#include <catch2/catch.hpp>
#include <map>
#include <nd/nd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "unit/support/fake_nic.hpp"
#include "unit/support/pool.hpp"
#include "unit/support/two_runtimes.hpp"

namespace {

using nd::test::fake_nic;
using nd::test::fake_nic_traits;
using texts = std::vector<std::string>;

/// Two hosts on two NICs and a cable between them.
struct two_nics {
  explicit two_nics(const std::map<std::string, std::string>& more,
                    const fake_nic_traits& traits = {})
      : two_nics(more, more, traits) {}
  two_nics(const std::map<std::string, std::string>& of_server,
           const std::map<std::string, std::string>& of_client, const fake_nic_traits& traits)
      : left(traits), right(traits) {
    left.connect(&right);
    right.connect(&left);
    server.emplace(nd::existing_eal, config_of(left, 1, of_server));
    client.emplace(nd::existing_eal, config_of(right, 2, of_client));
  }

  static nd::config config_of(const fake_nic& nic, int host,
                              const std::map<std::string, std::string>& more) {
    nd::config c;
    c.set("port", std::to_string(nic.port_id()))
        .set("ip", "10.0.0." + std::to_string(host) + "/24")
        .set("rx_mbufs", "1024")
        .set("rx_descriptors", "128")
        .set("tx_mbufs", "1024")
        .set("seed", "11");
    for (const auto& [name, value] : more) c.set(name, value);
    return c;
  }

  template <class Done>
  bool until(Done&& done) {
    return nd::test::poll_until(*server, *client, done);
  }

  /// Client to server; what arrived.
  std::vector<std::byte> send(const std::vector<std::byte>& bytes,
                              nd::traffic_class wanted = nd::traffic_class::throughput) {
    std::error_code ec;
    nd::acceptor acceptor(*server, {nd::any_address, 4000});
    auto ends = nd::test::connect_to(acceptor, *server, *client, wanted);
    nd::socket &s = ends.first, &accepted = ends.second;
    std::vector<std::byte> received;
    std::array<std::byte, 65536> buffer;
    std::size_t written = 0;
    REQUIRE(until([&] {
      if (written < bytes.size()) {
        written += s.write_some(std::span(bytes).subspan(written), ec);
        if (written == bytes.size()) s.shutdown(nd::shutdown_type::send);
      }
      const std::size_t n = accepted.read_some(buffer, ec);
      received.insert(received.end(), buffer.begin(), buffer.begin() + static_cast<long>(n));
      return ec == nd::errc::eof;
    }));
    return received;
  }

  fake_nic left;
  fake_nic right;
  std::optional<nd::runtime> server;
  std::optional<nd::runtime> client;
};

}  // namespace

TEST_CASE("a transfer over NICs: shared, spread over queues, with and without offloads") {
  const std::string encap = GENERATE("ip", "udp");
  const std::string isolate = GENERATE("on", "off");
  const std::string queues = GENERATE("1", "4");
  const bool offloads = GENERATE(true, false);
  CAPTURE(encap, isolate, queues, offloads);
  fake_nic_traits traits;
  if (!offloads) traits.rx_offloads = traits.tx_offloads = 0;
  two_nics nics({{"encap", encap}, {"isolate", isolate}, {"rx_queues", queues}}, traits);
  const auto bytes = nd::test::stream_bytes(0, 300'000);
  CHECK(nics.send(bytes) == bytes);
  const bool filled = nics.right.checksums_filled() > 0;
  CHECK(filled == (encap == "udp" && offloads));
  CHECK(nics.left.frames_to_kernel() == 0);
  nics.client.reset();
  nics.server.reset();
  CHECK(nics.left.violations() == texts{});
  CHECK(nics.right.violations() == texts{});
  CHECK(nics.left.rules().empty());
  CHECK(nics.left.rules_at_stop() == 0);
}

TEST_CASE("datagrams without a checksum pass a device that calls them bad") {
  two_nics nics({{"encap", "udp"}, {"checksum", "none"}});
  const auto bytes = nd::test::stream_bytes(0, 100'000);
  CHECK(nics.send(bytes) == bytes);
}

TEST_CASE("checksums that a virtual wire leaves open are taken where the device vouches for them") {
  fake_nic_traits traits;
  traits.virtual_wire = true;
  two_nics nics({{"encap", "udp"}}, traits);
  const auto bytes = nd::test::stream_bytes(0, 100'000);
  CHECK(nics.send(bytes) == bytes);
}

TEST_CASE("latency traffic has queues of its own at either end, or at one, or at none") {
  const std::string of_server = GENERATE("auto", "off");
  const std::string of_client = GENERATE("auto", "off");
  const std::string isolate = GENERATE("on", "off");
  const std::string encap = GENERATE("ip", "udp");
  const bool urgent = GENERATE(true, false);
  CAPTURE(of_server, of_client, isolate, encap, urgent);
  const auto options = [&](const std::string& class_queues) {
    return std::map<std::string, std::string>{
        {"class_queues", class_queues}, {"isolate", isolate}, {"encap", encap}};
  };
  two_nics nics(options(of_server), options(of_client), {});
  const auto bytes = nd::test::stream_bytes(0, 100'000);
  CHECK(nics.send(bytes, urgent ? nd::traffic_class::latency : nd::traffic_class::throughput) ==
        bytes);
  const auto check = [&](const fake_nic& nic, const std::string& class_queues, unsigned most) {
    if (class_queues == "off") {
      CHECK(nic.send_queue_count() == 1);
      CHECK(nic.queue_count() == 1);
      return;
    }
    CHECK((nic.sent_on(1) > most) == urgent);
    CHECK((nic.sent_on(0) > most) == !urgent);
    if (isolate == "off") {
      CHECK(nic.queue_count() == 1);
      return;
    }
    CHECK((nic.received_on(1) > most) == urgent);
    CHECK((nic.received_on(0) > most) == !urgent);
  };
  // ARP, and what they say when they begin, is few frames.
  check(nics.left, of_server, 8);
  check(nics.right, of_client, 8);
}

#endif  // ND_FAKE_DEVICES
