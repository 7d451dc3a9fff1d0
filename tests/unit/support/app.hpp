// What an application does with a socket, as api/socket_impl.cpp does it, but it never waits.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "lcore/app_stream.hpp"
#include "lcore/host.hpp"

namespace nd::test {

/// Tests never fill a mailbox.
inline void post_to(core::host& h, core::app_end& end, std::uint32_t requests) {
  core::post(h.mailbox(), end, requests, [] { std::abort(); });
}

/// What an application has lent of its memory, and of which mbufs that is made.
struct lending {
  rte_mempool* pool = nullptr;
  std::atomic<std::size_t> live{0};  ///< loans that are not returned
};

/// A copy of some bytes, which is overwritten and freed as soon as it is returned: whoever reads it
/// later sends wrong bytes.
class made_loan final : public loan_count {
 public:
  made_loan(std::span<const std::byte> bytes, std::atomic<std::size_t>& live)
      : bytes_(bytes.begin(), bytes.end()), live_(live) {
    ++live_;
  }
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  ~made_loan() override {
    std::ranges::fill(bytes_, std::byte{0xdd});
    --live_;
  }
  std::vector<std::byte> bytes_;
  std::atomic<std::size_t>& live_;
};

class app_socket {
 public:
  app_socket() = default;
  /// Connects.
  app_socket(core::host& h, std::uint32_t peer, std::uint16_t port, std::uint8_t traffic_class,
             const settings& values, core::copy_service* copies = nullptr)
      : app_socket(h, new core::socket_link, copies) {
    link_->peer_address = peer;
    link_->peer_port = port;
    link_->traffic_class = traffic_class;
    link_->lcore = static_cast<std::uint8_t>(h.place().index);
    link_->send_buffer = static_cast<std::uint64_t>(values.send_buffer);
    link_->receive_buffer = static_cast<std::uint64_t>(values.receive_buffer);
    post(core::request_connect);
  }
  /// A connection that the stack accepted.
  app_socket(core::host& h, core::socket_link* link, core::copy_service* copies = nullptr)
      : host_(&h), link_(link), has_copies_(copies != nullptr) {
    stream_.emplace(core::app_environment{.pool = h.tx_pool(),
                                          .digests = h.digests(),
                                          .copies = copies,
                                          .can_lend = h.can_lend(),
                                          .late_digests = h.late_digests(),
                                          .most_unsent = h.most_unsent()},
                    *link);
  }
  app_socket(app_socket&& o) noexcept { *this = std::move(o); }
  app_socket& operator=(app_socket&& o) noexcept {
    std::swap(host_, o.host_);
    std::swap(link_, o.link_);
    std::swap(stream_, o.stream_);
    std::swap(end_, o.end_);
    std::swap(has_copies_, o.has_copies_);
    std::swap(writing_, o.writing_);
    std::swap(read_, o.read_);
    std::swap(handed_out_, o.handed_out_);
    std::swap(dcopy_reads_, o.dcopy_reads_);
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
  /// Dcopy lcores are at work for it: an application would still be in its call.
  bool is_copying() const noexcept { return is_copying_out() || stream_->copying_in(); }
  bool is_copying_out() const noexcept { return stream_->copying_out(); }
  std::uint64_t written() const noexcept { return stream_->written(); }
  std::uint64_t consumed() const noexcept {
    return stream_->consumed() - (read_.size() - handed_out_);
  }
  std::uint64_t unacknowledged() const noexcept { return stream_->unacknowledged(); }

  /// Writes what fits, up to `at_most` bytes an mbuf. With dcopy lcores, nothing while they copy.
  std::size_t write(std::span<const std::byte> bytes, std::size_t at_most = 65535) {
    if (!connected() || stream_->copying_out()) return 0;
    if (has_copies_) {
      writing_.assign(bytes.begin(), bytes.end());  // and what was there is another's by now
      bytes = writing_;
    }
    const auto most = static_cast<std::uint32_t>(
        std::min<std::size_t>(at_most, link_->max_segment.load(std::memory_order_relaxed)));
    const std::size_t n = stream_->put(bytes, most);
    if (n > 0) post(core::request_send);
    return n;
  }

  /// Lends what fits.
  std::size_t write_lent(std::span<const std::byte> bytes, lending& of,
                         std::size_t at_most = 65535) {
    if (!host_->can_lend()) return write(bytes, at_most);
    if (!connected() || stream_->copying_out()) return 0;
    const auto most = static_cast<std::uint32_t>(
        std::min<std::size_t>(at_most, link_->max_segment.load(std::memory_order_relaxed)));
    auto* const loan = new made_loan(bytes, of.live);
    const std::size_t n = stream_->put_lent(loan->bytes(), most, {*loan, of.pool});
    loan->give_back();
    if (n > 0) post(core::request_send);
    return n;
  }

  /// With dcopy lcores, what they copy comes with a later call.
  std::size_t read(std::span<std::byte> buffer) {
    const std::uint32_t bits = status();
    const std::size_t n = has_copies_ ? take_by_dcopy(buffer) : take(buffer);
    if (n == 0 && !buffer.empty() && !stream_->copying_in() &&
        (bits & core::socket_link::end_of_stream) != 0)
      end_ = true;
    return n;
  }

  void shut_down_send() { post(core::request_shutdown_send); }
  void close() { let_go(core::request_close); }
  /// Its host has gone without it.
  void forget() noexcept {
    stream_.reset();
    delete std::exchange(link_, nullptr);
  }
  /// Resets the connection.
  void abort() { let_go(core::request_close | core::request_abort); }

 private:
  std::uint32_t status() const { return link_->status.load(std::memory_order_acquire); }
  void post(std::uint32_t requests) { post_to(*host_, *link_, requests); }
  void let_go(std::uint32_t requests) {
    if (link_ == nullptr) return;
    if (std::exchange(dcopy_reads_, false)) stream_->publish_consumed();
    stream_.reset();
    post(requests);
    link_ = nullptr;
  }
  std::size_t take(std::span<std::byte> buffer) {
    const std::size_t n = stream_->take(buffer);
    if (n > 0 && !stream_->copying_in()) say_consumed();
    return n;
  }
  void say_consumed() {
    stream_->publish_consumed();
    post(core::request_consumed);
  }
  std::size_t take_by_dcopy(std::span<std::byte> buffer) {
    if (stream_->copying_in()) return 0;
    if (std::exchange(dcopy_reads_, false)) say_consumed();
    if (handed_out_ == read_.size()) {
      read_.resize(buffer.size());
      read_.resize(take(read_));
      handed_out_ = 0;
      dcopy_reads_ = stream_->copying_in();
      if (dcopy_reads_) return 0;
    }
    const auto part = std::span(read_)
                          .subspan(handed_out_)
                          .first(std::min(buffer.size(), read_.size() - handed_out_));
    std::ranges::copy(part, buffer.begin());
    handed_out_ += part.size();
    return part.size();
  }

  core::host* host_ = nullptr;
  core::socket_link* link_ = nullptr;
  std::optional<core::app_stream> stream_;
  bool end_ = false;
  bool has_copies_ = false;
  std::vector<std::byte> writing_;  ///< with dcopy lcores: the caller's bytes
  std::vector<std::byte> read_;     ///< likewise
  std::size_t handed_out_ = 0;      ///< of read_
  bool dcopy_reads_ = false;        ///< into read_, and the stack was not told
};

class app_listener {
 public:
  app_listener(core::host& h, std::uint16_t port, unsigned backlog = 128,
               core::copy_service* copies = nullptr)
      : host_(h), link_(new core::listener_link(backlog)), copies_(copies) {
    link_->port = port;
    post_to(host_, *link_, core::request_listen);
  }
  ~app_listener() { close(); }
  app_listener(const app_listener&) = delete;
  app_listener& operator=(const app_listener&) = delete;

  /// Empty when nobody waits.
  app_socket accept() {
    core::socket_link* link = link_->accepted.pop();
    return link == nullptr ? app_socket() : app_socket(host_, link, copies_);
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
  core::copy_service* copies_;
};

}  // namespace nd::test
