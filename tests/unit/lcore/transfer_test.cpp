// Bytes under faults: what arrives is what was written, and afterwards everything comes to rest.
#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

struct weather {
  const char* name;
  impairments faults;
};

const weather all_weathers[] = {
    {"clear", {}},
    {"loss 1 %", {.loss = 0.01}},
    {"loss 10 %", {.loss = 0.1}},
    {"loss 30 %", {.loss = 0.3}},
    {"duplicates", {.duplicate = 0.2}},
    {"reordered", {.reorder = 0.2}},
    {"reordered far", {.reorder = 0.1, .reorder_by = duration::milliseconds(3)}},
    {"corrupted", {.corrupt = 0.05}},
    {"marked", {.congested = 0.3}},
    {"all at once",
     {.loss = 0.05, .duplicate = 0.05, .reorder = 0.1, .corrupt = 0.02, .congested = 0.1}},
};

/// One connection, `up` bytes from host 0 and `down` bytes back.
void transfer(host_pair& p, std::uint64_t up, std::uint64_t down, std::uint8_t traffic_class,
              duration limit) {
  {
    app_listener listener(p.host(1), 80);
    app_socket client = p.connect(0, 80, traffic_class), server;
    writer a{client, up, 1}, b{server, down, 2};
    reader ra{client, 2}, rb{server, 1};
    p.run_until(
        [&] {
          if (!server) server = listener.accept();
          a.run();
          ra.run();
          if (!server) return client.failed();
          b.run();
          rb.run();
          return (ra.ended && rb.ended) || client.failed() || server.failed();
        },
        limit);
    CHECK(client.error() == errc{});
    CHECK(client.consumed() == down);
    REQUIRE(server);
    CHECK(server.error() == errc{});
    REQUIRE(server.consumed() == up);
    REQUIRE(ra.wrong + rb.wrong == 0);
    REQUIRE(ra.ended);
    REQUIRE(rb.ended);
  }
  p.net.faults = {};
  require_nothing_left(p);
}

TEST_CASE("Several megabytes in each weather", "[pair][transfer]") {
  const bool udp = GENERATE(false, true);
  for (const weather& w : all_weathers) {
    CAPTURE(udp, w.name);
    host_pair p({.seed = 11, .udp = udp});
    p.net.faults = w.faults;
    const bool heavy = w.faults.loss > 0.05;
    transfer(p, heavy ? 500'000 : 3'000'000, 200'000, 0, duration::seconds(60));
  }
}

TEST_CASE("Many seeds of every weather", "[pair][transfer]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range<std::uint64_t>(1, 31)));
  for (const weather& w : all_weathers) {
    CAPTURE(seed, w.name);
    host_pair p({.seed = seed,
                 .udp = seed % 2 == 0,
                 .static_neighbors = w.faults.corrupt > 0,
                 .adjust = [](settings& s) { s.arp_tries = 30; }});
    p.net.faults = w.faults;
    transfer(p, 40'000 + seed * 1000, 20'000, seed % 3 == 0 ? 1 : 0, duration::seconds(30));
  }
}

TEST_CASE("A bottleneck with a short queue", "[pair][transfer]") {
  const bool marks = GENERATE(false, true);
  CAPTURE(marks);
  host_pair p;
  p.net.bytes_per_second = 125'000'000;  // 1 Gbit/s
  p.net.queue_bytes = 60'000;
  if (marks) p.net.mark_bytes = 20'000;
  const instant start = p.now;
  std::uint64_t ended_ns = 0;
  {
    connection c(p);
    writer w{c.client, 4'000'000};
    reader r{c.server};
    REQUIRE(p.run_until(transfer(w, r), duration::seconds(10)));
    ended_ns = static_cast<std::uint64_t>((p.now - start).ns());
    CHECK(r.wrong == 0);
    if (marks) CHECK(p.stats(0).ecn_reductions.value() > 0);
    if (marks) CHECK(p.stats(0).packets_lost.value() < 50);
  }
  CAPTURE(ended_ns);
  CHECK(ended_ns < 80'000'000);  // 32 ms at the line's rate
  require_nothing_left(p);
}

TEST_CASE("Many sockets over four channels of each class", "[pair][transfer]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(1, 2));
  CAPTURE(seed);
  host_pair p({.seed = seed, .adjust = [](settings& s) {
                 s.channels_throughput = s.channels_latency = 4;
                 s.backlog = 300;
               }});
  p.net.faults.loss = seed == 1 ? 0 : 0.03;
  p.net.faults.reorder = seed == 1 ? 0 : 0.05;
  constexpr std::size_t sockets = 200;
  constexpr std::uint64_t each = 20'000;
  {
    app_listener listener(p.host(1), 80, 300);
    std::vector<app_socket> clients, servers(sockets);
    std::vector<writer> writers;
    std::vector<reader> readers;
    clients.reserve(sockets);
    for (std::size_t i = 0; i < sockets; ++i) {
      clients.push_back(p.connect(0, 80, i % 2));
      p.poll();
    }
    for (std::size_t i = 0; i < sockets; ++i) {
      writers.push_back({clients[i], each, 7, 1000});
      readers.push_back({servers[i], 7});
    }
    std::size_t accepted = 0, ended = 0;
    p.run_until(
        [&] {
          while (accepted < sockets && (servers[accepted] = listener.accept())) ++accepted;
          for (writer& w : writers) w.run();
          ended = 0;
          for (std::size_t i = 0; i < accepted; ++i) {
            if (servers[i]) readers[i].run();
            if (readers[i].ended) servers[i].close();
            ended += readers[i].ended ? 1 : 0;
          }
          return ended == sockets;
        },
        duration::seconds(20));
    std::size_t failed = 0;
    for (const app_socket& s : clients) failed += s.failed() ? 1 : 0;
    CHECK(failed == 0);
    REQUIRE(accepted == sockets);
    REQUIRE(ended == sockets);
    for (const reader& r : readers) REQUIRE(r.wrong == 0);
    for (const app_socket& s : servers) REQUIRE(s.consumed() == each);
    REQUIRE(p.stats(0).handshakes_started.value() == 8);
  }
  p.net.faults = {};
  require_nothing_left(p);
}

TEST_CASE("Connections that do nothing leave credit for others", "[pair][transfer]") {
  host_pair p({.rx_mbufs = 512, .adjust = [](settings& s) { s.backlog = 300; }});
  {
    app_listener listener(p.host(1), 80, 300);
    std::vector<app_socket> clients, servers;
    for (int i = 0; i < 200; ++i) {
      clients.push_back(p.connect(0, 80));
      p.poll();
    }
    p.run_until(
        [&] {
          while (app_socket s = listener.accept()) servers.push_back(std::move(s));
          return servers.size() == clients.size() && clients.back().connected();
        },
        soon);
    REQUIRE(servers.size() == clients.size());
    const auto text = bytes_of_text("may I?");
    clients.back().write(text);
    CHECK(read_all(p, servers.back(), text.size()) == text);
  }
  require_nothing_left(p);
}

TEST_CASE("Small records of several sockets share a packet", "[pair][transfer]") {
  host_pair p;
  {
    app_listener listener(p.host(1), 80);
    std::vector<app_socket> clients, servers;
    for (int i = 0; i < 20; ++i) clients.push_back(p.connect(0, 80));
    REQUIRE(p.run_until(
        [&] {
          while (app_socket s = listener.accept()) servers.push_back(std::move(s));
          return servers.size() == clients.size();
        },
        soon));
    p.run_for(duration::milliseconds(5));
    std::vector<std::size_t> data_records;
    p.net.on_frame = [&](made_frame& f, frame_fate&) {
      if (const std::size_t n = f.count(wire::record_type::data)) data_records.push_back(n);
    };
    const auto text = bytes_of_text("twenty little bytes.");
    for (app_socket& s : clients) s.write(text);
    for (app_socket& s : servers) REQUIRE(read_all(p, s, text.size()) == text);
    REQUIRE(data_records == std::vector<std::size_t>{20});
    p.net.on_frame = nullptr;
  }
  require_nothing_left(p);
}

TEST_CASE("Numbers wrap: 2^32 packets are not far away for any seed", "[pair][transfer]") {
  // First numbers are random: a middlebox of ours moves them close to the end.
  const std::uint32_t before_wrap = GENERATE(1u, 2u, 5u, 100u);
  CAPTURE(before_wrap);
  host_pair p;
  p.net.faults.loss = 0.02;
  std::array<std::uint32_t, 2> shift{};
  std::array<bool, 2> known{};
  // The number in what `from` sends moves up by shift[from], and what acknowledges it likewise.
  p.net.on_frame = [&](made_frame& f, frame_fate&) {
    if (f.is_arp()) return;
    wire::channel_header& h = f.header();
    const auto kind = h.kind;
    std::span<std::byte> packet = f.packet();
    std::span<std::byte> rest = packet.subspan(sizeof h);
    rest = rest.first(rest.size() - f.format().trailer_size());
    std::vector<std::byte> body(rest.begin(), rest.end());
    wire::channel_header header = h;
    if (!wire::has_records(kind) && body.size() == sizeof(wire::handshake_body)) {
      if (kind != wire::packet_kind::cookie_ack) return;  // host 0's number is in the cookie
      auto& b = wire::at<wire::handshake_body>(static_cast<void*>(body.data()));
      if (!known[f.from]) shift[f.from] = 0 - before_wrap - b.first_number;
      known[f.from] = true;
      b.first_number = b.first_number + shift[f.from];
    }
    header.number = header.number + shift[f.from];
    header.floor = header.floor + shift[f.from];
    header.ack = header.ack - shift[1 - f.from];
    wire::packet_writer writer(packet.data(), header, f.format());
    if (wire::has_records(kind)) {
      std::vector<std::byte> copy = body;
      wire::record_reader reader(copy);
      for (wire::record_view r; reader.next(r);) {
        if (r.type() == wire::record_type::ack_ranges)
          for (std::size_t at = 0; at < r.payload.size(); at += sizeof(wire::ack_range)) {
            auto& range = wire::at<wire::ack_range>(static_cast<void*>(&r.payload[at]));
            range.first = range.first - shift[1 - f.from];
            range.last = range.last - shift[1 - f.from];
          }
        wire::record out;
        out.source = r.header->source;
        out.dest = r.header->dest;
        out.seq = r.header->seq;
        out.grant = r.header->grant_seq;
        out.type = r.type();
        out.length = r.header->len;
        writer.append(out, r.payload, wire::crc32c(wire::crc32c_start, r.payload));
      }
    } else {
      writer.append_body(body);
    }
    writer.finish();
  };
  {
    connection c(p);
    writer a{c.client, 300'000, 1}, b{c.server, 300'000, 2};
    reader ra{c.client, 2}, rb{c.server, 1};
    REQUIRE(p.run_until(transfer(a, ra, b, rb), duration::seconds(10)));
    REQUIRE(ra.wrong + rb.wrong == 0);
    REQUIRE(known[1]);
  }
  require_nothing_left(p);
}

TEST_CASE("A path that takes less than the devices do", "[pair][mtu]") {
  const std::size_t path = static_cast<std::size_t>(GENERATE(1200, 1280, 1400, 1410, 1480, 1499));
  CAPTURE(path);
  host_pair p;
  p.net.on_frame = [&](made_frame& f, frame_fate& fate) { fate.drop = f.ip_length() > path; };
  {
    connection c(p);
    writer w{c.client, 1'000'000};
    reader r{c.server};
    REQUIRE(p.run_until(transfer(w, r), duration::seconds(10)));
    REQUIRE(r.wrong == 0);
    CHECK(p.stats(0).mtu_black_holes.value() == 0);
  }
  const std::uint64_t probes = p.stats(0).mtu_probes_sent.value();
  CHECK(probes < 40);
  require_nothing_left(p);
}

TEST_CASE("A path that shrinks under a connection", "[pair][mtu]") {
  const std::size_t path = static_cast<std::size_t>(GENERATE(1200, 1300, 1450));
  CAPTURE(path);
  host_pair p;
  {
    connection c(p);
    writer w{c.client, 2'000'000};
    reader r{c.server};
    const auto run = transfer(w, r);
    p.run_until([&] { return run() || c.server.consumed() > 500'000; }, duration::seconds(1));
    p.net.on_frame = [&](made_frame& f, frame_fate& fate) { fate.drop = f.ip_length() > path; };
    REQUIRE(p.run_until(run, duration::seconds(5)));
    REQUIRE(r.wrong == 0);
    REQUIRE(p.stats(0).mtu_black_holes.value() >= 1);
  }
  require_nothing_left(p);
}

}  // namespace
}  // namespace nd::test
