// Frames without a protocol over one port: what a device can do at most.
#pragma once

#include <rte_mempool.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/port.hpp"
#include "pmd_glue/clock.hpp"

namespace nd::bench {

/// In the IPv4 identification, so that frames need no header of their own.
enum class frame_kind : std::uint16_t { data = 1, hello, welcome, stop, stopped };

/// One end. Each byte is copied once from the application's buffer into an mbuf, and once from an
/// mbuf into the application's buffer, as any stack must do. Frames are IPv4 packets of the
/// protocol that libndstack uses, so that they take the same way through a kernel.
class raw_link {
 public:
  raw_link(std::unique_ptr<port> device, rte_mempool* pool, std::uint32_t own, std::uint32_t peer);
  ~raw_link();
  raw_link(const raw_link&) = delete;
  raw_link& operator=(const raw_link&) = delete;

  struct arrivals {
    std::size_t bytes = 0;  ///< of data, copied out
    std::size_t packets = 0;
    bool hello = false;
    bool welcome = false;
    bool stop = false;
    bool stopped = false;
  };

  std::size_t payload_max() const noexcept;
  /// As of the last receive(): one reading a turn.
  instant now() const noexcept { return now_; }

  /// One burst. A hello and a welcome tell the peer's MAC address.
  arrivals receive();
  /// Puts one frame with `bytes` of the application's bytes behind those that wait. False: it has
  /// to wait until flush() has made room.
  bool send(frame_kind kind, std::size_t bytes);
  /// As many frames of at most payload_max() as `bytes` need; returns the bytes that were taken.
  std::size_t send_data(std::size_t bytes);
  /// One burst, of what waits. True if nothing waits any more.
  bool flush();

  /// False if bytes that came are not those that are sent.
  bool received_well() const noexcept;
  std::uint64_t received() const noexcept { return received_; }

 private:
  static constexpr std::size_t burst = 32;

  std::unique_ptr<port> device_;
  rte_mempool* pool_;
  pmd::tsc_clock clock_;
  instant now_;
  std::uint32_t own_;
  std::uint32_t peer_;
  mac_address peer_mac_ = mac_broadcast;
  std::array<rte_mbuf*, burst> waiting_{};
  std::size_t waiting_count_ = 0;
  std::vector<std::byte> source_;
  std::vector<std::byte> sink_;
  std::size_t source_at_ = 0;
  std::size_t sink_at_ = 0;
  std::uint64_t received_ = 0;
};

}  // namespace nd::bench
