// The application's half of a socket: copies into and out of mbufs, by its own core or by dcopy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "base/lent.hpp"
#include "lcore/dcopy_lcore.hpp"
#include "vsock/link.hpp"

namespace nd::core {

/// What the streams of a runtime share.
struct app_environment {
  rte_mempool* pool = nullptr;     ///< for what is written
  bool digests = false;            ///< segments carry their CRC32C
  bool same_thread = false;        ///< as the stack's: what was written may grow until that runs
  copy_service* copies = nullptr;  ///< null: the application's core copies all
  bool can_lend = false;           ///< the device sends from the application's memory
  bool late_digests = false;       ///< of lent bytes: the channel takes them where it must
  /// Bytes of a socket that its own core copies ahead of what leaves.
  std::uint64_t most_unsent = std::numeric_limits<std::uint64_t>::max();
};

/// Whose memory lent bytes are.
struct lent_source {
  loan_count& loan;
  rte_mempool* pool;  ///< of the mbufs that refer to it
};

/// Reads and writes are each one thread's at a time. Nothing here waits: put() and take() move what
/// they can, and where dcopy lcores copy, the caller's bytes are theirs until copying_out() or
/// copying_in() is false. The link must not be let go before.
class app_stream {
 public:
  app_stream(const app_environment& environment, socket_link& link) noexcept
      : environment_(environment), link_(&link) {}

  // Writing. The caller posts request_send afterwards.

  /// Takes bytes into segments of at most `most` bytes, as many as there are mbufs and room for in
  /// the send buffer and rings. Returns how many.
  std::size_t put(std::span<const std::byte> bytes, std::uint32_t most);
  std::size_t put(std::span<const std::byte> bytes) {
    return put(bytes, link_->max_segment.load(std::memory_order_relaxed));
  }
  /// The same for lent bytes, which stay where they are; copied where can_lend is false.
  std::size_t put_lent(std::span<const std::byte> bytes, std::uint32_t most,
                       const lent_source& from);
  std::size_t put_lent(std::span<const std::byte> bytes, const lent_source& from) {
    return put_lent(bytes, link_->max_segment.load(std::memory_order_relaxed), from);
  }
  bool copying_out() const noexcept { return is_copying(link_->copying_out); }
  std::uint64_t written() const noexcept { return written_; }
  std::uint64_t unacknowledged() const noexcept {
    return written_ - link_->acked.load(std::memory_order_acquire);
  }
  /// Bytes that no channel has taken yet.
  std::uint64_t unsent() const noexcept {
    return static_cast<std::uint32_t>(written_) - link_->sent.load(std::memory_order_relaxed);
  }
  /// Bytes that may be written now.
  std::uint64_t writable() const noexcept {
    const std::uint64_t buffer = room(unacknowledged(), link_->send_buffer);
    if (environment_.copies != nullptr) return buffer;
    return std::min(buffer, room(unsent(), environment_.most_unsent));
  }
  /// Bytes that the stack may not have seen yet, where it runs on the application's thread.
  std::size_t gathered() const noexcept { return gathered_; }

  // Reading. The caller posts request_consumed where something was taken.

  /// Returns how many bytes there were. publish_consumed() tells the stack, when they are copied:
  /// until then their mbufs are in use.
  std::size_t take(std::span<std::byte> buffer);
  bool copying_in() const noexcept { return is_copying(link_->copying_in); }
  void publish_consumed() noexcept {
    link_->consumed.store(consumed_ - lent_, std::memory_order_release);
  }
  /// Lends the next run of bytes, and the mbuf with them; null when there are none. They are not
  /// consumed before they are given back.
  rte_mbuf* lend(std::span<const std::byte>& bytes) noexcept;
  void give_back(std::size_t bytes) noexcept;
  void give_back_all() noexcept { give_back(lent_); }
  /// Bytes that were taken or lent.
  std::uint64_t consumed() const noexcept { return consumed_; }
  std::uint64_t available() const noexcept {
    return link_->delivered.load(std::memory_order_acquire) - consumed_;
  }

 private:
  /// Segments in the response ring and on their way to it: a call writes no more.
  static constexpr std::size_t response_capacity = 511;

  struct piece {
    dcopy::request order;
    std::size_t segments = 0;
  };

  static std::uint64_t room(std::uint64_t held, std::uint64_t most) noexcept {
    return most - std::min(held, most);
  }
  static bool is_copying(const std::atomic<std::uint32_t>& bytes) noexcept {
    return bytes.load(std::memory_order_acquire) != 0;
  }
  void forget_gathered() noexcept;
  std::size_t extend(rte_mbuf* m, std::uint32_t most, std::span<const std::byte> bytes) noexcept;
  std::size_t put_segments(std::span<const std::byte> bytes, std::uint32_t most);
  std::size_t put_pieces(std::span<const std::byte> bytes, std::uint32_t most);
  piece make_piece(std::span<const std::byte> bytes, std::uint64_t offset, std::uint32_t most,
                   std::uint32_t size, std::size_t most_segments) const noexcept;
  std::size_t take_mbufs(std::span<std::byte> buffer) noexcept;
  std::size_t take_pieces(std::span<std::byte> buffer);
  bool next_to_read() noexcept;
  dcopy::request take_piece(std::span<std::byte> buffer, std::uint32_t size) noexcept;
  bool post(const dcopy::request& r, std::atomic<std::uint32_t>& copying,
            const copy_limits& limits) noexcept;

  app_environment environment_;
  socket_link* link_;

  std::uint64_t written_ = 0;
  rte_mbuf* last_ = nullptr;  ///< still in the link's ring, and may grow
  std::size_t gathered_ = 0;
  std::size_t put_cursor_ = 0;

  mbuf_ptr reading_;  ///< taken from the link, read up to read_offset_
  std::uint32_t read_offset_ = 0;
  std::uint64_t consumed_ = 0;
  std::uint64_t lent_ = 0;  ///< bytes of those that were not given back
  std::size_t take_cursor_ = 0;
};

}  // namespace nd::core
