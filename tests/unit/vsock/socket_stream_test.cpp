// Sockets record by record: broken rules, resets, credit, and whole streams over a bad network.
#include <catch2/catch.hpp>
#include <vector>

#include "base/rng.hpp"
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
TEST_CASE("a peer that breaks a rule is told so", "[socket]") {
  two_ends t(4096);
  end &a = *t.a, &b = *t.b;
  t.open();
  b.write(1000);
  const wire::record data = b.next(record_type::data);
  SECTION("data beyond the grant") {
    wire::record r = data;
    r.seq = 4096 - 999;
    CHECK(a.receive(r) == socket_outcome::protocol_error);
    r.seq = 4096 - 1000;
    CHECK(a.receive(r) != socket_outcome::protocol_error);
  }
  SECTION("data beyond the FIN, two FINs, a FIN beyond the grant") {
    wire::record fin = data;
    fin.segment = nullptr;
    fin.type = record_type::fin;
    fin.set_body(wire::fin_body{std::uint64_t{4097}});
    CHECK(a.receive(fin) == socket_outcome::protocol_error);
    fin.set_body(wire::fin_body{std::uint64_t{900}});
    CHECK(a.receive(fin) == socket_outcome::ok);
    CHECK(a.receive(data) == socket_outcome::protocol_error);
    fin.set_body(wire::fin_body{std::uint64_t{901}});
    CHECK(a.receive(fin) == socket_outcome::protocol_error);
  }
  SECTION("a FIN before bytes that were read") {
    CHECK(a.receive(data) == socket_outcome::ok);
    wire::record fin = data;
    fin.segment = nullptr;
    fin.type = record_type::fin;
    fin.set_body(wire::fin_body{std::uint64_t{999}});
    CHECK(a.receive(fin) == socket_outcome::protocol_error);
  }
  b->on_acked(data);
}

TEST_CASE("a FIN before bytes that wait out of order breaks a rule", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  b.write(2000);
  const wire::record first = b.next(record_type::data), second = b.next(record_type::data);
  REQUIRE(a.receive(second) == socket_outcome::ok);
  wire::record fin = first;
  fin.segment = nullptr;
  fin.type = record_type::fin;
  fin.set_body(wire::fin_body{std::uint64_t{1500}});
  CHECK(a.receive(fin) == socket_outcome::protocol_error);
  b->on_acked(first);
  b->on_acked(second);
}

TEST_CASE("bytes received are counted once, when they are in order", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  b.write(3000);
  std::vector<wire::record> records;
  while (const auto r = b.next()) records.push_back(*r);
  REQUIRE(records.size() == 3);
  for (const std::size_t i : {2U, 1U, 0U, 1U}) a.receive(records[i]);
  CHECK(a.stats.payload_bytes_received.value() == 3000);
  CHECK(a.stats.records_out_of_order.value() == 2);
  for (const wire::record& r : records) b->on_acked(r);
}

TEST_CASE("without memory a record is refused and taken when it comes again", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  a.alone = false;  // must be copied
  b.write(1000);
  const wire::record data = b.next(record_type::data);
  t.mbufs.leave(1);  // for the packet
  CHECK(a.receive(data) == socket_outcome::no_memory);
  t.mbufs.restore();
  CHECK(a.receive(data) == socket_outcome::ok);
  CHECK(a.receive(data) == socket_outcome::ignored);
  b->on_acked(data);
  a.read();
  CHECK(a.bytes_read() == 1000);
}

TEST_CASE("bytes for an application that closed are unwanted", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  b.write(1000);
  const wire::record data = b.next(record_type::data);
  SECTION("they come after the close") {
    CHECK(a.request(core::request_close) == socket_outcome::ok);
    CHECK(a.receive(data) == socket_outcome::unwanted);
  }
  SECTION("they were not read when it closed (RFC 2525, 2.17)") {
    CHECK(a.receive(data) == socket_outcome::ok);
    CHECK(a.request(core::request_close) == socket_outcome::unwanted);
  }
  SECTION("they were read") {
    CHECK(a.receive(data) == socket_outcome::ok);
    a.read();
    CHECK(a.request(core::request_close) == socket_outcome::ok);
    CHECK(a->state() == socket_state::fin_wait_1);
  }
  b->on_acked(data);
}

TEST_CASE("a connection that was closed does not wait for its peer for good", "[socket]") {
  two_ends t;
  end& a = *t.a;
  t.open();
  a.request(core::request_close);
  t.talk();
  CHECK(a->state() == socket_state::fin_wait_2);
  const instant deadline = a->next_deadline();
  REQUIRE_FALSE(deadline.is_never());
  CHECK(a->on_timer(deadline - duration(1)) == socket_outcome::ok);
  CHECK(a->on_timer(deadline) == socket_outcome::timed_out);
}

TEST_CASE("a reset names the connection and the reason, and nobody waits for it", "[socket]") {
  two_ends t;
  t.open();
  const wire::record r = (*t.a)->reset_record(wire::reset_reason::protocol_error);
  CHECK(r.type == record_type::reset);
  CHECK(r.owner.is_none());
  CHECK(r.source == 20000);
  CHECK(r.dest == 80);
  const auto& body = wire::at<wire::reset_body>(static_cast<const void*>(r.body.data()));
  CHECK(body.connection == connection);
  CHECK(body.reason == wire::reset_reason::protocol_error);
  CHECK(r.length == sizeof(wire::reset_body));
}

TEST_CASE("a connection that fails gives the application what came before", "[socket]") {
  two_ends t;
  end &a = *t.a, &b = *t.b;
  t.open();
  b.write(1000);
  two_ends::deliver(b, a, b.next(record_type::data));
  a->fail(errc::connection_reset);
  a->fail(errc::peer_lost);  // the first one counts
  CHECK(a->state() == socket_state::closed);
  CHECK(a.told(socket_link::failed));
  CHECK(a.link().error.load() == static_cast<int>(errc::connection_reset));
  a.read();
  CHECK(a.bytes_read() == 1000);
  CHECK(a->finished());
  CHECK_FALSE(a->wants_to_send());
  CHECK_FALSE(a.next().has_value());
}

TEST_CASE("a sender out of credit says so, again and again, until it gets some", "[socket]") {
  two_ends t(4096);
  end &a = *t.a, &b = *t.b;
  t.open();
  a.write(6000);
  std::vector<wire::record> records;
  for (auto r = a.next(); r; r = a.next()) records.push_back(*r);
  REQUIRE(records.size() == 4);
  CHECK_FALSE(a->wants_to_send());
  CHECK(a.stats.credit_probes_sent.value() == 0);
  // Nobody reads: the grant stays, and the question is repeated, less and less often.
  duration before(0);
  for (int i = 0; i < 8; ++i) {
    const instant deadline = a->next_deadline();
    REQUIRE_FALSE(deadline.is_never());
    const duration wait = deadline - a.now;
    CHECK(wait >= std::max(before, duration::milliseconds(1)));
    CHECK(wait <= duration::milliseconds(100));
    before = wait;
    a.now = deadline;
    CHECK(a->on_timer(a.now) == socket_outcome::ok);
    a.next(record_type::notification);
    CHECK_FALSE(a.next().has_value());
  }
  for (const wire::record& r : records) two_ends::deliver(a, b, r);
  b.read();
  b.request(core::request_consumed);
  two_ends::deliver(b, a, b.next(record_type::ack));
  CHECK(a->next_deadline().is_never());
  t.talk();
  CHECK(b.bytes_read() == 6000);
}

TEST_CASE("a notification is always answered, also when the grant stays as it is", "[socket]") {
  two_ends t(4096);
  end &a = *t.a, &b = *t.b;
  t.open();
  wire::record r;
  r.type = record_type::notification;
  r.grant = (1 << 20);
  CHECK(b.receive(r) == socket_outcome::ok);
  CHECK(b.next(record_type::ack).grant == 4096);
  CHECK_FALSE(b.next().has_value());
  static_cast<void>(a);
}

TEST_CASE("whatever is lost and reordered, both streams arrive and both ends close", "[socket]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 61)));
  CAPTURE(seed);
  nd::rng random(seed);
  const std::uint64_t window = std::uint64_t{4096} << random.below(5);
  CAPTURE(window);
  two_ends t(window, 2000);
  end* const ends[2] = {t.a.get(), t.b.get()};
  (*t.a)->connect(start, duration::seconds(3600));
  // Records on their way, over channels that answer in any order.
  struct on_its_way {
    std::size_t from;
    wire::record record;
  };
  std::vector<on_its_way> wire_;
  std::uint64_t to_write[2] = {random.below(200'000), random.below(200'000)};
  bool shut[2] = {false, false}, accepted = false;
  const double loss = random.chance(0.5) ? 0.05 : 0.4;
  int turns = 0;
  const auto finished = [&] { return (*t.a)->finished() && (*t.b)->finished() && wire_.empty(); };
  for (; turns < 200'000 && !finished(); ++turns) {
    const std::size_t i = random.below(2);
    end& e = *ends[i];
    e.alone = random.chance(0.5);
    e.now = e.now + duration::microseconds(static_cast<std::int64_t>(random.below(500)));
    if (e->next_deadline() <= e.now) REQUIRE(e->on_timer(e.now) == socket_outcome::ok);
    if (i == 1 && !accepted) {
      // Nothing but the SYNC below.
    } else if (random.chance(0.2) && to_write[i] > 0) {
      const std::uint64_t before = e.bytes_written();
      e.write(std::min(to_write[i], 1 + random.below(5000)));
      to_write[i] -= e.bytes_written() - before;
    } else if (to_write[i] == 0 && !shut[i]) {
      shut[i] = true;
      e.request(core::request_shutdown_send);
    } else if (random.chance(0.5)) {
      e.read();
      e.request(core::request_consumed);
    } else if (wire_.size() < 60) {
      if (const auto r = e.next()) wire_.push_back({i, *r});
    }
    if (!wire_.empty() && random.chance(0.5)) {
      const std::size_t at = random.below(std::min<std::size_t>(wire_.size(), 20));
      const on_its_way w = wire_[at];
      wire_.erase(wire_.begin() + static_cast<std::ptrdiff_t>(at));
      end &from = *ends[w.from], &to = *ends[1 - w.from];
      // Lost, or arrived and not acknowledged: declared lost all the same.
      const bool arrives = !random.chance(loss);
      if (arrives && w.record.type == record_type::sync) {
        if (!accepted)
          to->accept(
              wire::at<wire::sync_body>(static_cast<const void*>(w.record.body.data())).grant);
        accepted = true;
      } else if (arrives) {
        const socket_outcome outcome = to.receive(w.record);
        REQUIRE((outcome == socket_outcome::ok || outcome == socket_outcome::ignored));
      }
      if (arrives && !random.chance(0.1))
        from->on_acked(w.record);
      else
        from->on_lost(w.record);
    }
  }
  CAPTURE(turns);
  REQUIRE(finished());
  for (end* e : ends) e->read();
  CHECK(t.b->bytes_read() == t.a->bytes_written());
  CHECK(t.a->bytes_read() == t.b->bytes_written());
  CHECK(t.a->told(socket_link::end_of_stream));
  CHECK(t.b->told(socket_link::end_of_stream));
  CHECK(t.a->stats.payload_bytes_sent.value() == t.a->bytes_written());
}
