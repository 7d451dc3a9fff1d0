// Sockets record by record: opening, data that overtakes, closing.
#include "vsock/socket.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "unit/vsock/socket_ends.hpp"

using nd::duration;
using nd::errc;
using nd::instant;
using nd::core::socket_link;
using nd::core::socket_outcome;
using nd::core::socket_state;
using nd::test::two_ends;
using nd::wire::record_type;
using end = nd::test::socket_end;
namespace core = nd::core;
namespace wire = nd::wire;

namespace {
constexpr instant start = nd::test::socket_start;
constexpr std::uint64_t connection = nd::test::socket_connection;
}  // namespace

TEST_CASE("SYNC and SYNC_ACK open a connection, and carry the grants", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  CHECK(a->state() == socket_state::closed);
  CHECK_FALSE(a->wants_to_send());
  t.connect();
  CHECK(a->state() == socket_state::sync_sent);
  CHECK(a->sync_was_sent());
  CHECK(a->next_deadline() == start + duration::seconds(3));
  CHECK_FALSE(a.next().has_value());
  CHECK(b->state() == socket_state::established);
  CHECK(b.told(socket_link::connected));
  CHECK_FALSE(a.told(socket_link::connected));
  const wire::record sync_ack = b.next(record_type::sync_ack);
  // One of another connection is not for us.
  wire::record other = sync_ack;
  other.set_body(wire::sync_ack_body{connection + 1, std::uint64_t{5}});
  a.receive(other);
  CHECK(a->state() == socket_state::sync_sent);
  a.receive(sync_ack);
  a.receive(sync_ack);
  CHECK(a->state() == socket_state::established);
  CHECK(a.told(socket_link::connected));
  CHECK(a->next_deadline().is_never());
  CHECK(a.stats.connections_opened.value() == 1);
}

TEST_CASE("a SYNC that is lost is repeated; without an answer the connect times out", "[socket]") {
  two_ends t;
  end& a = *t.a;
  a->connect(start, duration::seconds(3));
  const wire::record sync = a.next(record_type::sync);
  CHECK_FALSE(a->wants_to_send());
  a->on_lost(sync);
  CHECK(a->wants_to_send());
  a.next(record_type::sync);
  CHECK(a->on_timer(start + duration::seconds(3) - duration(1)) == socket_outcome::ok);
  CHECK(a->on_timer(start + duration::seconds(3)) == socket_outcome::timed_out);
}

TEST_CASE("data and FIN that overtake SYNC_ACK are kept", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.connect();
  const wire::record sync_ack = b.next(record_type::sync_ack);
  b.write(2500);
  b.request(core::request_shutdown_send);
  std::vector<wire::record> records;
  while (const auto r = b.next()) records.push_back(*r);
  REQUIRE(records.size() == 4);
  for (auto r = records.rbegin(); r != records.rend(); ++r)  // and in the wrong order
    CHECK(two_ends::deliver(b, a, *r) == socket_outcome::ok);
  a.read();
  CHECK(a.bytes_read() == 2500);
  CHECK(a->state() == socket_state::sync_sent);
  a.receive(sync_ack);
  CHECK(a->state() == socket_state::close_wait);
  CHECK(a.told(socket_link::end_of_stream));
  a.request(core::request_shutdown_send);
  two_ends::deliver(a, b, a.next(record_type::fin));
  CHECK(a->state() == socket_state::closed);
  CHECK(b->state() == socket_state::closed);
}

TEST_CASE("bytes written before the connection is open wait for it", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.connect();
  a.write(3000);
  a.request(core::request_shutdown_send);
  CHECK_FALSE(a.next().has_value());
  a.receive(b.next(record_type::sync_ack));
  CHECK(a->state() == socket_state::fin_wait_1);
  t.talk();
  CHECK(b.bytes_read() == 3000);
  CHECK(a->state() == socket_state::fin_wait_2);
  CHECK(b->state() == socket_state::close_wait);
  CHECK(b.told(socket_link::end_of_stream));
}

TEST_CASE("half close: the other direction goes on", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  a.request(core::request_shutdown_send);
  t.talk();
  CHECK(a->state() == socket_state::fin_wait_2);
  CHECK(b->state() == socket_state::close_wait);
  for (int i = 0; i < 5; ++i) {
    b.write(10'000);
    t.talk();
  }
  CHECK(a.bytes_read() == 50'000);
  b.request(core::request_shutdown_send);
  t.talk();
  CHECK(a->state() == socket_state::closed);
  CHECK(b->state() == socket_state::closed);
  CHECK(a.told(socket_link::end_of_stream));
  CHECK(a->finished());
  CHECK(b->finished());
}

TEST_CASE("simultaneous close", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  a.request(core::request_shutdown_send);
  b.request(core::request_shutdown_send);
  const wire::record from_a = a.next(record_type::fin), from_b = b.next(record_type::fin);
  b.receive(from_a);
  a.receive(from_b);
  CHECK(a->state() == socket_state::closing);
  a->on_acked(from_a);
  b->on_acked(from_b);
  CHECK(a->state() == socket_state::closed);
  CHECK(b->state() == socket_state::closed);
}

TEST_CASE("a FIN that arrives before the bytes waits for them", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  a.write(1500);
  a.request(core::request_shutdown_send);
  const wire::record first = a.next(record_type::data), second = a.next(record_type::data);
  const wire::record fin = a.next(record_type::fin);
  CHECK(two_ends::deliver(a, b, fin) == socket_outcome::ok);
  CHECK(b.receive(fin) == socket_outcome::ignored);
  CHECK(b->state() == socket_state::established);
  CHECK(two_ends::deliver(a, b, second) == socket_outcome::ok);
  CHECK_FALSE(b.told(socket_link::end_of_stream));
  CHECK(two_ends::deliver(a, b, first) == socket_outcome::ok);
  CHECK(b->state() == socket_state::close_wait);
  b.read();
  CHECK(b.bytes_read() == 1500);
}

TEST_CASE("a FIN that was acknowledged does not let go of bytes that were lost", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  b.request(core::request_shutdown_send);
  two_ends::deliver(b, a, b.next(record_type::fin));
  CHECK(a->state() == socket_state::close_wait);
  a.write(500);
  a.request(core::request_shutdown_send);
  const wire::record data = a.next(record_type::data), fin = a.next(record_type::fin);
  CHECK(two_ends::deliver(a, b, fin) == socket_outcome::ok);
  CHECK(a->state() == socket_state::last_ack);
  CHECK(a->has_unfinished_business());
  a->on_lost(data);
  CHECK_FALSE(a->finished());
  t.talk();
  CHECK(b.bytes_read() == 500);
  CHECK(a->state() == socket_state::closed);
}
