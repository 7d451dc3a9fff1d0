// How two ends of a memif agree on a second pair of queues: every pairing of new and old ends.
#include "pmd_glue/memif_lanes.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "unit/support/pool.hpp"

using nd::pmd::memif_lanes;
using nd::pmd::memif_role;

namespace {

/// Two ends, and what is on its way on each pair of queues.
struct memif {
  explicit memif(bool client_has_two, bool server_has_two) {
    client.start(now, client_has_two);
    server.start(now, server_has_two);
  }
  ~memif() {
    for (auto& way : to_server)
      for (rte_mbuf* m : way) rte_pktmbuf_free(m);
    for (auto& way : to_client)
      for (rte_mbuf* m : way) rte_pktmbuf_free(m);
  }

  using ways = std::array<std::deque<rte_mbuf*>, 2>;
  void say(memif_lanes& from, ways& out) {
    if (const auto [frame, on_second] = from.next_word(now); frame != nullptr) {
      ++words;
      if (lost > 0 && lost-- > 0)
        rte_pktmbuf_free(frame);
      else
        out.at(on_second ? 1 : 0).push_back(frame);
    }
  }
  /// How many frames came that are no words.
  std::size_t hear(memif_lanes& at, ways& in) {
    std::size_t others = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      if (i == 1 && !at.can_receive()) continue;
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
      say(client, to_server);
      others += hear(server, to_server);
      say(server, to_client);
      others += hear(client, to_client);
    }
  }

  nd::test::pool mbufs{64};
  nd::instant now{1'000'000'007};
  memif_lanes client{memif_role::client, {2, 0, 0, 0, 0, 1}, mbufs.get()};
  memif_lanes server{memif_role::server, {2, 0, 0, 0, 0, 2}, mbufs.get()};
  ways to_server, to_client;
  unsigned lost = 0;
  unsigned words = 0;
  std::size_t others = 0;
};

}  // namespace

TEST_CASE("Two ends of a memif with two pairs of queues agree, whatever words are lost") {
  const auto lost = static_cast<unsigned>(GENERATE(0, 1, 2, 5));
  CAPTURE(lost);
  memif m(true, true);
  m.lost = lost;
  CHECK(m.client.can_receive());
  CHECK_FALSE(m.client.can_send());
  CHECK_FALSE(m.server.can_receive());
  m.run();
  for (const memif_lanes* end : {&m.client, &m.server}) {
    CHECK(end->can_receive());
    CHECK(end->can_send());
  }
  CHECK(m.others == 0);
  CHECK(m.words < 20);
  m.server.stop();
  CHECK_FALSE(m.server.can_receive());
  CHECK_FALSE(m.server.can_send());
}

TEST_CASE("With one pair of queues at an end of a memif nobody touches a second one") {
  const auto [client_has_two, server_has_two] =
      GENERATE(std::pair{false, true}, std::pair{true, false}, std::pair{false, false});
  CAPTURE(client_has_two, server_has_two);
  memif m(client_has_two, server_has_two);
  m.run();
  CHECK_FALSE(m.client.can_send());
  CHECK_FALSE(m.server.can_send());
  CHECK_FALSE(m.server.can_receive());
  CHECK(m.client.can_receive() == client_has_two);
  // Who does not know the word hands it on, and is not told for ever.
  CHECK(m.others == m.words);
  CHECK(m.words <= 8);
}

TEST_CASE("Other frames pass a memif's lanes unchanged") {
  memif m(true, true);
  rte_mbuf* const frame = rte_pktmbuf_alloc(m.mbufs.get());
  std::memset(rte_pktmbuf_append(frame, 60), 0x88, 60);
  std::array<rte_mbuf*, 1> frames{frame};
  CHECK(m.server.on_received(frames, false) == 1);
  CHECK(frames[0] == frame);
  CHECK_FALSE(m.server.can_receive());
  rte_pktmbuf_free(frame);
}
