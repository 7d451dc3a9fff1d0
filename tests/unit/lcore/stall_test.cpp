// Several channels to a peer, one of which does not work.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

pair_options with_channels(std::int64_t n) {
  return {.adjust = [n](settings& s) { s.channels_throughput = n; }};
}

/// Both ends give the same id to a channel here: they open in turn, and nothing overtakes.
bool is_of(made_frame& f, std::uint32_t channel) {
  return !f.is_arp() && !wire::is_handshake(f.header().kind) && f.header().channel == channel;
}

/// Whether the handshake packet opens the initiator's channel with that id.
bool opens(made_frame& f, std::uint32_t channel) {
  if (!f.is(wire::packet_kind::init) && !f.is(wire::packet_kind::cookie_echo)) return false;
  const auto& body = wire::at<wire::handshake_body>(
      static_cast<const void*>(f.packet().subspan(sizeof(wire::channel_header)).data()));
  return body.channel == channel;
}

TEST_CASE("A channel that dies gives its records to the others", "[pair][stall]") {
  const int cut = GENERATE(0, 1, 2);  // from host 0, from host 1, both
  const auto victim = static_cast<std::uint32_t>(GENERATE(1, 3));
  CAPTURE(cut, victim);
  host_pair p(with_channels(4));
  {
    connection c(p);
    writer a{c.client, 4'000'000, 1}, b{c.server, 4'000'000, 2};
    reader ra{c.client, 2}, rb{c.server, 1};
    const auto run = transfer(a, ra, b, rb);
    p.run_until([&] { return run() || c.server.consumed() > 500'000; }, duration::seconds(1));
    REQUIRE_FALSE(rb.ended);
    std::uint64_t new_bytes = 0;  // on the dead channel, once its stall was seen
    const auto stalls = [&] {
      return p.stats(0).channels_stalled.value() + p.stats(1).channels_stalled.value();
    };
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      if (!is_of(f, victim)) return;
      fate.drop = cut == 2 || static_cast<int>(f.from) == cut;
      if (stalls() == 2 && f.has(wire::record_type::data)) ++new_bytes;
    };
    const instant start = p.now;
    REQUIRE(p.run_until(run, duration::seconds(1)));
    CHECK(ra.wrong + rb.wrong == 0);
    CHECK((p.now - start).ns() < duration::milliseconds(100).ns());
    CHECK(p.stats(0).records_moved.value() + p.stats(1).records_moved.value() > 0);
    CHECK(stalls() >= 1);
    CHECK(new_bytes == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("A peer that answers on one channel is not lost with another", "[pair][stall]") {
  constexpr std::uint32_t victim = 2;
  host_pair p(with_channels(2));
  {
    connection c(p);
    bool dead = true;
    std::uint64_t carried = 0;  // records on the victim
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      if (!is_of(f, victim)) return;
      fate.drop = dead;
      carried += f.count(wire::record_type::data);
    };
    // A little all the time, for longer than any timeout.
    const std::vector<std::byte> little(100);
    const auto talk = [&](duration span) {
      std::array<std::byte, 4096> buffer;
      for (const instant end = p.now + span; p.now < end && !c.client.failed();) {
        c.client.write(little);
        p.run_for(duration::milliseconds(2));
        c.server.read(buffer);
      }
    };
    talk(duration::seconds(2));
    CHECK(c.client.error() == errc{});
    CHECK(c.client.unacknowledged() == 0);
    CHECK(p.stats(0).peers_lost.value() == 0);
    CHECK(p.stats(1).peers_lost.value() == 0);
    dead = false;
    carried = 0;
    talk(duration::milliseconds(200));
    CHECK(carried > 10);  // it works again, and has its share
  }
  require_nothing_left(p);
}

TEST_CASE("The only channel keeps what it has", "[pair][stall]") {
  host_pair p(with_channels(1));
  {
    connection c(p);
    writer w{c.client, 1'000'000};
    reader r{c.server};
    p.net.on_frame = [](made_frame&, frame_fate& fate) { fate.drop = true; };
    const auto run = transfer(w, r);
    p.run_until(run, duration::milliseconds(30));
    CHECK(p.stats(0).channels_stalled.value() == 1);
    CHECK(p.stats(0).records_moved.value() == 0);
    p.net.on_frame = nullptr;
    REQUIRE(p.run_until(run, duration::seconds(1)));
    CHECK(r.wrong == 0);
  }
  require_nothing_left(p);
}

TEST_CASE("Channels that stall one after another lose nothing", "[pair][stall]") {
  host_pair p(with_channels(4));
  {
    connection c(p);
    writer a{c.client, 3'000'000, 1}, b{c.server, 3'000'000, 2};
    reader ra{c.client, 2}, rb{c.server, 1};
    // Each one is dead for 8 ms, then the next; two at a time for half of it.
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) {
      const auto turn = static_cast<std::uint32_t>(p.now.ns() / 4'000'000);
      fate.drop = is_of(f, 1 + turn % 4) || is_of(f, 1 + turn / 2 % 4);
    };
    REQUIRE(p.run_until(transfer(a, ra, b, rb), duration::seconds(5)));
    CHECK(ra.wrong + rb.wrong == 0);
    CHECK(p.stats(0).records_moved.value() > 0);
    p.net.on_frame = nullptr;
  }
  require_nothing_left(p);
}

// nd-sim, profile partition, seed 1111: it took the peer with it.
TEST_CASE("A channel that does not open is none, where others do", "[pair][stall]") {
  const auto victim = static_cast<std::uint32_t>(GENERATE(1, 2));
  CAPTURE(victim);
  auto options = with_channels(2);
  const auto adjust = options.adjust;
  options.adjust = [adjust](settings& s) {
    adjust(s);
    s.connect_timeout = duration::milliseconds(400);
  };
  host_pair p(options);
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) { fate.drop = opens(f, victim); };
  {
    connection c(p);
    p.run_for(duration::seconds(1));
    CHECK(p.stats(0).channels_failed.value() == 1);
    CHECK(p.stats(0).peers_lost.value() == 0);
    const auto text = bytes_of_text("hello");
    c.client.write(text);
    CHECK((read_all(p, c.server, text.size()) == text));
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
