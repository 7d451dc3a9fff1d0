// The socket's state table, pair by pair, and walks through it.
#include "vsock/state.hpp"

#include <catch2/catch.hpp>
#include <initializer_list>

using nd::core::next_state;
using s = nd::core::socket_state;
using e = nd::core::socket_event;

TEST_CASE("every event in every state of a socket does what the diagram says", "[socket_state]") {
  // Pairs that are not listed leave the state alone; a reset leads to closed from everywhere.
  struct row {
    s state;
    e event;
    s next;
  };
  static constexpr row rows[] = {
      {s::closed, e::connect, s::sync_sent},        {s::closed, e::sync, s::established},
      {s::sync_sent, e::sync_ack, s::established},  {s::established, e::shutdown, s::fin_wait_1},
      {s::established, e::fin, s::close_wait},      {s::fin_wait_1, e::fin, s::closing},
      {s::fin_wait_1, e::fin_acked, s::fin_wait_2}, {s::fin_wait_2, e::fin, s::closed},
      {s::close_wait, e::shutdown, s::last_ack},    {s::closing, e::fin_acked, s::closed},
      {s::last_ack, e::fin_acked, s::closed},
  };
  std::size_t pairs = 0;
  for (std::size_t i = 0; i < nd::core::socket_states; ++i) {
    for (std::size_t j = 0; j < nd::core::socket_events; ++j, ++pairs) {
      const auto state = static_cast<s>(i);
      const auto event = static_cast<e>(j);
      s expected = event == e::reset ? s::closed : state;
      for (const row& r : rows)
        if (r.state == state && r.event == event) expected = r.next;
      CAPTURE(i, j);
      CHECK(next_state(state, event) == expected);
    }
  }
  CHECK(pairs == 56);
}

TEST_CASE("all ways to close end in closed", "[socket_state]") {
  const auto walk = [](s state, std::initializer_list<e> events) {
    for (const e event : events) state = next_state(state, event);
    return state;
  };
  CHECK(walk(s::closed, {e::connect, e::sync_ack, e::shutdown, e::fin_acked, e::fin}) == s::closed);
  CHECK(walk(s::closed, {e::sync, e::fin, e::shutdown, e::fin_acked}) == s::closed);
  CHECK(walk(s::established, {e::shutdown, e::fin, e::fin_acked}) == s::closed);
  CHECK(walk(s::established, {e::fin, e::shutdown, e::fin_acked, e::sync}) == s::established);
}

TEST_CASE("who may write and who may receive", "[socket_state]") {
  for (const s state : {s::sync_sent, s::established, s::close_wait})
    CHECK(nd::core::may_write(state));
  for (const s state : {s::closed, s::fin_wait_1, s::fin_wait_2, s::closing, s::last_ack})
    CHECK_FALSE(nd::core::may_write(state));
  for (const s state : {s::sync_sent, s::established, s::fin_wait_1, s::fin_wait_2})
    CHECK(nd::core::may_receive(state));
  for (const s state : {s::closed, s::close_wait, s::closing, s::last_ack})
    CHECK_FALSE(nd::core::may_receive(state));
}
