// What the apps' loops need of a connection.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>

namespace nd::apps {

enum class io_status : std::uint8_t {
  ok,           ///< some bytes moved, or the connection stands
  would_block,  ///< nothing can be done now
  eof,          ///< the peer's last byte has been read
  failed,       ///< the connection is gone; error() says why
};

struct io_result {
  std::size_t bytes = 0;
  io_status status = io_status::would_block;
};

/// Never blocks. Destroying it closes the connection, and what was written still arrives. The loops
/// are templates over this, so that the same ones run over libndstack, over kernel TCP, and over
/// what a test makes up.
template <class S>
concept byte_stream = std::movable<S> &&
    requires(S s, const S c, std::span<std::byte> in, std::span<const std::byte> out) {
  { s.connect_status() } -> std::same_as<io_status>;  // ok, would_block or failed
  { s.read_some(in) } -> std::same_as<io_result>;
  { s.write_some(out) } -> std::same_as<io_result>;
  { s.shutdown_send() } -> std::same_as<void>;
  { c.error() } -> std::same_as<std::error_code>;
  { c.peer() } -> std::same_as<std::string>;
};

/// One that also sends bytes from where they lie: buffer() is one that nobody reads any more, of
/// those that lend() has made, or empty while there is none; what is written next is of the last
/// one.
template <class S>
concept lending_stream = byte_stream<S> && requires(S s, std::span<const std::byte> out) {
  { s.lend(std::size_t{}, std::size_t{}) } -> std::same_as<void>;
  { s.buffer() } -> std::same_as<std::span<std::byte>>;
  { s.write_lent(out) } -> std::same_as<io_result>;
};

/// Sorts errors of a connect.
enum class connect_failure : std::uint8_t {
  no_server,  ///< nobody is there (yet)
  no_room,    ///< this host is short of ports or memory for now
  other,
};

}  // namespace nd::apps
