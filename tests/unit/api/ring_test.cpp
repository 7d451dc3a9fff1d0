// The public API, two hosts in one process and one thread, joined by the setting `ring`.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <nd/nd.hpp>
#include <optional>
#include <vector>

#include "unit/support/two_runtimes.hpp"

namespace {

using nd::errc;

nd::config config_of(int host, const std::string& encap, const std::string& mtu) {
  nd::config c;
  c.set("ring", "cable")
      .set("ip", "10.0.0." + std::to_string(host) + "/24")
      .set("encap", encap)
      .set("mtu", mtu)
      .set("rx_mbufs", "1024")
      .set("tx_mbufs", "1024")
      .set("seed", "7");
  return c;
}

/// Both hosts, polled in turns.
struct two_hosts {
  explicit two_hosts(const std::string& encap = "ip", const std::string& mtu = "1500")
      : server(nd::existing_eal, config_of(1, encap, mtu)),
        client(nd::existing_eal, config_of(2, encap, mtu)) {}

  template <class Done>
  bool until(Done&& done) {
    return nd::test::poll_until(server, client, done);
  }

  std::pair<nd::socket, nd::socket> connect(nd::acceptor& acceptor) {
    return nd::test::connect_to(acceptor, server, client);
  }

  nd::runtime server;
  nd::runtime client;
};

std::vector<std::byte> pattern(std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 31 + (i >> 8));
  return bytes;
}

}  // namespace

TEST_CASE("two hosts in one process exchange bytes both ways over ring") {
  const std::string encap = GENERATE("ip", "udp");
  const std::string mtu = GENERATE("576", "1500", "9000");
  CAPTURE(encap, mtu);
  two_hosts hosts(encap, mtu);
  nd::acceptor acceptor(hosts.server, {nd::any_address, 4000});
  auto ends = hosts.connect(acceptor);
  nd::socket &a = ends.first, &b = ends.second;
  CHECK(a.remote_endpoint() == nd::endpoint("10.0.0.1", 4000));
  CHECK(b.remote_endpoint() == a.local_endpoint());

  const auto sent = pattern(3'000'000);
  std::vector<std::byte> received;
  std::array<std::byte, 65536> buffer;
  std::size_t written = 0;
  std::error_code ec;
  REQUIRE(hosts.until([&] {
    if (written < sent.size()) {
      const auto rest = std::span(sent).subspan(written);
      written += a.write_some(rest.first(std::min<std::size_t>(rest.size(), 100'000)), ec);
      CHECK((!ec || ec == errc::would_block));
      if (written == sent.size()) a.shutdown(nd::shutdown_type::send);
    }
    const std::size_t n = b.read_some(buffer, ec);
    received.insert(received.end(), buffer.begin(), buffer.begin() + static_cast<long>(n));
    return ec == errc::eof;
  }));
  CHECK(received == sent);
  // The other half is still open.
  b.non_blocking(false);
  CHECK(nd::write(b, std::span(sent).first(1000)) == 1000);
  b.close();
  std::size_t back = 0;
  REQUIRE(hosts.until([&] {
    back += a.read_some(buffer, ec);
    return ec == errc::eof;
  }));
  CHECK(back == 1000);
}

TEST_CASE("errors of the API are what its comments say") {
  two_hosts hosts;
  std::array<std::byte, 16> buffer{};
  std::error_code ec;

  nd::socket fresh(hosts.client);
  CHECK_THROWS_AS(fresh.local_endpoint(), std::system_error);
  CHECK(fresh.read_some(buffer, ec) == 0);
  CHECK(ec == errc::not_connected);
  fresh.connect({nd::address("10.0.0.2"), 1}, ec);
  CHECK(ec == errc::address_not_available);
  fresh.connect({nd::any_address, 1}, ec);
  CHECK(ec == errc::invalid_argument);
  CHECK_THROWS_AS(fresh.set_option(nd::send_buffer_size{1}), std::system_error);

  nd::acceptor acceptor(hosts.server, {nd::any_address, 4000});
  CHECK_THROWS_AS(nd::acceptor(hosts.server, {nd::any_address, 4000}), std::system_error);
  CHECK_THROWS_AS(nd::acceptor(hosts.server, {"10.0.0.9", 4001}), std::system_error);
  const nd::acceptor chosen(hosts.server, {nd::any_address, 0});
  CHECK(chosen.local_endpoint().port() != 0);

  auto ends = hosts.connect(acceptor);
  nd::socket& a = ends.first;
  CHECK(a.read_some(buffer, ec) == 0);
  CHECK(ec == errc::would_block);
  CHECK(ec == std::errc::operation_would_block);
  CHECK(a.read_some({}, ec) == 0);
  CHECK_FALSE(ec);
  a.connect({"10.0.0.1", 4000}, ec);
  CHECK(ec == errc::already_connected);
  a.non_blocking(false);
  a.set_option(nd::timeout{std::chrono::milliseconds(5)});
  CHECK(a.read_some(buffer, ec) == 0);
  CHECK(ec == errc::timed_out);
  hosts.client.interrupt();
  CHECK(a.read_some(buffer, ec) == 0);
  CHECK(ec == errc::interrupted);
  hosts.client.clear_interrupt();
  a.non_blocking(true);
  a.shutdown(nd::shutdown_type::send);
  CHECK(a.write_some(buffer, ec) == 0);
  CHECK(ec == errc::shut_down);

  nd::socket moved = std::move(a);
  CHECK(moved.is_open());
  CHECK_FALSE(a.is_open());  // NOLINT: what a moved-from socket promises
  CHECK(a.read_some(buffer, ec) == 0);
  CHECK(ec == errc::bad_descriptor);
}

TEST_CASE("refused, aborted and reset connections say so") {
  two_hosts hosts;
  std::array<std::byte, 16> buffer{};
  std::error_code ec;
  nd::socket nobody(hosts.client);
  nobody.non_blocking(true);
  nobody.connect({"10.0.0.1", 4999}, ec);
  REQUIRE(hosts.until([&] { return static_cast<bool>(nobody.error()); }));
  CHECK(nobody.error() == errc::connection_refused);
  CHECK(nobody.read_some(buffer, ec) == 0);
  CHECK(ec == errc::connection_refused);

  nd::acceptor acceptor(hosts.server, {nd::any_address, 4000});
  auto ends = hosts.connect(acceptor);
  nd::socket &a = ends.first, &b = ends.second;
  a.abort();
  REQUIRE(hosts.until([&] { return static_cast<bool>(b.error()); }));
  CHECK(b.error() == errc::connection_reset);

  auto others = hosts.connect(acceptor);
  nd::socket &c = others.first, &d = others.second;
  REQUIRE(c.write_some(buffer) == buffer.size());
  REQUIRE(hosts.until([&] { return d.available() == buffer.size(); }));
  d.close();  // with bytes unread
  REQUIRE(hosts.until([&] { return static_cast<bool>(c.error()); }));
  CHECK(c.error() == errc::connection_reset);
}

TEST_CASE("a socket's traffic class and buffers reach the other end's choice of channels") {
  two_hosts hosts;
  nd::acceptor acceptor(hosts.server, {nd::any_address, 4000});
  acceptor.non_blocking(true);
  nd::socket s(hosts.client);
  s.non_blocking(true);
  s.set_option(nd::traffic_class::latency);
  s.set_option(nd::send_buffer_size{8192});
  std::error_code ec;
  s.connect({"10.0.0.1", 4000}, ec);
  std::optional<nd::socket> accepted;
  REQUIRE(hosts.until([&] {
    nd::socket a = acceptor.accept(ec);
    if (!ec) accepted.emplace(std::move(a));
    return accepted.has_value() && s.connected();
  }));
  nd::traffic_class kind{};
  accepted->get_option(kind);
  CHECK(kind == nd::traffic_class::latency);
  CHECK_THROWS_AS(s.set_option(nd::traffic_class::throughput), std::system_error);

  const auto bytes = pattern(100'000);
  std::size_t taken = 0;
  while (const std::size_t n = s.write_some(std::span(bytes).subspan(taken), ec)) taken += n;
  CHECK(ec == errc::would_block);
  CHECK(taken <= 8192);
  CHECK(s.unacknowledged() <= 8192);
}

TEST_CASE("an address that nobody has is unreachable") {
  two_hosts hosts;
  nd::socket s(hosts.client);
  std::error_code ec;
  s.connect({"10.0.0.77", 4000}, ec);
  CHECK(ec == errc::host_unreachable);
  s.connect({"192.168.1.1", 4000}, ec);
  CHECK(ec == errc::host_unreachable);
}

TEST_CASE("a ring has two ends, which come and go") {
  const nd::config c = config_of(1, "ip", "1500");
  std::optional<nd::runtime> first(std::in_place, nd::existing_eal, c);
  for (int restarts = 0; restarts < 5; ++restarts) {
    nd::runtime second(nd::existing_eal, config_of(2, "ip", "1500"));
    CHECK_THROWS_WITH(nd::runtime(nd::existing_eal, c),
                      Catch::Contains("two runtimes of this process have its ends already"));
    // Frames to the one that stays are still on the wire when their sender goes.
    nd::socket s(second);
    s.non_blocking(true);
    std::error_code ec;
    s.connect({"10.0.0.1", 4000}, ec);
    for (int turns = 0; turns < 10; ++turns) second.poll();
  }
  first.reset();
  const nd::runtime again(nd::existing_eal, c);
}

TEST_CASE("borrowed bytes are the stream's, and count against the peer's credit until given back",
          "[borrow]") {
  two_hosts hosts;
  nd::acceptor acceptor(hosts.server, {nd::any_address, 4000});
  auto ends = hosts.connect(acceptor);
  nd::socket &a = ends.first, &b = ends.second;
  // More than the window, and than the ring between stack and application holds.
  const auto sent = pattern(1'600'000);
  std::size_t written = 0;
  std::error_code ec;
  const auto write = [&] { written += a.write_some(std::span(sent).subspan(written), ec); };
  std::vector<std::byte> received(10);
  REQUIRE(hosts.until([&] {
    write();
    return b.available() >= received.size();
  }));
  REQUIRE(b.read_some(received) == received.size());
  std::vector<nd::borrowed_bytes> kept;
  const auto borrow = [&] {
    nd::borrowed_bytes bytes = b.borrow(ec);
    if (bytes.empty()) return false;
    received.insert(received.end(), bytes.bytes().begin(), bytes.bytes().end());
    kept.push_back(std::move(bytes));
    return true;
  };
  hosts.until([&] {
    if (written < sent.size()) write();
    while (borrow()) continue;
    return false;
  });
  CHECK(ec == errc::would_block);
  // What the receive pool's share, or receive_buffer, lets the peer send; more than is in the ring.
  CHECK(received.size() < sent.size());
  CHECK(received.size() > 150'000);
  REQUIRE(hosts.until([&] {
    if (written < sent.size()) write();
    // In no order.
    if (!kept.empty()) kept[received.size() % kept.size()].release();
    std::erase_if(kept, [](const nd::borrowed_bytes& bytes) { return bytes.empty(); });
    while (borrow()) continue;
    return received.size() == sent.size();
  }));
  CHECK(received == sent);
}

TEST_CASE("borrowed bytes outlive their socket, which ends in order without them", "[borrow]") {
  two_hosts hosts;
  nd::acceptor acceptor(hosts.server, {nd::any_address, 4000});
  auto ends = hosts.connect(acceptor);
  nd::socket &a = ends.first, &b = ends.second;
  const auto sent = pattern(1000);
  REQUIRE(a.write_some(sent) == sent.size());
  a.shutdown(nd::shutdown_type::send);
  std::vector<nd::borrowed_bytes> kept;
  std::error_code ec;
  REQUIRE(hosts.until([&] {
    if (nd::borrowed_bytes bytes = b.borrow(ec); !bytes.empty()) kept.push_back(std::move(bytes));
    return ec == errc::eof;
  }));
  b.close();
  CHECK(b.borrow(ec).empty());
  CHECK(ec == errc::bad_descriptor);
  std::array<std::byte, 16> buffer{};
  REQUIRE(hosts.until([&] { return a.read_some(buffer, ec) == 0 && ec != errc::would_block; }));
  CHECK(ec == errc::eof);  // no reset: they were read
  std::size_t at = 0;
  for (nd::borrowed_bytes& bytes : kept) {
    const nd::borrowed_bytes other = std::move(bytes);
    CHECK(bytes.empty());  // NOLINT: what a moved-from object promises
    REQUIRE(at + other.bytes().size() <= sent.size());
    CHECK(std::ranges::equal(other.bytes(), std::span(sent).subspan(at, other.bytes().size())));
    at += other.bytes().size();
  }
  CHECK(at == sent.size());
}
