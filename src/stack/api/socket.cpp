#include "nd/socket.hpp"

#include "api/socket_impl.hpp"

namespace nd {
namespace {

void raise(const std::error_code& ec, const char* what) {
  if (ec) throw std::system_error(ec, what);
}

std::size_t checked_buffer_size(std::size_t value, const char* name) {
  if (value < (4U << 10) || value > (1U << 30))
    throw std::system_error(
        make_error_code(errc::invalid_argument),
        std::string(name) + ": " + std::to_string(value) + " is outside 4 KiB .. 1 GiB");
  return value;
}

}  // namespace

socket::socket(runtime& rt) : impl_(std::make_unique<api::socket_impl>(rt.impl())) {}
socket::socket(std::unique_ptr<api::socket_impl> impl) noexcept : impl_(std::move(impl)) {}
socket::socket(socket&&) noexcept = default;
socket& socket::operator=(socket&&) noexcept = default;
socket::~socket() = default;

void socket::connect(const endpoint& peer, std::error_code& ec) {
  ec = impl_ ? impl_->connect(peer) : make_error_code(errc::bad_descriptor);
}
void socket::connect(const endpoint& peer) {
  std::error_code ec;
  connect(peer, ec);
  if (ec) throw std::system_error(ec, "connect to " + peer.to_string());
}
bool socket::connected() const noexcept {
  return impl_ && impl_->connected();
}
std::error_code socket::error() const noexcept {
  return impl_ && impl_->has_link() ? impl_->failure() : std::error_code();
}

std::size_t socket::read_some(std::span<std::byte> buffer, std::error_code& ec) {
  if (impl_) return impl_->read_some(buffer, ec);
  ec = errc::bad_descriptor;
  return 0;
}
std::size_t socket::read_some(std::span<std::byte> buffer) {
  std::error_code ec;
  const std::size_t n = read_some(buffer, ec);
  raise(ec, "read_some");
  return n;
}

std::size_t socket::write_some(std::span<const std::byte> buffer, std::error_code& ec) {
  if (impl_) return impl_->write_some(buffer, ec);
  ec = errc::bad_descriptor;
  return 0;
}
std::size_t socket::write_lent(loan& from, std::span<const std::byte> bytes, std::error_code& ec) {
  if (impl_) return impl_->write_lent(from, bytes, ec);
  ec = errc::bad_descriptor;
  return 0;
}
borrowed_bytes socket::borrow(std::error_code& ec) {
  if (impl_) return impl_->borrow(ec);
  ec = errc::bad_descriptor;
  return {};
}
borrowed_bytes socket::borrow() {
  std::error_code ec;
  borrowed_bytes bytes = borrow(ec);
  raise(ec, "borrow");
  return bytes;
}

std::size_t socket::write_some(std::span<const std::byte> buffer) {
  std::error_code ec;
  const std::size_t n = write_some(buffer, ec);
  raise(ec, "write_some");
  return n;
}

std::size_t socket::write_lent(loan& from, std::span<const std::byte> bytes) {
  std::error_code ec;
  const std::size_t n = write_lent(from, bytes, ec);
  raise(ec, "write_lent");
  return n;
}

std::size_t socket::available() const noexcept {
  return impl_ ? impl_->available() : 0;
}
std::size_t socket::unacknowledged() const noexcept {
  return impl_ ? impl_->unacknowledged() : 0;
}

void socket::shutdown(shutdown_type what, std::error_code& ec) {
  ec = impl_ ? impl_->shutdown(what) : make_error_code(errc::bad_descriptor);
}
void socket::shutdown(shutdown_type what) {
  std::error_code ec;
  shutdown(what, ec);
  raise(ec, "shutdown");
}

void socket::close(std::error_code& ec) {
  ec = is_open() ? std::error_code() : make_error_code(errc::bad_descriptor);
  if (impl_) impl_->close();
}
void socket::close() {
  std::error_code ec;
  close(ec);
  raise(ec, "close");
}
void socket::abort() noexcept {
  if (impl_) impl_->abort();
}
bool socket::is_open() const noexcept {
  return impl_ && impl_->is_open();
}

void socket::non_blocking(bool on) noexcept {
  if (impl_) impl_->non_blocking = on;
}
bool socket::non_blocking() const noexcept {
  return impl_ && impl_->non_blocking;
}

namespace {

/// The options' home; what cannot change any more after connect() says so.
api::socket_impl& opened(const std::unique_ptr<api::socket_impl>& impl, bool before_connect) {
  if (!impl || !impl->is_open()) raise(errc::bad_descriptor, "option");
  if (before_connect && impl->has_link())
    raise(errc::already_connected, "option of a connected socket");
  return *impl;
}

}  // namespace

void socket::set_option(traffic_class value) {
  opened(impl_, true).priority = value;
}
void socket::set_option(timeout value) {
  if (value.value.count() < 0) raise(errc::invalid_argument, "timeout");
  opened(impl_, false).limit = value;
}
void socket::set_option(send_buffer_size value) {
  opened(impl_, true).send_buffer = checked_buffer_size(value.value, "send_buffer_size");
}
void socket::set_option(receive_buffer_size value) {
  opened(impl_, true).receive_buffer = checked_buffer_size(value.value, "receive_buffer_size");
}
void socket::get_option(traffic_class& value) const {
  value = opened(impl_, false).priority;
}
void socket::get_option(timeout& value) const {
  value = opened(impl_, false).limit;
}
void socket::get_option(send_buffer_size& value) const {
  value.value = opened(impl_, false).send_buffer;
}
void socket::get_option(receive_buffer_size& value) const {
  value.value = opened(impl_, false).receive_buffer;
}

endpoint socket::local_endpoint() const {
  return opened(impl_, false).local_endpoint();
}
endpoint socket::remote_endpoint() const {
  return opened(impl_, false).remote_endpoint();
}

std::size_t write(socket& s, std::span<const std::byte> buffer, std::error_code& ec) {
  std::size_t n = 0;
  ec.clear();
  while (n < buffer.size() && !ec) n += s.write_some(buffer.subspan(n), ec);
  return n;
}
std::size_t write(socket& s, std::span<const std::byte> buffer) {
  std::error_code ec;
  const std::size_t n = write(s, buffer, ec);
  raise(ec, "write");
  return n;
}

std::size_t read(socket& s, std::span<std::byte> buffer, std::error_code& ec) {
  std::size_t n = 0;
  ec.clear();
  while (n < buffer.size() && !ec) n += s.read_some(buffer.subspan(n), ec);
  return n;
}
std::size_t read(socket& s, std::span<std::byte> buffer) {
  std::error_code ec;
  const std::size_t n = read(s, buffer, ec);
  raise(ec, "read");
  return n;
}

}  // namespace nd
