// What the workloads need of a network. Libndstack and kernel TCP both have it, so that both are
// measured by literally the same loops.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <system_error>

#include "common/byte_stream.hpp"
#include "common/text.hpp"
#include "nd-echo/options.hpp"

namespace nd::apps::echo {

template <class N>
concept network = byte_stream<typename N::stream> &&
    requires(N n, const host_port& peer, mode m, bool flag, std::error_code ec,
             typename N::listener l) {
  // One turn of what moves the bytes. `idle`: no stream can go on by itself, so that a network that
  // blocks may wait here (some milliseconds at most) until one can.
  { n.poll(flag) } -> std::same_as<void>;
  // Starts to connect; the stream says how that went.
  { n.connect(peer, m) } -> std::same_as<typename N::stream>;
  { N::classify(ec) } -> std::same_as<connect_failure>;
  { n.listen(std::uint16_t{}) } -> std::same_as<typename N::listener>;
  // The next connection, if there is one. `idle`: may wait a while for it. Throws
  // std::system_error when the listener is of no more use.
  { l.accept(flag) } -> std::same_as<std::optional<typename N::stream>>;
};

}  // namespace nd::apps::echo
