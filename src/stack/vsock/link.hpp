// Where an application meets the stack: rings and a few atomics, one link a socket.
#pragma once

#include <rte_prefetch.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/mbuf.hpp"
#include "base/ring.hpp"
#include "base/spsc_ring.hpp"
#include "nd/error.hpp"
#include "wire/record.hpp"

namespace nd::core {

/// What an application can ask of the stack; several may be pending at once.
enum request : std::uint32_t {
  request_connect = 1,
  request_send = 2,      ///< mbufs were put into `to_stack`
  request_consumed = 4,  ///< bytes were read, `consumed` has moved
  request_shutdown_send = 8,
  request_shutdown_receive = 16,
  request_close = 32,  ///< the last one: the application lets go of the link
  request_listen = 64,
  request_abort = 128,  ///< with request_close: reset the connection
};

/// The common part of what an application holds. The stack's mailbox carries pointers to these; a
/// link is in it at most once, while `requests` is not zero.
struct app_end {
  enum class kind : std::uint8_t { socket, listener };

  explicit app_end(kind k) noexcept : what(k) {}

  /// Application: release, after the data that the request is about was written.
  /// Stack: acquire, by exchange(0), before it reads them.
  std::atomic<std::uint32_t> requests{0};
  const kind what;
  std::uint8_t lcore = 0;  ///< the io lcore that serves it; constant once there are requests
};

using mailbox = mpsc_ring<app_end>;

/// Posts a request; `wait()` is called while the mailbox is full. A fetch_or even where the bit may
/// be set already: it is also the fence between writing the ring and reading `requests`.
template <class Wait>
void post(mailbox& box, app_end& end, std::uint32_t requests, Wait&& wait) {
  if (end.requests.fetch_or(requests, std::memory_order_acq_rel) != 0) return;
  while (!box.push(&end)) wait();
}

/// One socket's link. The application posts requests and reads `status`; the stack the reverse. It
/// lives until its socket is gone and the application's request_close was served: both happen on
/// the stack's thread, so the count of the two references needs no atomic.
class socket_link : public app_end {
 public:
  enum status : std::uint32_t {
    connected = 1,
    end_of_stream = 2,  ///< the peer's FIN: nothing will follow what is in `to_app`
    failed = 4,         ///< `error` is set; what is in `to_app` came before
    closed = 8,         ///< the stack has let go
  };

  static constexpr std::uint32_t ring_capacity = 64;

  socket_link() : app_end(kind::socket) {}
  ~socket_link() {
    drop_writes();
    delete responses.load(std::memory_order_relaxed);
    to_stack().release();
    while (rte_mbuf* m = to_app().pop()) rte_pktmbuf_free(m);
    to_app().release();
  }
  socket_link(const socket_link&) = delete;
  socket_link& operator=(const socket_link&) = delete;

  /// Drops one of the two references.
  void release() noexcept {
    if (--references_ == 0) delete this;
  }

  /// Segments, from the application's copy.
  ring_view<rte_mbuf> to_stack() noexcept { return {to_stack_in_, to_stack_out_, ring_capacity}; }
  /// In-order bytes: data_off and data_len say which.
  ring_view<rte_mbuf> to_app() noexcept { return {to_app_in_, to_app_out_, ring_capacity}; }

  /// The stack's: takes the segments that came by the response ring, in any order.
  template <class F>
  void for_each_response(F&& f) noexcept {
    mpsc_ring<rte_mbuf>* const ring = responses.load(std::memory_order_acquire);
    if (ring == nullptr) return;
    std::array<rte_mbuf*, 32> taken;
    while (const std::size_t n = ring->pop(taken)) {
      // Another core has written them.
      for (rte_mbuf* m : std::span(taken).first(n)) rte_prefetch0(&segment_of(m));
      for (rte_mbuf* m : std::span(taken).first(n)) f(m);
    }
  }

  /// The stack's: frees what was written and not taken.
  void drop_writes() noexcept {
    for_each_response([](rte_mbuf* m) { rte_pktmbuf_free(m); });
    while (rte_mbuf* m = to_stack().pop()) rte_pktmbuf_free(m);
  }

  // First cache line, with the requests: hardly ever written but for those.

  // Written by the application before request_connect (or by the stack before the link is handed
  // to an acceptor), constant afterwards.
  std::uint8_t traffic_class = 0;
  std::uint16_t peer_port = 0;
  std::uint32_t peer_address = 0;
  std::uint64_t send_buffer = 0;
  std::uint64_t receive_buffer = 0;
  /// Written by the stack before `connected` is set.
  std::uint16_t local_port = 0;
  std::atomic<std::uint32_t> max_segment{0};  ///< payload bytes an mbuf should carry
  std::atomic<int> error{0};                  ///< an errc; valid once `failed` is seen
  /// The stack's own: the socket behind this link.
  wire::socket_handle owner;

 private:
  int references_ = 2;

 public:
  // Second: written by the application, read by the stack.
  alignas(RTE_CACHE_LINE_SIZE) std::atomic<std::uint64_t> consumed{0};
  /// The response ring: segments of large writes, from whoever copied them. Made by the application
  /// before its first one; null until then.
  std::atomic<mpsc_ring<rte_mbuf>*> responses{nullptr};
  /// Bytes of the application's memory that dcopy lcores are copying from, and to. Release when one
  /// is done, which is the last that it does with this link; acquire to see that it is 0.
  std::atomic<std::uint32_t> copying_out{0};
  std::atomic<std::uint32_t> copying_in{0};

 private:
  ring_in to_stack_in_;
  ring_out to_app_out_;

 public:
  // Third: written by the stack, read by the application.
  alignas(RTE_CACHE_LINE_SIZE) std::atomic<std::uint32_t> status{0};  ///< release; acquire to read
  std::atomic<std::uint32_t> sent{0};       ///< low 32 bits of the bytes of ours that have left
  std::atomic<std::uint64_t> acked{0};      ///< bytes of ours that the peer has acknowledged
  std::atomic<std::uint64_t> delivered{0};  ///< bytes put into `to_app` so far

 private:
  ring_in to_app_in_;
  ring_out to_stack_out_;
};
static_assert(sizeof(socket_link) == 3 * RTE_CACHE_LINE_SIZE, "three lines, one a writer");

/// A listening port's link: connections wait in `accepted`. The stack destroys it when it serves
/// request_close.
class listener_link : public app_end {
 public:
  explicit listener_link(unsigned most) : app_end(kind::listener), backlog(most), accepted(most) {}

  const unsigned backlog;
  std::uint16_t port = 0;                ///< 0: the stack chooses one and writes it before `status`
  bool listening = false;                ///< the stack's own
  std::atomic<std::uint32_t> status{0};  ///< socket_link::status; release, acquire to read
  std::atomic<int> error{0};             ///< an errc; valid once `failed` is seen
  spsc_ring<socket_link> accepted;
};

}  // namespace nd::core
