#include "nd/acceptor.hpp"

#include "api/runtime_impl.hpp"
#include "api/socket_impl.hpp"

namespace nd {
namespace api {

class acceptor_impl {
 public:
  acceptor_impl(runtime_impl& rt, const endpoint& local) : rt_(rt) {
    if (!local.address().is_any() && local.address() != rt.address())
      throw std::system_error(make_error_code(errc::address_not_available), local.to_string());
    link_ = new core::listener_link(static_cast<unsigned>(rt.values().backlog));
    link_->port = local.port();
    rt_.post(*link_, core::request_listen);
    constexpr std::chrono::nanoseconds no_limit{0};
    rt_.wait(false, no_limit, [this] { return status() != 0; });
    const auto error = static_cast<errc>(link_->error.load(std::memory_order_relaxed));
    if ((status() & core::socket_link::connected) == 0) {
      const bool failed = (status() & core::socket_link::failed) != 0;
      close();
      throw std::system_error(make_error_code(failed ? error : errc::interrupted),
                              "listen on " + local.to_string());
    }
  }
  ~acceptor_impl() { close(); }
  acceptor_impl(const acceptor_impl&) = delete;
  acceptor_impl& operator=(const acceptor_impl&) = delete;

  std::unique_ptr<socket_impl> accept(std::error_code& ec) {
    if (link_ == nullptr) {
      ec = errc::bad_descriptor;
      return nullptr;
    }
    core::socket_link* accepted = nullptr;
    ec = rt_.wait(non_blocking, limit.value, [&] {
      accepted = link_->accepted.pop();
      return accepted != nullptr || (status() & core::socket_link::failed) != 0;
    });
    if (accepted == nullptr && !ec)
      ec = static_cast<errc>(link_->error.load(std::memory_order_relaxed));
    return accepted == nullptr ? nullptr : std::make_unique<socket_impl>(rt_, accepted);
  }

  void close() noexcept {
    if (link_ != nullptr) rt_.post(*std::exchange(link_, nullptr), core::request_close);
  }
  bool is_open() const noexcept { return link_ != nullptr; }
  endpoint local_endpoint() const {
    if (link_ == nullptr) throw std::system_error(make_error_code(errc::bad_descriptor));
    return {rt_.address(), link_->port};
  }

  bool non_blocking = false;
  timeout limit;

 private:
  // Pairs with the stack's release: port and error are written before it.
  std::uint32_t status() const noexcept { return link_->status.load(std::memory_order_acquire); }

  runtime_impl& rt_;
  core::listener_link* link_ = nullptr;
};

}  // namespace api

acceptor::acceptor(runtime& rt, const endpoint& local)
    : impl_(std::make_unique<api::acceptor_impl>(rt.impl(), local)) {}
acceptor::acceptor(acceptor&&) noexcept = default;
acceptor& acceptor::operator=(acceptor&&) noexcept = default;
acceptor::~acceptor() = default;

socket acceptor::accept(std::error_code& ec) {
  if (impl_) return socket(impl_->accept(ec));
  ec = errc::bad_descriptor;
  return socket(nullptr);
}
socket acceptor::accept() {
  std::error_code ec;
  socket s = accept(ec);
  if (ec) throw std::system_error(ec, "accept");
  return s;
}
void acceptor::close() noexcept {
  if (impl_) impl_->close();
}
bool acceptor::is_open() const noexcept {
  return impl_ && impl_->is_open();
}
void acceptor::non_blocking(bool on) noexcept {
  if (impl_) impl_->non_blocking = on;
}
bool acceptor::non_blocking() const noexcept {
  return impl_ && impl_->non_blocking;
}
void acceptor::set_option(timeout value) {
  if (impl_) impl_->limit = value;
}
endpoint acceptor::local_endpoint() const {
  if (!impl_) throw std::system_error(make_error_code(errc::bad_descriptor));
  return impl_->local_endpoint();
}

}  // namespace nd
