// How two ends of a memif agree on their pairs of queues: every pairing of new and old ends, and of
// numbers of lcores.
#include "pmd_glue/memif_lanes.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <optional>
#include <tuple>
#include <vector>

#include "unit/support/pool.hpp"

using nd::pmd::memif_lanes;
using nd::pmd::memif_pairs;
using nd::pmd::memif_queues;
using nd::pmd::memif_role;

namespace {

constexpr std::size_t numbers_at = 14 + 24;  ///< in the word: lcores, lanes, settled

/// Two ends, and what is on its way on each pair of queues.
struct memif {
  memif(memif_pairs client_has, memif_pairs server_has) {
    client.start(now, client_has);
    server.start(now, server_has);
  }
  ~memif() {
    for (auto* ways : {&to_server, &to_client})
      for (auto& way : *ways)
        for (rte_mbuf* m : way) rte_pktmbuf_free(m);
  }

  using ways = std::array<std::deque<rte_mbuf*>, 2>;
  void say(memif_lanes& from, ways& out, bool older) {
    const auto [frame, on_second] = from.next_word(now);
    if (frame == nullptr) return;
    ++words;
    // What an older end says has zeros where the numbers are.
    if (older) std::memset(rte_pktmbuf_mtod_offset(frame, char*, numbers_at), 0, 3);
    if (lost > 0 && lost-- > 0)
      rte_pktmbuf_free(frame);
    else
      out.at(on_second ? 1 : 0).push_back(frame);
  }
  /// How many frames came that are no words. The first lcore polls its second lane only.
  std::size_t hear(memif_lanes& at, ways& in) {
    std::size_t others = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      if (i == 1 && at.queues().receive.lanes < 2) continue;
      std::vector<rte_mbuf*> frames(in[i].begin(), in[i].end());
      in[i].clear();
      const std::size_t left = at.on_received(frames, i == 1);
      for (std::size_t n = 0; n < left; ++n) rte_pktmbuf_free(frames[n]);
      others += left;
    }
    return others;
  }
  void run() {
    for (int turn = 0; turn < 4000; ++turn, now = now + nd::duration::microseconds(100)) {
      say(client, to_server, older_client);
      others += hear(server, to_server);
      say(server, to_client, false);
      others += hear(client, to_client);
    }
  }

  nd::test::pool mbufs{64};
  nd::instant now{1'000'000'007};
  memif_lanes client{memif_role::client, {2, 0, 0, 0, 0, 1}, mbufs.get()};
  memif_lanes server{memif_role::server, {2, 0, 0, 0, 0, 2}, mbufs.get()};
  ways to_server, to_client;
  bool older_client = false;
  unsigned lost = 0;
  unsigned words = 0;
  std::size_t others = 0;
};

/// A word as an older end says it, which has heard one of ours.
rte_mbuf* older_word(memif_lanes& from, nd::instant now) {
  rte_mbuf* const m = from.next_word(now).frame;
  REQUIRE(m != nullptr);
  std::memset(rte_pktmbuf_mtod_offset(m, char*, numbers_at), 0, 3);
  return m;
}

}  // namespace

TEST_CASE("Two ends of a memif use the pairs that both have, whatever words are lost") {
  const auto lost = static_cast<unsigned>(GENERATE(0, 1, 2, 5));
  const auto [c, s] = GENERATE(table<memif_pairs, memif_pairs>({{{1, 2}, {1, 2}},
                                                                {{2, 2}, {2, 2}},
                                                                {{3, 2}, {2, 2}},
                                                                {{2, 2}, {3, 2}},
                                                                {{16, 2}, {16, 2}},
                                                                {{4, 2}, {1, 2}},
                                                                {{1, 2}, {4, 2}},
                                                                {{2, 1}, {2, 2}},
                                                                {{2, 2}, {2, 1}},
                                                                {{2, 1}, {2, 1}}}));
  CAPTURE(lost, c.lcores, c.lanes, s.lcores, s.lanes);
  const memif_pairs both{std::min(c.lcores, s.lcores), std::min(c.lanes, s.lanes)};
  memif m(c, s);
  m.lost = lost;
  // The client polls all that it has made; nobody sends on what the other may not poll.
  CHECK(m.client.queues() == memif_queues{.receive = c, .send = {1, 1}, .stride = c.lanes});
  CHECK(m.server.queues() == memif_queues{});
  m.run();
  CHECK(m.client.queues() == memif_queues{.receive = c, .send = both, .stride = c.lanes});
  CHECK(m.server.queues() == memif_queues{.receive = both, .send = both, .stride = c.lanes});
  CHECK(m.others == 0);
  CHECK(m.words < 20);
  m.server.stop();
  CHECK(m.server.queues() == memif_queues{});
}

TEST_CASE("A memif client makes of a server's pairs both lanes first, then lcores") {
  const auto [wanted, pairs, makes] =
      GENERATE(table<memif_pairs, unsigned, memif_pairs>({{{4, 2}, 8, {4, 2}},
                                                          {{4, 2}, 7, {3, 2}},
                                                          {{4, 2}, 2, {1, 2}},
                                                          {{4, 2}, 1, {1, 1}},
                                                          {{3, 1}, 6, {3, 1}},
                                                          {{3, 1}, 2, {2, 1}},
                                                          {{1, 1}, 1, {1, 1}}}));
  CAPTURE(wanted.lcores, wanted.lanes, pairs);
  CHECK(within(wanted, pairs) == makes);
}

TEST_CASE("With one pair of queues at an end of a memif nobody touches a second one") {
  const auto [c, s] = GENERATE(table<memif_pairs, memif_pairs>(
      {{{1, 1}, {1, 2}}, {{1, 2}, {1, 1}}, {{1, 1}, {1, 1}}, {{1, 1}, {3, 2}}, {{4, 2}, {1, 1}}}));
  CAPTURE(c.lcores, c.lanes, s.lcores, s.lanes);
  memif m(c, s);
  m.run();
  CHECK(m.client.queues().send.count() == 1);
  CHECK(m.client.queues().receive == c);
  CHECK(m.server.queues() == memif_queues{});
  // Who does not know the word hands it on, and is not told for ever.
  CHECK(m.others == m.words);
  CHECK(m.words <= 8);
}

TEST_CASE("A memif server of several lcores has two lanes on the first with an older client") {
  const auto lcores = static_cast<std::uint8_t>(GENERATE(1, 4));
  memif m({1, 2}, {lcores, 2});
  m.older_client = true;
  m.run();
  CHECK(m.server.queues() == memif_queues{.receive = {1, 2}, .send = {1, 2}, .stride = 2});
  CHECK(m.client.queues().send == memif_pairs{1, 2});
  CHECK(m.others == 0);
  CHECK(m.words < 6);
}

TEST_CASE("A memif server without lanes does not answer an older client's word") {
  memif m({1, 2}, {2, 1});
  m.older_client = true;
  m.run();
  CHECK(m.server.queues() == memif_queues{});
  CHECK(m.client.queues().send == memif_pairs{1, 1});
}

TEST_CASE("A memif client of several lcores has two lanes on the first with an older server") {
  memif m({4, 2}, {1, 2});
  std::array<rte_mbuf*, 1> frames{older_word(m.client, m.now)};
  CHECK(m.client.on_received(frames, true) == 0);
  CHECK(m.client.queues() == memif_queues{.receive = {4, 2}, .send = {1, 2}, .stride = 2});
  // It ends the older server's looking for words, which it does on the second pair.
  const auto [last, on_second] = m.client.next_word(m.now);
  CHECK(on_second);
  rte_pktmbuf_free(last);
  CHECK(m.client.next_word(m.now + nd::duration::seconds(1)).frame == nullptr);
}

TEST_CASE("Numbers that no end has are no word of a memif's") {
  const auto [lcores, lanes] = GENERATE(table<int, int>({{17, 2}, {2, 3}, {0, 2}, {2, 0}}));
  memif m({2, 2}, {2, 2});
  rte_mbuf* const word = m.client.next_word(m.now).frame;
  auto* const numbers = rte_pktmbuf_mtod_offset(word, std::uint8_t*, numbers_at);
  numbers[0] = static_cast<std::uint8_t>(lcores);
  numbers[1] = static_cast<std::uint8_t>(lanes);
  std::array<rte_mbuf*, 1> frames{word};
  CHECK(m.server.on_received(frames, false) == 1);
  CHECK(m.server.queues() == memif_queues{});
  rte_pktmbuf_free(word);
}

TEST_CASE("Other frames pass a memif's lanes unchanged") {
  memif m({1, 2}, {1, 2});
  rte_mbuf* const frame = rte_pktmbuf_alloc(m.mbufs.get());
  std::memset(rte_pktmbuf_append(frame, 60), 0x88, 60);
  std::array<rte_mbuf*, 1> frames{frame};
  CHECK(m.server.on_received(frames, false) == 1);
  CHECK(frames[0] == frame);
  CHECK(m.server.queues() == memif_queues{});
  rte_pktmbuf_free(frame);
}
