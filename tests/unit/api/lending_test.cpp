// The public API of lent bytes, two hosts in one process joined by the setting `ring`.
#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <nd/nd.hpp>
#include <optional>
#include <vector>

#include "unit/support/two_runtimes.hpp"

namespace {

using nd::errc;

nd::config config_of(int host, const std::string& zero_copy) {
  nd::config c;
  c.set("ring", "lending")
      .set("ip", "10.0.0." + std::to_string(host) + "/24")
      .set("mtu", "1500")
      .set("rx_mbufs", "1024")
      .set("tx_mbufs", "1024")
      .set("zero_copy", zero_copy)
      .set("seed", "7");
  return c;
}

/// The client lends; both are polled in turns.
struct two_hosts {
  explicit two_hosts(const std::string& zero_copy = "auto")
      : server(std::in_place, nd::existing_eal, config_of(1, "auto")),
        client(std::in_place, nd::existing_eal, config_of(2, zero_copy)),
        acceptor(std::in_place, *server, nd::endpoint(nd::any_address, 4000)) {
    auto [s, accepted] = nd::test::connect_to(*acceptor, *server, *client);
    to.emplace(std::move(s));
    from.emplace(std::move(accepted));
  }
  template <class Done>
  bool until(Done&& done) {
    return nd::test::poll_until(*server, *client, done);
  }
  std::uint64_t count(std::string_view name) {
    for (const nd::counter& c : client->stats())
      if (c.name == name) return c.value;
    FAIL("no counter " << name);
    return 0;
  }

  std::optional<nd::runtime> server;
  std::optional<nd::runtime> client;
  std::optional<nd::acceptor> acceptor;
  std::optional<nd::socket> to;
  std::optional<nd::socket> from;
};

}  // namespace

TEST_CASE("lent bytes arrive, and may be changed as soon as they are returned", "[lending]") {
  const std::string zero_copy = GENERATE("auto", "on", "off");
  CAPTURE(zero_copy);
  two_hosts hosts(zero_copy);
  nd::registered_memory memory(*hosts.client, 3 * 65536);
  std::array<nd::loan, 3> loans{nd::loan(memory), nd::loan(memory), nd::loan(memory)};
  constexpr std::size_t total = 2'000'000;
  std::size_t written = 0, read = 0, wrong = 0, next = 0;
  std::span<const std::byte> rest;
  std::vector<std::byte> buffer(65536);
  std::error_code ec;
  const auto value = [](std::size_t at) { return static_cast<std::byte>(at * 31 + (at >> 8)); };
  REQUIRE(hosts.until([&] {
    if (rest.empty() && written < total && loans[next].returned()) {
      const auto block =
          memory.bytes().subspan(next * 65536, std::min<std::size_t>(65536, total - written));
      for (std::size_t i = 0; i < block.size(); ++i) block[i] = value(written + i);
      rest = block;
    }
    if (!rest.empty()) {
      const std::size_t n = hosts.to->write_lent(loans[next], rest, ec);
      CHECK((!ec || ec == errc::would_block));
      written += n;
      rest = rest.subspan(n);
      if (rest.empty()) next = (next + 1) % loans.size();
    }
    const std::size_t n = hosts.from->read_some(buffer, ec);
    for (std::size_t i = 0; i < n; ++i) wrong += buffer[i] == value(read + i) ? 0 : 1;
    read += n;
    return read == total;
  }));
  CHECK(wrong == 0);
  const std::size_t lent = hosts.count("lent_bytes_sent");
  CHECK(lent >= (zero_copy == "off" ? 0 : total / 10 * 9));
  CHECK(hosts.count("lent_by_copy") == (zero_copy == "off" ? total : 0));
  if (zero_copy == "off") CHECK(lent == 0);
  REQUIRE(hosts.until([&] { return hosts.to->unacknowledged() == 0; }));
  for (const nd::loan& l : loans) CHECK(l.returned());
}

TEST_CASE("what can't be registered or lent is refused", "[lending]") {
  two_hosts hosts;
  CHECK_THROWS_AS(nd::registered_memory(*hosts.client, std::size_t{0}), std::system_error);
  std::vector<std::byte> unaligned(4 * 4096);
  CHECK_THROWS_AS(nd::registered_memory(*hosts.client, std::span(unaligned).subspan(1, 4096)),
                  std::system_error);
  nd::registered_memory memory(*hosts.client, 5000);
  CHECK(memory.bytes().size() == 8192);
  CHECK_THROWS_WITH(nd::registered_memory(*hosts.client, memory.bytes().first(4096)),
                    Catch::Contains("registered already"));
  nd::loan loan(memory);
  CHECK(loan.returned());
  std::error_code ec;
  const std::array<std::byte, 100> other{};
  CHECK(hosts.to->write_lent(loan, other, ec) == 0);
  CHECK(ec == errc::invalid_argument);
  nd::registered_memory of_server(*hosts.server, 4096);
  nd::loan of_other(of_server);
  CHECK(hosts.to->write_lent(of_other, of_server.bytes(), ec) == 0);
  CHECK(ec == errc::invalid_argument);
  CHECK(hosts.to->write_lent(loan, memory.bytes().first(10), ec) == 10);
  CHECK_FALSE(ec);
  nd::loan moved(std::move(loan));
  CHECK(hosts.to->write_lent(loan, memory.bytes().first(10), ec) == 0);
  CHECK(ec == errc::invalid_argument);
  CHECK_FALSE(moved.returned());
}

TEST_CASE("the caller's own pages, which it unmaps when they are returned", "[lending]") {
  constexpr std::size_t size = 65536;
  two_hosts hosts;
  void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(at != MAP_FAILED);
  const std::span<std::byte> pages(static_cast<std::byte*>(at), size);
  std::ranges::fill(pages, std::byte{7});
  std::vector<std::byte> got;
  {
    nd::registered_memory memory(*hosts.client, pages);
    nd::loan loan(memory);
    REQUIRE(hosts.to->write_lent(loan, pages) == size);
    REQUIRE(hosts.until([&] {
      std::array<std::byte, 4096> buffer;
      std::error_code ec;
      const std::size_t n = hosts.from->read_some(buffer, ec);
      got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<long>(n));
      return loan.returned();
    }));
  }
  munmap(at, size);
  REQUIRE(hosts.until([&] {
    std::array<std::byte, 4096> buffer;
    std::error_code ec;
    const std::size_t n = hosts.from->read_some(buffer, ec);
    got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<long>(n));
    return got.size() == size;
  }));
  CHECK(std::ranges::count(got, std::byte{7}) == static_cast<long>(size));
  // The same place can be registered again.
  void* const again =
      mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  REQUIRE(again == at);
  CHECK_NOTHROW(nd::registered_memory(*hosts.client, pages));
  munmap(at, size);
}

TEST_CASE("loans come back when the runtime ends, and may outlive it", "[lending]") {
  two_hosts hosts;
  std::optional<nd::registered_memory> memory(std::in_place, *hosts.client, std::size_t{65536});
  nd::loan loan(*memory);
  const std::span<std::byte> bytes = memory->bytes();
  REQUIRE(hosts.to->write_lent(loan, bytes) > 0);
  CHECK_FALSE(loan.returned());
  SECTION("the memory's handle goes before") {
    memory.reset();
  }
  hosts.to.reset();
  hosts.client.reset();  // nobody has polled the server
  CHECK(loan.returned());
  loan.wait();
  std::ranges::fill(bytes, std::byte{1});  // still there, and the EAL knows of it no more
  CHECK_NOTHROW(nd::registered_memory(*hosts.server, bytes));
}
