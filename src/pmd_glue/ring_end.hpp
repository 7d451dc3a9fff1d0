// A wire inside the process: two ports of net_ring, back to back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "pmd_glue/mempool.hpp"

namespace nd::pmd {

/// One end of the wire of some name, as an ethdev port. Any thread.
class ring_end {
 public:
  /// Throws std::system_error(errc::no_device): both ends are taken, or the port can't be made.
  explicit ring_end(const std::string& name);
  /// The port may be open still, or closed.
  ~ring_end();
  ring_end(const ring_end&) = delete;
  ring_end& operator=(const ring_end&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  /// What this end has sent is in mbufs of `pool`, and the other end may still hold some: it goes
  /// with the wire.
  void keep(mempool_ptr pool);

 private:
  class wire;
  std::shared_ptr<wire> wire_;
  std::size_t side_ = 0;
  std::string device_;
  std::uint16_t port_ = 0;
};

}  // namespace nd::pmd
