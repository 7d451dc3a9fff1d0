#include <string>

#include "nd/error.hpp"

namespace nd {
namespace {

struct row {
  errc code;
  const char* text;
  std::errc condition;  // the POSIX equal; operation_not_supported: there is none
};
constexpr auto none = std::errc::operation_not_supported;

constexpr row rows[] = {
    {errc::eof, "end of stream", none},
    {errc::would_block, "operation would block", std::errc::operation_would_block},
    {errc::in_progress, "operation in progress", std::errc::operation_in_progress},
    {errc::interrupted, "interrupted", std::errc::interrupted},
    {errc::timed_out, "timed out", std::errc::timed_out},
    {errc::invalid_argument, "invalid argument", std::errc::invalid_argument},
    {errc::not_connected, "not connected", std::errc::not_connected},
    {errc::already_connected, "already connected", std::errc::already_connected},
    {errc::bad_descriptor, "socket is closed", std::errc::bad_file_descriptor},
    {errc::shut_down, "socket was shut down in this direction", std::errc::broken_pipe},
    {errc::address_in_use, "port in use", std::errc::address_in_use},
    {errc::address_not_available, "address or port not available",
     std::errc::address_not_available},
    {errc::host_unreachable, "host unreachable", std::errc::host_unreachable},
    {errc::connection_refused, "connection refused", std::errc::connection_refused},
    {errc::connection_reset, "connection reset by peer", std::errc::connection_reset},
    {errc::connection_aborted, "connection aborted", std::errc::connection_aborted},
    {errc::peer_lost, "peer lost", none},
    {errc::protocol_error, "protocol error", std::errc::protocol_error},
    {errc::no_buffer_space, "no buffer space", std::errc::no_buffer_space},
    {errc::bad_option, "bad option", none},
    {errc::eal_failed, "EAL initialisation failed", none},
    {errc::no_device, "no usable device", std::errc::no_such_device},
};

const row* find(int code) {
  for (const row& r : rows)
    if (static_cast<int>(r.code) == code) return &r;
  return nullptr;
}

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "nd"; }
  std::string message(int code) const override {
    const row* r = find(code);
    return r != nullptr ? r->text : "unknown error " + std::to_string(code);
  }
  std::error_condition default_error_condition(int code) const noexcept override {
    const row* r = find(code);
    if (r == nullptr || r->condition == none) return {code, *this};
    return make_error_condition(r->condition);
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const category instance;
  return instance;
}

}  // namespace nd
