#include "api/socket_impl.hpp"

#include <algorithm>
#include <cstring>

#include "wire/checksum.hpp"

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
  link_ = link;
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
  link_ = new socket_link;
  link_->peer_address = peer.address().to_uint();
  link_->peer_port = peer.port();
  link_->traffic_class = static_cast<std::uint8_t>(priority);
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

void socket_impl::drop_link(std::uint32_t requests) noexcept {
  if (link_ == nullptr) return;
  rte_pktmbuf_free(std::exchange(reading_, nullptr));
  rt_.post(*std::exchange(link_, nullptr), requests);
  read_offset_ = 0;
  consumed_ = written_ = 0;
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

std::size_t socket_impl::available() const noexcept {
  return link_ == nullptr ? 0 : link_->delivered.load(std::memory_order_acquire) - consumed_;
}

std::size_t socket_impl::unacknowledged() const noexcept {
  return link_ == nullptr ? 0 : written_ - link_->acked.load(std::memory_order_acquire);
}

std::size_t socket_impl::writable() const noexcept {
  const std::uint64_t held = unacknowledged();
  return held >= link_->send_buffer ? 0 : link_->send_buffer - held;
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

std::size_t socket_impl::read_some(std::span<std::byte> buffer, std::error_code& ec) {
  ec = check_usable();
  if (!ec && receive_shut_down_) ec = errc::shut_down;
  if (ec || buffer.empty()) return 0;
  std::size_t n = 0;
  std::error_code end;
  const auto done = [&] {
    // Status first: what came before the end of the stream, or an error, is in the ring by then.
    const std::uint32_t bits = status();
    n = take(buffer);
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

std::size_t socket_impl::take(std::span<std::byte> buffer) noexcept {
  const auto copying = rt_.metered_copy();
  std::size_t n = 0;
  while (n < buffer.size()) {
    if (reading_ == nullptr) {
      reading_ = link_->to_app().pop();
      if (reading_ == nullptr) break;
      read_offset_ = 0;
    }
    const std::size_t piece =
        std::min<std::size_t>(buffer.size() - n, reading_->data_len - read_offset_);
    std::memcpy(&buffer[n], rte_pktmbuf_mtod_offset(reading_, std::byte*, read_offset_), piece);
    n += piece;
    read_offset_ += static_cast<std::uint32_t>(piece);
    if (read_offset_ == reading_->data_len) rte_pktmbuf_free(std::exchange(reading_, nullptr));
  }
  if (n > 0) {
    consumed_ += n;
    link_->consumed.store(consumed_, std::memory_order_release);
    rt_.post(*link_, core::request_consumed);
  }
  return n;
}

// --- Writing ------------------------------------------------------------------------------------

std::size_t socket_impl::write_some(std::span<const std::byte> buffer, std::error_code& ec) {
  ec = check_usable();
  if (!ec && send_shut_down_) ec = errc::shut_down;
  if (ec || buffer.empty()) return 0;
  std::size_t n = 0;
  const bool quiet = unacknowledged() == 0;
  const auto done = [&] {
    const std::uint32_t bits = status();
    if ((bits & socket_link::failed) != 0) return true;
    if ((bits & socket_link::connected) == 0) return false;
    n = put(buffer.first(std::min(buffer.size(), writable())));
    return n > 0;
  };
  ec = rt_.wait(non_blocking, limit.value, done);
  if (n == 0) {
    if (!ec) ec = failure();
    return 0;
  }
  ec.clear();
  written_ += n;
  rt_.post(*link_, core::request_send);
  // Bytes wait for company only while others are on their way, and not when much has gathered.
  if (rt_.inline_mode() && (quiet || gathered_ >= gather_limit)) rt_.poll();
  return n;
}

std::size_t socket_impl::put(std::span<const std::byte> bytes) noexcept {
  const auto copying = rt_.metered_copy();
  if (link_->to_stack().empty()) {
    last_ = nullptr;
    gathered_ = 0;
  }
  const std::uint32_t most = link_->max_segment.load(std::memory_order_relaxed);
  std::size_t n = last_ != nullptr ? extend(last_, most, bytes) : 0;
  while (n < bytes.size() && link_->to_stack().free_slots() > 0) {
    mbuf_ptr owned(allocate_segment(rt_.host().tx_pool()));
    rte_mbuf* const m = owned.get();
    if (m == nullptr) break;
    segment_of(m).offset = written_ + n;
    if (rt_.host().digests()) segment_of(m).digest = wire::crc32c_start;
    const std::size_t piece = extend(m, most, bytes.subspan(n));
    if (!link_->to_stack().push(m)) break;
    static_cast<void>(owned.release());
    n += piece;
    if (rt_.inline_mode()) last_ = m;  // elsewhere the stack may have it already
  }
  gathered_ += n;
  return n;
}

/// Copies what there is room for behind a segment's bytes.
std::size_t socket_impl::extend(rte_mbuf* m, std::uint32_t most,
                                std::span<const std::byte> bytes) noexcept {
  segment& s = segment_of(m);
  const std::uint32_t room = std::min(most, tx_capacity(m));
  if (s.length >= room) return 0;
  const auto piece = bytes.first(std::min<std::size_t>(bytes.size(), room - s.length));
  std::byte* const to = tx_payload(m) + s.length;
  if (rt_.host().digests())
    s.digest = wire::copy_crc32c(s.digest, to, piece);
  else
    std::memcpy(to, piece.data(), piece.size());
  s.length += static_cast<std::uint32_t>(piece.size());
  return piece.size();
}

}  // namespace nd::api
