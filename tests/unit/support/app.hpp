// What an application does with a socket, as api/socket_impl.cpp does it, but it never waits.
#pragma once

#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "lcore/host.hpp"
#include "wire/checksum.hpp"

namespace nd::test {

/// Tests never fill a mailbox.
inline void post_to(core::host& h, core::app_end& end, std::uint32_t requests) {
  core::post(h.mailbox(), end, requests, [] { std::abort(); });
}

class app_socket {
 public:
  app_socket() = default;
  /// Connects.
  app_socket(core::host& h, std::uint32_t peer, std::uint16_t port, std::uint8_t traffic_class,
             const settings& values)
      : host_(&h), link_(new core::socket_link) {
    link_->peer_address = peer;
    link_->peer_port = port;
    link_->traffic_class = traffic_class;
    link_->send_buffer = static_cast<std::uint64_t>(values.send_buffer);
    link_->receive_buffer = static_cast<std::uint64_t>(values.receive_buffer);
    post(core::request_connect);
  }
  /// A connection that the stack accepted.
  app_socket(core::host& h, core::socket_link* link) : host_(&h), link_(link) {}
  app_socket(app_socket&& o) noexcept { *this = std::move(o); }
  app_socket& operator=(app_socket&& o) noexcept {
    std::swap(host_, o.host_);
    std::swap(link_, o.link_);
    std::swap(reading_, o.reading_);
    std::swap(read_offset_, o.read_offset_);
    std::swap(consumed_, o.consumed_);
    std::swap(written_, o.written_);
    return *this;
  }
  ~app_socket() { close(); }

  explicit operator bool() const noexcept { return link_ != nullptr; }
  core::socket_link& link() noexcept { return *link_; }

  bool connected() const {
    return (status() & (core::socket_link::connected | core::socket_link::failed)) ==
           core::socket_link::connected;
  }
  bool failed() const { return (status() & core::socket_link::failed) != 0; }
  errc error() const {
    return failed() ? static_cast<errc>(link_->error.load(std::memory_order_relaxed)) : errc{};
  }
  /// The peer's FIN, with all before it read.
  bool at_end() const { return end_; }
  std::uint64_t written() const noexcept { return written_; }
  std::uint64_t consumed() const noexcept { return consumed_; }
  std::uint64_t unacknowledged() const noexcept {
    return written_ - link_->acked.load(std::memory_order_acquire);
  }

  /// Writes what fits, up to `at_most` bytes an mbuf.
  std::size_t write(std::span<const std::byte> bytes, std::size_t at_most = 65535) {
    if (!connected()) return 0;
    const std::uint64_t room = link_->send_buffer - std::min(link_->send_buffer, unacknowledged());
    if (bytes.size() > room) bytes = bytes.first(room);
    const std::size_t most =
        std::min<std::size_t>(at_most, link_->max_segment.load(std::memory_order_relaxed));
    std::size_t n = 0;
    while (n < bytes.size() && link_->to_stack().free_slots() > 0) {
      rte_mbuf* m = allocate_segment(host_->tx_pool());
      if (m == nullptr) break;
      const auto piece = bytes.subspan(
          n, std::min<std::size_t>(bytes.size() - n, std::min<std::size_t>(most, tx_capacity(m))));
      segment& s = segment_of(m);
      s.offset = written_ + n;
      s.length = static_cast<std::uint32_t>(piece.size());
      if (host_->digests())
        s.digest = wire::copy_crc32c(wire::crc32c_start, tx_payload(m), piece);
      else
        std::memcpy(tx_payload(m), piece.data(), piece.size());
      link_->to_stack().push(m);
      n += piece.size();
    }
    written_ += n;
    if (n > 0) post(core::request_send);
    return n;
  }

  std::size_t read(std::span<std::byte> buffer) {
    const std::uint32_t bits = status();
    std::size_t n = 0;
    while (n < buffer.size()) {
      if (reading_ == nullptr && (reading_ = link_->to_app().pop()) == nullptr) break;
      const std::size_t piece =
          std::min<std::size_t>(buffer.size() - n, reading_->data_len - read_offset_);
      std::memcpy(&buffer[n], rte_pktmbuf_mtod_offset(reading_, std::byte*, read_offset_), piece);
      n += piece;
      read_offset_ += static_cast<std::uint32_t>(piece);
      if (read_offset_ < reading_->data_len) continue;
      rte_pktmbuf_free(std::exchange(reading_, nullptr));
      read_offset_ = 0;
    }
    if (n > 0) {
      consumed_ += n;
      link_->consumed.store(consumed_, std::memory_order_release);
      post(core::request_consumed);
    } else if (!buffer.empty() && (bits & core::socket_link::end_of_stream) != 0) {
      end_ = true;
    }
    return n;
  }

  void shut_down_send() { post(core::request_shutdown_send); }
  void close() { let_go(core::request_close); }
  /// Its host has gone without it.
  void forget() noexcept {
    rte_pktmbuf_free(std::exchange(reading_, nullptr));
    delete std::exchange(link_, nullptr);
  }
  /// Resets the connection.
  void abort() { let_go(core::request_close | core::request_abort); }

 private:
  std::uint32_t status() const { return link_->status.load(std::memory_order_acquire); }
  void post(std::uint32_t requests) { post_to(*host_, *link_, requests); }
  void let_go(std::uint32_t requests) {
    if (link_ == nullptr) return;
    rte_pktmbuf_free(std::exchange(reading_, nullptr));
    post(requests);
    link_ = nullptr;
  }

  core::host* host_ = nullptr;
  core::socket_link* link_ = nullptr;
  rte_mbuf* reading_ = nullptr;
  std::uint32_t read_offset_ = 0;
  std::uint64_t consumed_ = 0;
  std::uint64_t written_ = 0;
  bool end_ = false;
};

class app_listener {
 public:
  app_listener(core::host& h, std::uint16_t port, unsigned backlog = 128)
      : host_(h), link_(new core::listener_link(backlog)) {
    link_->port = port;
    post_to(host_, *link_, core::request_listen);
  }
  ~app_listener() { close(); }
  app_listener(const app_listener&) = delete;
  app_listener& operator=(const app_listener&) = delete;

  /// Empty when nobody waits.
  app_socket accept() {
    core::socket_link* link = link_->accepted.pop();
    return link == nullptr ? app_socket() : app_socket(host_, link);
  }
  errc error() const { return static_cast<errc>(link_->error.load(std::memory_order_relaxed)); }
  void close() {
    if (link_ != nullptr) post_to(host_, *std::exchange(link_, nullptr), core::request_close);
  }
  /// Its host has gone, and took the link with it.
  void forget() noexcept { link_ = nullptr; }

 private:
  core::host& host_;
  core::listener_link* link_;
};

}  // namespace nd::test
