// Two sockets, their applications, and what their hosts do for them.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "unit/support/pool.hpp"
#include "vsock/socket.hpp"
#include "wire/checksum.hpp"

namespace nd::test {

inline constexpr instant socket_start(4'000'000'000);
inline constexpr std::uint32_t socket_payload = 1000;
inline constexpr std::uint64_t socket_connection = 0x1234567890abcdef;

/// A socket, the application that holds its link, and what its host does for it.
class socket_end {
 public:
  socket_end(pool& mbufs, core::credit_pool& credit, std::uint16_t local, std::uint16_t remote,
             std::uint64_t window)
      : pool_(mbufs),
        environment_{stats, mbufs.get(), nullptr, credit, true},
        link_(make_link(window)) {
    sock = std::make_unique<core::socket>(environment_, budget_, link_,
                                          core::socket_key{1, local, remote},
                                          wire::socket_handle{local, 1}, socket_connection);
    sock->set_max_segment(socket_payload);
  }
  ~socket_end() {
    sock.reset();
    read();
    link_->release();
  }

  core::socket& operator*() { return *sock; }
  core::socket* operator->() { return sock.get(); }
  core::socket_link& link() { return *link_; }
  bool told(std::uint32_t status) const { return (link_->status.load() & status) != 0; }
  std::uint64_t bytes_read() const { return read_; }
  std::uint64_t bytes_written() const { return written_; }

  /// The application writes bytes of the stream, as far as the ring takes them.
  void write(std::size_t bytes) {
    while (bytes > 0 && link_->to_stack().free_slots() > 0) {
      const std::size_t n = std::min<std::size_t>(bytes, socket_payload);
      rte_mbuf* m = pool_.segment(stream_bytes(written_, n));
      segment_of(m).offset = written_;
      segment_of(m).digest = wire::crc32c(wire::crc32c_start, {tx_payload(m), n});
      REQUIRE(link_->to_stack().push(m));
      written_ += n;
      bytes -= n;
    }
    CHECK(request(core::request_send) == core::socket_outcome::ok);
  }
  /// The application reads all there is; each byte must be the stream's.
  void read() {
    while (const mbuf_ptr m{link_->to_app().pop()}) {
      REQUIRE(std::ranges::equal(mbuf_bytes(m.get()), stream_bytes(read_, m->data_len)));
      read_ += m->data_len;
    }
    link_->consumed.store(read_);
  }
  core::socket_outcome request(std::uint32_t what) { return sock->on_requests(now, what); }

  /// Gives a record of the peer to the socket, as a host does.
  core::socket_outcome receive(const wire::record& r) {
    std::vector<std::byte> bytes(sizeof(wire::record_header));
    wire::write_record_header(wire::at<wire::record_header>(static_cast<void*>(bytes.data())), r);
    const auto* payload = r.segment != nullptr ? tx_payload(r.segment) : r.body.data();
    bytes.insert(bytes.end(), payload, payload + r.length);
    mbuf_ptr packet(pool_.packet(bytes));
    wire::record_reader reader(mbuf_bytes(packet.get()));
    wire::record_view view{};
    REQUIRE(reader.next(view));
    sock->on_grant(seq32(view.header->grant_seq));
    core::socket_outcome outcome = core::socket_outcome::ok;
    switch (view.type()) {
      case wire::record_type::data: outcome = sock->on_data(packet, view, alone); break;
      case wire::record_type::fin:
        outcome = sock->on_fin(view.body<wire::fin_body>()->final_offset);
        break;
      case wire::record_type::sync_ack: sock->on_sync_ack(*view.body<wire::sync_ack_body>()); break;
      case wire::record_type::notification: sock->on_notification(~std::uint64_t{0}); break;
      default: break;
    }
    sock->hand_over();
    return outcome;
  }

  std::optional<wire::record> next() {
    const bool wants = sock->wants_to_send();
    auto r = sock->next_record(now, socket_payload);
    if (r) REQUIRE(wants);
    return r;
  }
  wire::record next(wire::record_type type) {
    const auto r = next();
    REQUIRE(r.has_value());
    REQUIRE(r->type == type);
    return *r;
  }

  instant now = socket_start;
  bool alone = true;
  counters stats;
  std::unique_ptr<core::socket> sock;

 private:
  static core::socket_link* make_link(std::uint64_t window) {
    auto link = std::make_unique<core::socket_link>();
    link->receive_buffer = window;
    link->send_buffer = 1 << 20;
    return link.release();
  }

  pool& pool_;
  core::memory_budget budget_{.limit = 1 << 30};
  core::socket_environment environment_;
  core::socket_link* link_;
  std::uint64_t written_ = 0, read_ = 0;
};

/// Two ends. `a` connects.
struct two_ends {
  explicit two_ends(std::uint64_t window = 1 << 20, unsigned count = 600) : mbufs(count) {
    a = std::make_unique<socket_end>(mbufs, credit, std::uint16_t{20000}, std::uint16_t{80},
                                     window);
    b = std::make_unique<socket_end>(mbufs, credit, std::uint16_t{80}, std::uint16_t{20000},
                                     window);
  }
  void connect() {
    (*a)->connect(socket_start, duration::seconds(3));
    const wire::record sync = a->next(wire::record_type::sync);
    (*b)->accept(wire::at<wire::sync_body>(static_cast<const void*>(sync.body.data())).grant);
    (*a)->on_acked(sync);
  }
  void open() {
    connect();
    deliver(*b, *a, b->next(wire::record_type::sync_ack));
  }
  /// A record arrives and is acknowledged.
  static core::socket_outcome deliver(socket_end& from, socket_end& to, const wire::record& r) {
    const core::socket_outcome outcome = to.receive(r);
    from->on_acked(r);
    return outcome;
  }
  /// Everything that either end has to say arrives.
  void talk() {
    for (bool more = true; more;) {
      more = false;
      for (const auto& [from, to] : {std::pair(a.get(), b.get()), std::pair(b.get(), a.get())}) {
        while (const auto r = from->next()) {
          CHECK(deliver(*from, *to, *r) != core::socket_outcome::protocol_error);
          more = true;
        }
        from->read();
        from->request(core::request_consumed);
        from->read();
      }
    }
  }

  pool mbufs;
  core::credit_pool credit{std::uint64_t{1} << 30};
  std::unique_ptr<socket_end> a, b;
};

}  // namespace nd::test
