// What a run of nd-echo, or of its kernel TCP peer, shall do.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/text.hpp"

namespace nd::apps::echo {

enum class role : std::uint8_t { server, client, demo };

/// The values go over the wire (protocol.hpp), but for mixed: its connections are rr and stream.
enum class mode : std::uint8_t { rr = 1, stream = 2, pipeline = 3, crr = 4, mixed = 5 };

std::string_view to_string(mode m) noexcept;

/// Messages of the echoing modes are held whole by the server, one for each connection.
inline constexpr std::uint64_t size_max = std::uint64_t{16} << 20;

struct options {
  echo::role role = role::server;
  host_port peer;  ///< of the client: where to connect
  std::uint16_t port = 4000;
  echo::mode mode = mode::rr;
  std::uint64_t size = 0;         ///< bytes of a message, or of a block of the stream
  std::uint64_t block = 65536;    ///< mixed: bytes of a block of its streams
  std::uint64_t connections = 1;  ///< mixed: streams, beside the one that ping-pongs
  std::uint64_t depth = 32;       ///< messages outstanding: as given for pipeline, 1 for rr and crr
  std::chrono::nanoseconds duration{std::chrono::seconds(5)};
  std::chrono::nanoseconds warmup{std::chrono::milliseconds(500)};
  std::chrono::nanoseconds interval{0};  ///< zero: no lines while it runs
  std::chrono::nanoseconds pause{0};     ///< rr: between round trips
  std::chrono::nanoseconds wait{std::chrono::seconds(5)};
  bool verify = false;
  bool zero_copy = false;  ///< stream: blocks are lent to the stack
  bool once = false;
  bool ring = false;  ///< demo: inside this process
  std::string json;   ///< file name, "-" for stdout, empty for none

  bool has_latency() const noexcept { return mode != mode::stream; }
};

/// With this mode, and the size and depth that go with it where none were given.
options for_mode(options o, mode m);

/// Declares the options and, after parsing, makes one consistent `options` of them.
class option_parser {
 public:
  /// `demo`: whether there is that role.
  option_parser(CLI::App& app, bool demo);
  option_parser(const option_parser&) = delete;
  option_parser& operator=(const option_parser&) = delete;

  /// What is wrong and what would be right; empty if all is well.
  std::string finish();
  const options& result() const noexcept { return result_; }

 private:
  options result_;
  bool server_ = false;
  std::string demo_;
  std::optional<host_port> client_;
  std::string mode_ = "rr";
  std::string roles_;
  CLI::Option* duration_ = nullptr;
};

}  // namespace nd::apps::echo
