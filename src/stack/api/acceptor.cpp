#include "nd/acceptor.hpp"

#include "api/runtime_impl.hpp"
#include "api/socket_impl.hpp"

namespace nd {
namespace api {

/// Listens on each io lcore: a connection is accepted where its packets are delivered.
class acceptor_impl {
 public:
  acceptor_impl(runtime_impl& rt, const endpoint& local) : rt_(rt) {
    if (!local.address().is_any() && local.address() != rt.address())
      throw std::system_error(make_error_code(errc::address_not_available), local.to_string());
    const auto backlog = static_cast<unsigned>(rt.values().backlog);
    std::uint16_t port = local.port();
    for (unsigned i = 0; i < rt.lcores(); ++i) {
      auto* const link = new core::listener_link((backlog + rt.lcores() - 1) / rt.lcores());
      links_.push_back(link);
      link->port = port;
      link->lcore = static_cast<std::uint8_t>(i);
      listen(*link, local);
      port = link->port;  // the first one chooses, where it may
    }
  }
  ~acceptor_impl() { close(); }
  acceptor_impl(const acceptor_impl&) = delete;
  acceptor_impl& operator=(const acceptor_impl&) = delete;

  std::unique_ptr<socket_impl> accept(std::error_code& ec) {
    if (links_.empty()) {
      ec = errc::bad_descriptor;
      return nullptr;
    }
    core::socket_link* accepted = nullptr;
    const core::listener_link* failed = nullptr;
    ec = rt_.wait(non_blocking, limit.value, [&] {
      for (std::size_t n = 0; n < links_.size() && accepted == nullptr; ++n) {
        core::listener_link& link = *links_[next_++ % links_.size()];
        accepted = link.accepted.pop();
        if ((status_of(link) & core::socket_link::failed) != 0) failed = &link;
      }
      return accepted != nullptr || failed != nullptr;
    });
    if (accepted != nullptr) return std::make_unique<socket_impl>(rt_, accepted);
    if (!ec) ec = error_of(*failed);
    return nullptr;
  }

  void close() noexcept {
    for (core::listener_link* link : std::exchange(links_, {}))
      rt_.post(*link, core::request_close);
  }
  bool is_open() const noexcept { return !links_.empty(); }
  endpoint local_endpoint() const {
    if (links_.empty()) throw std::system_error(make_error_code(errc::bad_descriptor));
    return {rt_.address(), links_.front()->port};
  }

  bool non_blocking = false;
  timeout limit;

 private:
  // Pairs with the stack's release: port and error are written before it.
  static std::uint32_t status_of(const core::listener_link& link) noexcept {
    return link.status.load(std::memory_order_acquire);
  }
  static errc error_of(const core::listener_link& link) noexcept {
    return static_cast<errc>(link.error.load(std::memory_order_relaxed));
  }

  void listen(core::listener_link& link, const endpoint& local) {
    rt_.post(link, core::request_listen);
    constexpr std::chrono::nanoseconds no_limit{0};
    rt_.wait(false, no_limit, [&] { return status_of(link) != 0; });
    const std::uint32_t status = status_of(link);
    if ((status & core::socket_link::connected) != 0) return;
    const bool failed = (status & core::socket_link::failed) != 0;
    const errc error = failed ? error_of(link) : errc::interrupted;
    close();
    throw std::system_error(make_error_code(error), "listen on " + local.to_string());
  }

  runtime_impl& rt_;
  std::vector<core::listener_link*> links_;  ///< of each io lcore
  std::size_t next_ = 0;                     ///< where accept() looks first
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
