// Sockets record by record: opening, data that overtakes, closing, resets, credit.
#include "vsock/socket.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <vector>

#include "base/rng.hpp"
#include "unit/support/pool.hpp"
#include "wire/checksum.hpp"

using nd::duration;
using nd::errc;
using nd::instant;
using nd::mbuf_ptr;
using nd::seq32;
using nd::core::socket_link;
using nd::core::socket_outcome;
using nd::core::socket_state;
using nd::wire::record_type;
namespace core = nd::core;
namespace wire = nd::wire;

namespace {

constexpr instant start(4'000'000'000);
constexpr std::uint32_t max_payload = 1000;
constexpr std::uint64_t connection = 0x1234567890abcdef;

/// A socket, the application that holds its link, and what its host does for it.
class end {
 public:
  end(nd::test::pool& pool, core::credit_pool& credit, std::uint16_t local, std::uint16_t remote,
      std::uint64_t window)
      : pool_(pool), environment_{stats, pool.get(), credit, true}, link_(make_link(window)) {
    sock = std::make_unique<core::socket>(environment_, budget_, link_,
                                          core::socket_key{1, local, remote},
                                          wire::socket_handle{local, 1}, connection);
  }
  ~end() {
    sock.reset();
    read();
    link_->release();
  }

  core::socket& operator*() { return *sock; }
  core::socket* operator->() { return sock.get(); }
  socket_link& link() { return *link_; }
  bool told(std::uint32_t status) const { return (link_->status.load() & status) != 0; }
  std::uint64_t bytes_read() const { return read_; }
  std::uint64_t bytes_written() const { return written_; }

  /// The application writes bytes of the stream, as far as the ring takes them.
  void write(std::size_t bytes) {
    while (bytes > 0 && link_->to_stack.free_slots() > 0) {
      const std::size_t n = std::min<std::size_t>(bytes, max_payload);
      rte_mbuf* m = pool_.segment(nd::test::stream_bytes(written_, n));
      nd::segment_of(m).digest = wire::crc32c(wire::crc32c_start, {nd::tx_payload(m), n});
      REQUIRE(link_->to_stack.push(m));
      written_ += n;
      bytes -= n;
    }
    CHECK(request(core::request_send) == socket_outcome::ok);
  }
  /// The application reads all there is; each byte must be the stream's.
  void read() {
    while (const mbuf_ptr m{link_->to_app.pop()}) {
      REQUIRE(
          std::ranges::equal(nd::mbuf_bytes(m.get()), nd::test::stream_bytes(read_, m->data_len)));
      read_ += m->data_len;
    }
    link_->consumed.store(read_);
  }
  socket_outcome request(std::uint32_t what) { return sock->on_requests(now, what, max_payload); }

  /// Gives a record of the peer to the socket, as a host does.
  socket_outcome receive(const wire::record& r) {
    std::vector<std::byte> bytes(sizeof(wire::record_header));
    wire::write_record_header(wire::at<wire::record_header>(static_cast<void*>(bytes.data())), r);
    const auto* payload = r.segment != nullptr ? nd::tx_payload(r.segment) : r.body.data();
    bytes.insert(bytes.end(), payload, payload + r.length);
    mbuf_ptr packet(pool_.packet(bytes));
    wire::record_reader reader(nd::mbuf_bytes(packet.get()));
    wire::record_view view{};
    REQUIRE(reader.next(view));
    sock->on_grant(seq32(view.header->grant_seq));
    socket_outcome outcome = socket_outcome::ok;
    switch (view.type()) {
      case record_type::data: outcome = sock->on_data(packet, view, alone); break;
      case record_type::fin:
        outcome = sock->on_fin(view.body<wire::fin_body>()->final_offset);
        break;
      case record_type::sync_ack: sock->on_sync_ack(*view.body<wire::sync_ack_body>()); break;
      case record_type::notification: sock->on_notification(); break;
      default: break;
    }
    sock->hand_over();
    return outcome;
  }

  std::optional<wire::record> next() {
    const bool wants = sock->wants_to_send();
    auto r = sock->next_record(now, max_payload);
    if (r) REQUIRE(wants);
    return r;
  }
  wire::record next(record_type type) {
    const auto r = next();
    REQUIRE(r.has_value());
    REQUIRE(r->type == type);
    return *r;
  }

  instant now = start;
  bool alone = true;
  nd::counters stats;
  std::unique_ptr<core::socket> sock;

 private:
  static socket_link* make_link(std::uint64_t window) {
    auto link = std::make_unique<socket_link>();
    link->receive_buffer = window;
    link->send_buffer = 1 << 20;
    return link.release();
  }

  nd::test::pool& pool_;
  core::memory_budget budget_{.limit = 1 << 30};
  core::socket_environment environment_;
  socket_link* link_;
  std::uint64_t written_ = 0, read_ = 0;
};

/// Two ends. `a` connects.
struct two_ends {
  explicit two_ends(std::uint64_t window = 1 << 20, unsigned mbufs = 600) : pool(mbufs) {
    a = std::make_unique<end>(pool, credit, std::uint16_t{20000}, std::uint16_t{80}, window);
    b = std::make_unique<end>(pool, credit, std::uint16_t{80}, std::uint16_t{20000}, window);
  }
  void connect() {
    (*a)->connect(start, duration::seconds(3));
    const wire::record sync = a->next(record_type::sync);
    (*b)->accept(wire::at<wire::sync_body>(static_cast<const void*>(sync.body.data())).grant);
    (*a)->on_acked(sync);
  }
  void open() {
    connect();
    deliver(*b, *a, b->next(record_type::sync_ack));
  }
  /// A record arrives and is acknowledged.
  static socket_outcome deliver(end& from, end& to, const wire::record& r) {
    const socket_outcome outcome = to.receive(r);
    from->on_acked(r);
    return outcome;
  }
  /// Everything that either end has to say arrives.
  void talk() {
    for (bool more = true; more;) {
      more = false;
      for (const auto& [from, to] : {std::pair(a.get(), b.get()), std::pair(b.get(), a.get())}) {
        while (const auto r = from->next()) {
          CHECK(deliver(*from, *to, *r) != socket_outcome::protocol_error);
          more = true;
        }
        from->read();
        from->request(core::request_consumed);
        from->read();
      }
    }
  }

  nd::test::pool pool;
  core::credit_pool credit{std::uint64_t{1} << 30};
  std::unique_ptr<end> a, b;
};

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
  CHECK(a->has_unfinished_sending());
  a->on_lost(data);
  CHECK_FALSE(a->finished());
  t.talk();
  CHECK(b.bytes_read() == 500);
  CHECK(a->state() == socket_state::closed);
}

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

TEST_CASE("a FIN before bytes that wait out of order breaks a rule", "[socket][!mayfail]") {
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

TEST_CASE("bytes received are counted once, when they are in order", "[socket][!mayfail]") {
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
  t.pool.leave(1);  // for the packet
  CHECK(a.receive(data) == socket_outcome::no_memory);
  t.pool.restore();
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
  REQUIRE(records.size() == 5);
  CHECK(records.back().type == record_type::notification);
  CHECK_FALSE(a->wants_to_send());
  CHECK(a.stats.credit_probes_sent.value() == 1);
  // Nobody reads: the grant stays, and the question is repeated, less and less often.
  duration before(0);
  for (int i = 0; i < 8; ++i) {
    const instant deadline = a->next_deadline();
    REQUIRE_FALSE(deadline.is_never());
    const duration wait = deadline - a.now;
    CHECK(wait >= before);
    CHECK(wait <= duration::milliseconds(100));
    before = wait;
    a.now = deadline;
    CHECK(a->on_timer(a.now) == socket_outcome::ok);
    a.next(record_type::notification);
    CHECK_FALSE(a.next().has_value());
  }
  for (const wire::record& r : records) two_ends::deliver(a, b, r);
  CHECK(b.stats.notifications_received.value() == 1);
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
  const std::uint64_t seed = GENERATE(range(1, 61));
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
