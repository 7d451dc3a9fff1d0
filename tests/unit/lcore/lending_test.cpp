// Bytes that are sent from the application's memory: they arrive, and it gets them back in time.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

pair_options lending_pair(std::uint64_t seed, bool udp, std::uint16_t mtu = 1500) {
  const unsigned mbufs = mtu > 1500 ? 1024 : 4096;  // all tests share the EAL's memory
  return {
      .seed = seed, .udp = udp, .mtu = mtu, .chains = true, .rx_mbufs = mbufs, .tx_mbufs = mbufs};
}

std::uint64_t lent_and_sent(const host_pair& p) {
  return p.stats(0).lent_bytes_sent.value();
}

TEST_CASE("Lent bytes arrive in each weather and are returned", "[pair][lending]") {
  const impairments all_faults[] = {
      {},
      {.loss = 0.01},
      {.loss = 0.2},
      {.reorder = 0.2},
      {.loss = 0.05, .duplicate = 0.05, .reorder = 0.1, .corrupt = 0.02, .congested = 0.1}};
  const bool udp = GENERATE(false, true);
  const auto mtu = static_cast<std::uint16_t>(GENERATE(1500, 4000));
  const std::string checksum = GENERATE("full", "none");
  for (const impairments& faults : all_faults) {
    CAPTURE(udp, mtu, checksum, faults.loss, faults.reorder);
    pair_options options = lending_pair(21, udp, mtu);
    options.adjust = [&](settings& s) { s.checksum = checksum; };
    if (checksum == "none" && faults.corrupt > 0) continue;
    host_pair p(std::move(options));
    p.net.checksums = checksum == "full";
    lending lent{p.pools(0).lent()};
    {
      connection c(p);
      p.net.faults = faults;
      writer w{c.client, 1'000'000, 1, 16384, false, &lent};
      reader r{c.server, 1};
      REQUIRE(p.run_until(transfer(w, r), duration::seconds(30)));
      CHECK(r.wrong == 0);
      CHECK(c.server.consumed() == 1'000'000);
      p.run_until([&] { return c.client.unacknowledged() == 0; }, duration::seconds(5));
      p.run_for(duration::milliseconds(1));
      CHECK(lent.live == 0);
      // Nearly all of it was sent in place; 16 KiB are cut into equal packets.
      CHECK(lent_and_sent(p) >= 990'000);
      CHECK(p.stats(0).lent_bytes_copied.value() <= 10'000 + lent_and_sent(p) / 4);
    }
    p.net.faults = {};
    require_nothing_left(p);
    CHECK(lent.live == 0);
  }
}

TEST_CASE("Lent bytes between written ones keep their order", "[pair][lending]") {
  host_pair p(lending_pair(5, GENERATE(false, true)));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    reader r{c.server, 3};
    rng random(99);
    std::vector<std::byte> buffer(20000);
    REQUIRE(p.run_until(
        [&] {
          while (c.client.written() < 400'000) {
            const auto size = std::min<std::uint64_t>(
                1 + random.below(random.chance(0.5) ? 600 : 20000), 400'000 - c.client.written());
            const auto bytes = std::span(buffer).first(size);
            fill_stream(bytes, c.client.written(), 3);
            const std::size_t n =
                random.chance(0.5) ? c.client.write(bytes) : c.client.write_lent(bytes, lent);
            if (n < size) break;
          }
          r.run();
          return c.server.consumed() == 400'000;
        },
        duration::seconds(5)));
    CHECK(r.wrong == 0);
    CHECK(lent_and_sent(p) > 100'000);
  }
  require_nothing_left(p);
  CHECK(lent.live == 0);
}

TEST_CASE("Lent bytes are returned only when peer and device are done", "[pair][lending]") {
  const bool udp = GENERATE(false, true);
  host_pair p(lending_pair(7, udp));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    std::vector<std::byte> bytes(1000);
    fill_stream(bytes, 0, 1);
    p.net.on_frame = [](made_frame& f, frame_fate& fate) { fate.drop = f.from == 1; };
    p.device(0).keeps = true;
    REQUIRE(c.client.write_lent(bytes, lent) == bytes.size());
    p.run_for(duration::milliseconds(5));
    CHECK(lent_and_sent(p) == bytes.size());
    p.device(0).kept.clear();
    CHECK(c.client.unacknowledged() == bytes.size());
    CHECK(lent.live == 1);  // the device is done, the peer has not answered
    p.net.on_frame = nullptr;
    p.run_until([&] { return c.client.unacknowledged() == 0; }, soon);
    CHECK(lent.live == 0);

    REQUIRE(c.client.write_lent(bytes, lent) == bytes.size());
    p.run_until([&] { return c.client.unacknowledged() == 0; }, soon);
    p.run_for(duration::milliseconds(5));
    CHECK(lent.live == 1);  // the peer has it, the device not let go
    p.device(0).keeps = false;
    p.device(0).kept.clear();
    CHECK(lent.live == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("A retransmission leaves what the device still has alone", "[pair][lending]") {
  host_pair p(lending_pair(8, GENERATE(false, true)));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    p.device(0).keeps = true;
    bool lose = true;
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      if (f.from == 0 && f.has(wire::record_type::data) && std::exchange(lose, false))
        fate.drop = true;
    };
    std::vector<std::byte> bytes(1200);
    fill_stream(bytes, 0, 1);
    REQUIRE(c.client.write_lent(bytes, lent) == bytes.size());
    std::vector<mbuf_ptr> rest;  // of chains whose first mbuf the device has let go
    if (GENERATE(false, true)) {
      REQUIRE(p.run_until([&] { return !p.device(0).kept.empty(); }, soon));
      for (mbuf_ptr& chain : std::exchange(p.device(0).kept, {})) {
        rest.emplace_back(chain->next);
        rte_pktmbuf_free_seg(chain.release());
      }
    }
    reader r{c.server, 1};
    REQUIRE(p.run_until(
        [&] {
          r.run();
          return c.client.unacknowledged() == 0;
        },
        soon));
    CHECK(r.wrong == 0);
    CHECK(c.server.consumed() == bytes.size());
    CHECK(p.stats(0).lent_bytes_copied.value() == bytes.size());
    CHECK(lent.live == 1);
    p.device(0).keeps = false;
    p.device(0).kept.clear();
    rest.clear();
    CHECK(lent.live == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("Lent bytes are returned when their connection ends in the middle", "[pair][lending]") {
  const int how = GENERATE(range(0, 6));
  CAPTURE(how);
  host_pair p(lending_pair(9, false));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    // What the application does not read, more than its ring holds, keeps its socket.
    writer unread{c.server, 400'000, 2};
    p.run_until(
        [&] {
          unread.run();
          return unread.shut && c.server.unacknowledged() == 0;
        },
        soon);
    writer w{c.client, 10'000'000, 1, 16384, false, &lent};
    p.run_until(
        [&] {
          w.run();
          return c.client.written() > 1'500'000;
        },
        soon);
    REQUIRE(lent.live > 10);
    bool gone = false;
    switch (how) {
      case 0: c.server.abort(); break;
      case 1: c.client.abort(); break;
      case 2: c.server.close(); break;
      case 3:  // silence
        p.net.on_frame = [](made_frame&, frame_fate& fate) { fate.drop = true; };
        break;
      case 4: c.client.close(); break;  // nothing resets it but the unread bytes
      case 5:                           // the host itself
        p.net.on_frame = nullptr;
        c.listener.close();
        c.server.close();
        c.client.close();
        p.kill(0);
        gone = true;
        break;
    }
    if (!gone) {
      p.run_until([&] { return lent.live == 0; }, duration::seconds(2));
      if (how == 0 || how == 2 || how == 3) {
        CHECK(c.client.failed());
        // What is lent now comes back at once.
        std::vector<std::byte> bytes(5000);
        CHECK(c.client.write_lent(bytes, lent) == 0);
      }
    }
    CHECK(lent.live == 0);
    if (gone) p.start(0);
  }
  p.net.on_frame = nullptr;
  require_nothing_left(p);
}

TEST_CASE("What is lent to a connection that has just failed is returned", "[pair][lending]") {
  host_pair p(lending_pair(12, false));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    c.server.abort();
    REQUIRE(p.run_until([&] { return c.client.failed(); }, soon));
    p.run_for(duration::milliseconds(1));
    // Another thread's application may not have seen it yet.
    auto* const loan = new made_loan(bytes_of_text("late"), lent.live);
    rte_mbuf* const m = allocate_segment(p.pools(0).tx());
    REQUIRE(lend_to(m, lent.pool, loan->bytes(), *loan, true));
    loan->give_back();
    REQUIRE(c.client.link().to_stack().push(m));
    CHECK(lent.live == 1);
    post_to(p.host(0), c.client.link(), core::request_send);
    p.run_for(duration::milliseconds(1));
    CHECK(lent.live == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("Lent bytes are cut where the path takes less", "[pair][lending]") {
  const bool udp = GENERATE(false, true);
  host_pair p(lending_pair(10, udp, 4000));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    writer w{c.client, 600'000, 1, 16384, false, &lent};
    reader r{c.server, 1};
    p.run_until(
        [&] {
          w.run();
          r.run();
          return c.server.consumed() > 200'000;
        },
        soon);
    const std::uint64_t before = lent_and_sent(p);
    p.net.on_frame = [](made_frame& f, frame_fate& fate) {
      fate.drop = fate.drop || f.ip_length() > 1400;
    };
    REQUIRE(p.run_until(transfer(w, r), duration::seconds(20)));
    CHECK(r.wrong == 0);
    CHECK(p.stats(0).mtu_black_holes.value() == 1);
    CHECK(lent_and_sent(p) > before + 100'000);
  }
  require_nothing_left(p);
  CHECK(lent.live == 0);
}

TEST_CASE("A host without mbufs for lent bytes waits for them", "[pair][lending]") {
  host_pair p(lending_pair(11, false));
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    hoard all(p.pools(0).lent(), GENERATE(0U, 1U, 5U));
    writer w{c.client, 100'000, 1, 16384, false, &lent};
    reader r{c.server, 1};
    p.run_until(transfer(w, r), duration::milliseconds(20));
    all.give_back(8192);
    REQUIRE(p.run_until(transfer(w, r), soon));
    CHECK(r.wrong == 0);
  }
  require_nothing_left(p);
  CHECK(lent.live == 0);
}

TEST_CASE("A device that takes no chains gets copies", "[pair][lending]") {
  host_pair p;  // whose devices abort the test where they get one
  lending lent{p.pools(0).lent()};
  {
    connection c(p);
    CHECK_FALSE(p.host(0).can_lend());
    writer w{c.client, 300'000, 1, 16384, false, &lent};
    reader r{c.server, 1};
    REQUIRE(p.run_until(transfer(w, r), soon));
    CHECK(r.wrong == 0);
    CHECK(lent_and_sent(p) == 0);
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
