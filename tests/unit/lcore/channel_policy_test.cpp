// Which channels carry a socket's records, by the setting channel_policy.
#include <map>
#include <set>

#include "unit/support/connection.hpp"

namespace nd::test {
namespace {

struct transfers {
  explicit transfers(const char* policy)
      : p({.adjust = [policy](settings& s) {
          s.channels_throughput = 3;
          s.channel_policy = policy;
        }}) {
    p.net.on_frame = [this](made_frame& f, frame_fate& fate) {
      if (f.from != 0) return;
      wire::record_reader reader(f.records());
      for (wire::record_view r; reader.next(r);) {
        if (r.type() != wire::record_type::data) continue;
        channels_of[r.header->source].insert(f.header().channel);
        // Grants begin with little.
        if (silence_one && silent == 0 && r.header->seq > 100'000) silent = f.header().channel;
      }
      // Nothing is acknowledged on this channel, so it is full soon.
      fate.drop = silent != 0 && f.header().channel == silent;
    };
  }
  ~transfers() { p.net.on_frame = nullptr; }

  void connect(std::size_t connections) {
    for (std::size_t i = 0; i < connections; ++i) clients.push_back(p.connect(0, 80));
    REQUIRE(p.run_until(
        [&] {
          while (app_socket s = listener.accept()) servers.push_back(std::move(s));
          return servers.size() == connections &&
                 std::ranges::all_of(clients, [](const app_socket& c) { return c.connected(); });
        },
        soon));
  }
  /// Each client sends so much, until as many servers have had all of theirs.
  void send_all(std::uint64_t bytes, std::ptrdiff_t enough) {
    std::vector<writer> writers;
    std::vector<reader> readers;
    for (app_socket& c : clients) writers.push_back({c, bytes});
    for (app_socket& s : servers) readers.push_back({s});
    REQUIRE(p.run_until(
        [&] {
          for (writer& w : writers) w.run();
          for (reader& r : readers) r.run();
          return std::ranges::count_if(readers, &reader::ended) == enough;
        },
        soon));
    for (const reader& r : readers) CHECK(r.wrong == 0);
  }

  host_pair p;
  app_listener listener{p.host(1), 80};
  std::vector<app_socket> clients, servers;
  std::map<std::uint16_t, std::set<std::uint32_t>> channels_of;  ///< by the client's port
  bool silence_one = false;                                      ///< the first that carries data
  std::uint32_t silent = 0;
};

TEST_CASE("source_port: a socket has one channel, and the next port the next one", "[pair]") {
  transfers t("source_port");
  t.connect(6);
  t.send_all(100'000, 6);
  std::set<std::uint32_t> used;
  CHECK(t.channels_of.size() == 6);
  for (const auto& [port, channels] : t.channels_of) {
    CHECK(channels.size() == 1);
    used.insert(channels.begin(), channels.end());
  }
  CHECK(used.size() == 3);
}

TEST_CASE("source_port: sockets of a full channel do not hold up the others", "[pair]") {
  transfers t("source_port");
  t.connect(6);
  t.silence_one = true;
  t.send_all(300'000, 4);
  const auto silenced = [&](const auto& c) { return c.second.contains(t.silent); };
  CHECK(std::ranges::count_if(t.channels_of, silenced) == 2);
  CHECK(t.p.host(0).stats().channels_stalled.value() == 0);  // then others would carry its records
}

TEST_CASE("round_robin and least_queued: a socket uses all channels", "[pair]") {
  const char* const policy = GENERATE("round_robin", "least_queued");
  CAPTURE(policy);
  transfers t(policy);
  t.connect(2);
  t.send_all(300'000, 2);
  for (const auto& [port, channels] : t.channels_of) CHECK(channels.size() == 3);
}

}  // namespace
}  // namespace nd::test
