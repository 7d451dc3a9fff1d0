#include "api/socket_impl.hpp"

#include <algorithm>
#include <utility>

namespace nd::api {

using core::socket_link;

namespace {

// Inline, what is written waits at most for this much company.
constexpr std::size_t gather_limit = 32 * 1024;

}  // namespace

socket_impl::socket_impl(runtime_impl& rt)
    : send_buffer(static_cast<std::size_t>(rt.values().send_buffer)),
      receive_buffer(static_cast<std::size_t>(rt.values().receive_buffer)),
      rt_(rt) {}

socket_impl::socket_impl(runtime_impl& rt, socket_link* link) : socket_impl(rt) {
  use_link(link);
  priority = static_cast<traffic_class>(link->traffic_class);
  send_buffer = link->send_buffer;
  receive_buffer = link->receive_buffer;
}

socket_impl::~socket_impl() {
  close();
}

// --- Life ---------------------------------------------------------------------------------------

std::error_code socket_impl::connect(const endpoint& peer) {
  if (!open_) return errc::bad_descriptor;
  if (link_ != nullptr) {
    if ((status() & socket_link::failed) == 0)
      return connected() ? errc::already_connected : errc::in_progress;
    drop_link();  // a failed one may try again
  }
  if (peer.address().is_any() || peer.port() == 0) return errc::invalid_argument;
  use_link(new socket_link);
  link_->peer_address = peer.address().to_uint();
  link_->peer_port = peer.port();
  link_->traffic_class = static_cast<std::uint8_t>(priority);
  link_->lcore = rt_.next_lcore();
  link_->send_buffer = send_buffer;
  link_->receive_buffer = receive_buffer;
  rt_.post(*link_, core::request_connect);
  const std::error_code ec = rt_.wait(non_blocking, limit.value, [this] {
    return (status() & (socket_link::connected | socket_link::failed)) != 0;
  });
  if (ec == errc::would_block) return errc::in_progress;
  const std::error_code result = ec ? ec : failure();
  if (result && (!ec || ec == errc::timed_out || ec == errc::interrupted)) drop_link();
  return result;
}

void socket_impl::use_link(socket_link* link) noexcept {
  link_ = link;
  stream_.emplace(rt_.app_environment(), *link);
}

void socket_impl::drop_link(std::uint32_t requests) noexcept {
  if (link_ == nullptr) return;
  if (lender_ != nullptr) {
    std::exchange(lender_, nullptr)->socket = nullptr;
    stream_->give_back_all();
  }
  stream_.reset();
  rt_.post(*std::exchange(link_, nullptr), requests);
  send_shut_down_ = receive_shut_down_ = false;
  if (rt_.inline_mode()) rt_.poll();  // so that FIN leaves now
}

void socket_impl::close() noexcept {
  drop_link();
  open_ = false;
}

void socket_impl::abort() noexcept {
  drop_link(core::request_close | core::request_abort);
  open_ = false;
}

std::error_code socket_impl::shutdown(shutdown_type what) {
  if (const std::error_code ec = check_usable()) return ec;
  std::uint32_t requests = 0;
  if (what != shutdown_type::receive) {
    send_shut_down_ = true;
    requests |= core::request_shutdown_send;
  }
  if (what != shutdown_type::send) {
    receive_shut_down_ = true;
    requests |= core::request_shutdown_receive;
  }
  rt_.post(*link_, requests);
  if (rt_.inline_mode()) rt_.poll();
  return {};
}

// --- State --------------------------------------------------------------------------------------

// Pairs with the stack's releases: rings and counters are at least as new as the bits.
std::uint32_t socket_impl::status() const noexcept {
  return link_->status.load(std::memory_order_acquire);
}

std::error_code socket_impl::failure() const noexcept {
  if ((status() & socket_link::failed) == 0) return {};
  return static_cast<errc>(link_->error.load(std::memory_order_relaxed));
}

bool socket_impl::connected() const noexcept {
  return link_ != nullptr &&
         (status() & (socket_link::connected | socket_link::failed)) == socket_link::connected;
}

std::error_code socket_impl::check_usable() const noexcept {
  if (!open_) return errc::bad_descriptor;
  if (link_ == nullptr) return errc::not_connected;
  return {};
}

std::error_code socket_impl::check_readable() const noexcept {
  const std::error_code ec = check_usable();
  return !ec && receive_shut_down_ ? make_error_code(errc::shut_down) : ec;
}

std::size_t socket_impl::available() const noexcept {
  return stream_ ? stream_->available() : 0;
}

std::size_t socket_impl::unacknowledged() const noexcept {
  return stream_ ? stream_->unacknowledged() : 0;
}

endpoint socket_impl::local_endpoint() const {
  if (link_ == nullptr) throw std::system_error(make_error_code(errc::not_connected));
  return {rt_.address(), link_->local_port};
}

endpoint socket_impl::remote_endpoint() const {
  if (link_ == nullptr) throw std::system_error(make_error_code(errc::not_connected));
  return {nd::address(link_->peer_address), link_->peer_port};
}

// --- Reading ------------------------------------------------------------------------------------

/// Waits until `take()` has got something, or there will be nothing more.
template <class Take>
std::size_t socket_impl::receive(std::error_code& ec, Take&& take) {
  ec = check_readable();
  if (ec) return 0;
  std::size_t n = 0;
  std::error_code end;
  const auto done = [&] {
    // Status first: what came before the end of the stream, or an error, is in the ring by then.
    const std::uint32_t bits = status();
    n = take();
    if (n > 0) return true;
    if ((bits & socket_link::end_of_stream) != 0)
      end = errc::eof;
    else if ((bits & socket_link::failed) != 0)
      end = failure();
    return static_cast<bool>(end);
  };
  ec = rt_.wait(non_blocking, limit.value, done);
  if (!ec) ec = end;
  return n;
}

std::size_t socket_impl::read_some(std::span<std::byte> buffer, std::error_code& ec) {
  if (buffer.empty()) {
    ec = check_readable();
    return 0;
  }
  return receive(ec, [&] { return take(buffer); });
}

borrowed_bytes socket_impl::borrow(std::error_code& ec) {
  ec = check_readable();
  if (ec) return {};
  if (lender_ == nullptr) lender_ = std::make_shared<lender>(this);
  std::span<const std::byte> bytes;
  rte_mbuf* m = nullptr;
  receive(ec, [&] {
    m = stream_->lend(bytes);
    return bytes.size();
  });
  if (m == nullptr) return {};
  // The stack gives more when it hears that something was taken; this was not, but made room.
  if (link_->to_app().empty()) rt_.post(*link_, core::request_consumed);
  return {bytes, m, lender_};
}

void socket_impl::give_back(std::size_t bytes) noexcept {
  stream_->give_back(bytes);
  rt_.post(*link_, core::request_consumed);
}

std::size_t socket_impl::take(std::span<std::byte> buffer) {
  if (is_bulk()) buffer = buffer.first(rt_.at_a_time(std::min(buffer.size(), available())));
  std::size_t n = 0;
  {
    const auto copying = rt_.metered_copy();
    n = stream_->take(buffer);
  }
  if (n == 0) return 0;
  rt_.finish_copies([this] { return !stream_->copying_in(); });
  stream_->publish_consumed();
  rt_.post(*link_, core::request_consumed);
  return n;
}

// --- Writing ------------------------------------------------------------------------------------

std::size_t socket_impl::write_some(std::span<const std::byte> buffer, std::error_code& ec) {
  return send(buffer, ec, [this](std::span<const std::byte> bytes) { return stream_->put(bytes); });
}

std::size_t socket_impl::write_lent(loan& from, std::span<const std::byte> buffer,
                                    std::error_code& ec) {
  loan_state* const state = from.state_;
  if (state == nullptr || state->region == nullptr || state->region->runtime() != &rt_ ||
      !state->region->contains(buffer)) {
    ec = errc::invalid_argument;
    return 0;
  }
  const core::lent_source source{*state, rt_.lent_pool()};
  const std::size_t n = send(buffer, ec, [&](std::span<const std::byte> bytes) {
    return stream_->put_lent(bytes, source);
  });
  if (!rt_.app_environment().can_lend) rt_.lent_by_copy.fetch_add(n, std::memory_order_relaxed);
  return n;
}

/// Waits until `put(bytes)` has taken something of the buffer.
template <class Put>
std::size_t socket_impl::send(std::span<const std::byte> buffer, std::error_code& ec, Put&& put) {
  ec = check_usable();
  if (!ec && send_shut_down_) ec = errc::shut_down;
  if (ec || buffer.empty()) return 0;
  std::size_t n = 0;
  const std::size_t most = is_bulk() ? rt_.at_a_time(buffer.size()) : buffer.size();
  // What is cut short leaves the thread to the stack as well.
  const bool at_once = unacknowledged() == 0 || most < buffer.size();
  const auto done = [&] {
    const std::uint32_t bits = status();
    if ((bits & socket_link::failed) != 0) return true;
    if ((bits & socket_link::connected) == 0) return false;
    const auto copying = rt_.metered_copy();
    n = put(buffer.first(most));
    return n > 0;
  };
  ec = rt_.wait(non_blocking, limit.value, done);
  if (n == 0) {
    if (!ec) ec = failure();
    return 0;
  }
  ec.clear();
  rt_.post(*link_, core::request_send);
  // Bytes wait for company only while others are on their way, and not when much has gathered.
  if (rt_.inline_mode() && (at_once || stream_->gathered() >= gather_limit)) rt_.poll();
  rt_.finish_copies([this] { return !stream_->copying_out(); });
  return n;
}

}  // namespace nd::api
