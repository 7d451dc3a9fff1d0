// A client's connection, from its hello to the server's last report.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "common/pattern.hpp"
#include "nd-echo/bench.hpp"
#include "nd-echo/network.hpp"
#include "nd-echo/outbox.hpp"
#include "nd-echo/protocol.hpp"

namespace nd::apps::echo {

template <byte_stream Stream>
class client_connection {
 public:
  /// `stream` is connected. `chunk`: payload that one write shall carry.
  /// `zero_copy`: it is lent, where the network has that.
  client_connection(Stream stream, const hello& greeting, std::size_t chunk, bool zero_copy)
      : stream_(std::move(stream)),
        greeting_(greeting),
        echoes_(greeting.mode != mode::stream),
        outbox_(greeting, zero_copy ? 0 : chunk),
        zero_copy_(zero_copy),
        pattern_(greeting.seed) {
    if constexpr (lending_stream<Stream>)
      if (zero_copy) stream_.lend(std::max(least_lent / chunk, std::size_t{2}), chunk);
  }

  /// Payload to be sent by the next flush().
  void queue(std::uint64_t bytes) noexcept {
    if (zero_copy_)
      to_lend_ += bytes;
    else
      outbox_.queue(bytes);
    queued_ += bytes;
  }
  /// No more payload comes: FIN follows what is queued.
  void finish() noexcept { finishing_ = true; }

  /// Writes what is queued until the network takes no more. True if nothing is left.
  bool flush(bench& b) {
    if (ended_) return false;
    while (has_queued())
      if (!write(b)) return false;
    if (finishing_ && !shut_down_) {
      shut_down_ = true;
      stream_.shutdown_send();
    }
    return true;
  }

  bool has_queued() const noexcept { return !outbox_.empty() || to_lend_ > 0 || !lending_.empty(); }
  /// One write of what is queued. False if the network takes nothing now.
  bool write(bench& b) {
    if (ended_) return false;
    if constexpr (lending_stream<Stream>)
      if (outbox_.empty() && zero_copy_) return write_lent(b);
    const io_result r = stream_.write_some(outbox_.front());
    if (r.status == io_status::would_block) return false;
    if (r.status != io_status::ok) return fail(b, stream_.error().message());
    outbox_.pop(r.bytes);
    return true;
  }

  struct arrival {
    std::uint64_t payload = 0;  ///< bytes of echo
    bool more = false;          ///< the buffer was filled: there may be more
  };

  /// Reads once: echo is checked and counted, reports are kept.
  arrival receive(bench& b) {
    if (ended_) return {};
    const std::span<std::byte> buffer = b.scratch();
    const io_result r = stream_.read_some(buffer);
    switch (r.status) {
      case io_status::would_block: return {};
      case io_status::failed: fail(b, stream_.error().message()); return {};
      case io_status::eof: at_eof(b); return {};
      case io_status::ok: break;
    }
    const std::span<const std::byte> in = buffer.first(r.bytes);
    const std::uint64_t expected = echoes_ ? queued_ - echoed_ : 0;
    const auto payload = static_cast<std::size_t>(std::min<std::uint64_t>(r.bytes, expected));
    if (greeting_.verify && payload != 0) {
      b.verify_failures += pattern_.mismatches(in.first(payload), echoed_);
    }
    echoed_ += payload;
    if (payload != in.size()) reports_.take(in.subspan(payload));
    return {payload, r.bytes == buffer.size()};
  }

  /// Bytes that the server says it has received.
  std::uint64_t confirmed() const noexcept { return reports_.last() ? reports_.last()->bytes : 0; }

  /// Both directions have ended well, or the connection has failed.
  bool ended() const noexcept { return ended_; }
  bool failed() const noexcept { return failed_; }

  /// Counts an error unless the connection has ended.
  void give_up(bench& b, std::string_view why) {
    if (!ended_) fail(b, why);
  }

 private:
  /// Of its buffers, in bytes: more than a send buffer holds.
  static constexpr std::size_t least_lent = std::size_t{4} << 20;

  bool write_lent(bench& b) {
    if (lending_.empty()) {
      const std::span<std::byte> buffer = stream_.buffer();
      if (buffer.empty()) return false;
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(to_lend_, buffer.size()));
      lending_ = buffer.first(n);
      if (greeting_.verify) pattern_.fill(buffer.first(n), queued_ - to_lend_);
      to_lend_ -= n;
    }
    const io_result r = stream_.write_lent(lending_);
    if (r.status == io_status::would_block) return false;
    if (r.status != io_status::ok) return fail(b, stream_.error().message());
    lending_ = lending_.subspan(r.bytes);
    return true;
  }
  void at_eof(bench& b) {
    if (!shut_down_) {
      fail(b, "the server closed the connection");
    } else if (echoes_ && echoed_ != queued_) {
      fail(b, fmt::format("{} of {} bytes came back", echoed_, queued_));
    } else if (!reports_.last() || reports_.partial()) {
      fail(b, "the connection ended without the server's report");
    } else if (confirmed() != queued_) {
      fail(b, fmt::format("the server received {} of {} bytes", confirmed(), queued_));
    } else {
      end(b);
    }
  }
  bool fail(bench& b, std::string_view why) {
    b.error(stream_.peer(), why);
    failed_ = true;
    end(b);
    return false;
  }
  void end(bench& b) noexcept {
    ended_ = true;
    if (reports_.last()) b.verify_failures += reports_.last()->verify_failures;
  }

  Stream stream_;
  hello greeting_;
  bool echoes_;
  outbox outbox_;
  bool zero_copy_;
  std::uint64_t to_lend_ = 0;           ///< payload that is in no buffer yet
  std::span<const std::byte> lending_;  ///< of the last buffer, not taken yet
  pattern pattern_;
  report_reader reports_;
  std::uint64_t queued_ = 0;
  std::uint64_t echoed_ = 0;
  bool finishing_ = false;
  bool shut_down_ = false;
  bool ended_ = false;
  bool failed_ = false;
};

}  // namespace nd::apps::echo
