// Which channel carries the next record, over channels that may be full.
#include "sched/policy.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "base/rng.hpp"

using nd::core::channel_cursor;
using nd::core::channel_load;
using nd::core::channel_stickiness;
using nd::core::no_channel;

namespace {

/// Channels that all work.
std::size_t pick_channel(channel_cursor& cursor, const std::vector<std::size_t>& room) {
  std::vector<channel_load> loads;
  for (const std::size_t r : room) loads.push_back({r, true, 0});
  return nd::core::pick_channel(cursor, loads);
}

}  // namespace

TEST_CASE("six records stay on a channel, then the next one has its turn", "[policy]") {
  channel_cursor cursor;
  const std::vector<std::size_t> room(3, 32);
  for (unsigned i = 0; i < 5 * 3 * channel_stickiness; ++i)
    REQUIRE(pick_channel(cursor, room) == (i / channel_stickiness) % 3);
}

TEST_CASE("no channel, or none with room", "[policy]") {
  channel_cursor cursor;
  CHECK(pick_channel(cursor, std::vector<std::size_t>()) == no_channel);
  const std::vector<std::size_t> full(4, 0);
  for (int i = 0; i < 20; ++i) CHECK(pick_channel(cursor, full) == no_channel);
  // Waiting does not move the turn.
  const std::vector<std::size_t> room(4, 1);
  CHECK(pick_channel(cursor, room) == 0);
}

TEST_CASE("a full channel is skipped, and a new run of six begins", "[policy]") {
  channel_cursor cursor;
  std::vector<std::size_t> room{5, 5, 5};
  CHECK(pick_channel(cursor, room) == 0);
  CHECK(pick_channel(cursor, room) == 0);
  room[0] = 0;
  for (unsigned i = 0; i < channel_stickiness; ++i) CHECK(pick_channel(cursor, room) == 1);
  room[0] = 5;
  room[2] = 0;
  CHECK(pick_channel(cursor, room) == 0);
}

TEST_CASE("the only channel with room keeps everything", "[policy]") {
  channel_cursor cursor;
  for (std::size_t only = 0; only < 4; ++only) {
    std::vector<std::size_t> room(4, 0);
    room[only] = 1;
    for (int i = 0; i < 50; ++i) REQUIRE(pick_channel(cursor, room) == only);
  }
}

TEST_CASE("whatever the channels do, a pick has room and load is spread", "[policy]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 11)));
  CAPTURE(seed);
  nd::rng random(seed);
  channel_cursor cursor;
  std::vector<std::size_t> room(1 + random.below(8)), picks(room.size());
  for (std::size_t& r : room) r = 32;
  unsigned run = 0;
  std::size_t last = no_channel;
  for (int i = 0; i < 5000; ++i) {
    const bool some = std::ranges::any_of(room, [](std::size_t r) { return r > 0; });
    const std::size_t picked = pick_channel(cursor, room);
    REQUIRE((picked != no_channel) == some);
    if (some) {
      REQUIRE(picked < room.size());
      REQUIRE(room[picked] > 0);
      --room[picked];
      ++picks[picked];
      run = picked == last ? run + 1 : 1;
      last = picked;
      // A longer run only where all others are full.
      if (run > channel_stickiness)
        for (std::size_t n = 0; n < room.size(); ++n) REQUIRE((n == picked || room[n] == 0));
      else if (run == channel_stickiness)
        run = channel_stickiness;
    }
    for (std::size_t& r : room)
      if (random.chance(0.3)) r = std::min<std::size_t>(r + 1, 32);
  }
  for (const std::size_t n : picks) CHECK(n > 5000 / room.size() / 4);
}

TEST_CASE("a cursor from a time with more channels still works", "[policy]") {
  channel_cursor cursor{7, 3};
  const std::vector<std::size_t> room(2, 1);
  CHECK(pick_channel(cursor, room) < 2);
  CHECK(pick_channel(cursor, room) < 2);
}

TEST_CASE("a stalled channel gets nothing while another one works, full or not", "[policy]") {
  channel_cursor cursor;
  std::vector<channel_load> loads{{32, false, 0}, {1, true, 0}, {32, false, 0}};
  for (unsigned i = 0; i < 20; ++i) CHECK(nd::core::pick_channel(cursor, loads) == 1);
  loads[1].room = 0;
  CHECK(nd::core::pick_channel(cursor, loads) == no_channel);
}

TEST_CASE("a channel that loses more is for what the others have no room for", "[policy]") {
  channel_cursor cursor;
  constexpr std::uint32_t margin = nd::core::loss_margin;
  std::vector<channel_load> loads{
      {32, true, 100}, {32, true, 100 + margin + 1}, {32, true, margin}};
  std::vector<unsigned> picks(3);
  for (unsigned i = 0; i < 4 * channel_stickiness; ++i)
    ++picks[nd::core::pick_channel(cursor, loads)];
  CHECK(picks == std::vector<unsigned>{2 * channel_stickiness, 0, 2 * channel_stickiness});
  loads[0].room = loads[2].room = 0;
  CHECK(nd::core::pick_channel(cursor, loads) == 1);
}

TEST_CASE("where all are stalled, they carry what there is", "[policy]") {
  channel_cursor cursor;
  std::vector<channel_load> loads(3, {32, false, 0});
  std::vector<unsigned> picks(3);
  for (unsigned i = 0; i < 3 * channel_stickiness; ++i)
    ++picks[nd::core::pick_channel(cursor, loads)];
  CHECK(picks == std::vector<unsigned>(3, channel_stickiness));
}

TEST_CASE("by port, a socket stays on its channel, and waits for it where it is full", "[policy]") {
  using nd::core::pick_by_port;
  std::vector<channel_load> loads(3, {4, true, 0});
  for (std::uint16_t port = 0; port < 30; ++port)
    for (int i = 0; i < 10; ++i) REQUIRE(pick_by_port(port, loads) == port % 3U);
  loads[1].room = 0;
  CHECK(pick_by_port(4, loads) == no_channel);
  CHECK(pick_by_port(5, loads) == 2);
  // One that does not work is another matter.
  loads[1] = {4, false, 0};
  CHECK(pick_by_port(4, loads) == 2);
  loads[2].room = 0;
  CHECK(pick_by_port(4, loads) == no_channel);
  for (channel_load& load : loads) load = {4, false, 0};
  CHECK(pick_by_port(4, loads) == 1);
  CHECK(pick_by_port(4, {}) == no_channel);
}

TEST_CASE("the least queued channel that has room, works, and loses least", "[policy]") {
  using nd::core::pick_least_queued;
  std::vector<channel_load> loads{{4, true, 0, 900}, {4, true, 0, 100}, {4, true, 0, 500}};
  CHECK(pick_least_queued(loads) == 1);
  loads[1].room = 0;
  CHECK(pick_least_queued(loads) == 2);
  loads[2].live = false;
  CHECK(pick_least_queued(loads) == 0);
  loads = {{4, true, 0, 900}, {4, true, nd::core::loss_margin + 1, 100}, {4, true, 0, 900}};
  CHECK(pick_least_queued(loads) == 0);  // the first of equals
  for (channel_load& load : loads) load.room = 0;
  CHECK(pick_least_queued(loads) == no_channel);
  CHECK(pick_least_queued({}) == no_channel);
}

TEST_CASE("policies by their setting's names", "[policy]") {
  using nd::core::channel_policy;
  CHECK(nd::core::channel_policy_of("round_robin") == channel_policy::round_robin);
  CHECK(nd::core::channel_policy_of("source_port") == channel_policy::source_port);
  CHECK(nd::core::channel_policy_of("least_queued") == channel_policy::least_queued);
}
