// The server's end of one connection.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "common/pattern.hpp"
#include "nd-echo/network.hpp"
#include "nd-echo/protocol.hpp"
#include "nd-echo/turn_clock.hpp"

namespace nd::apps::echo {

/// What a server adds up over all its connections.
struct server_sums {
  std::uint64_t connections = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t errors = 0;
  std::uint64_t verify_failures = 0;
  std::optional<hello> last;  ///< what the last client asked for
  bool verified = false;
};

template <byte_stream Stream>
class served_connection {
 public:
  explicit served_connection(Stream stream) : stream_(std::move(stream)) { reserve(read_size); }

  /// Does what can be done without waiting. True if it could go on at once.
  bool step(const turn_clock& clock, server_sums& sums) {
    if (!flush()) return false;
    if (fin_) {
      if (!shut_down_) stream_.shutdown_send();
      shut_down_ = ended_ = true;
      return false;
    }
    compact();
    const io_result r = stream_.read_some({buffer_.get() + end_, capacity_ - end_});
    switch (r.status) {
      case io_status::would_block: break;
      case io_status::failed: at_failure(); return false;
      case io_status::eof: return at_eof();
      case io_status::ok: on_bytes(r.bytes, sums); break;
    }
    if (ended_) return false;
    if (greeting_ && greeting_->mode == mode::stream) report_now_and_then(clock);
    flush();
    return r.status == io_status::ok && r.bytes >= read_size;
  }

  bool is_stream() const noexcept { return greeting_ && greeting_->mode == mode::stream; }
  bool ended() const noexcept { return ended_; }
  /// Why it ended badly; empty if it did not.
  const std::string& error() const noexcept { return error_; }
  std::string peer() const { return stream_.peer(); }

 private:
  static constexpr std::size_t read_size = 65536;
  static constexpr std::chrono::nanoseconds report_every = std::chrono::milliseconds(1);

  void reserve(std::size_t bytes) {
    auto larger = std::make_unique_for_overwrite<std::byte[]>(bytes);
    if (end_ != 0) std::memcpy(larger.get(), buffer_.get(), end_);
    buffer_ = std::move(larger);
    capacity_ = bytes;
  }

  // New bytes stand at buffer_[end_].
  void on_bytes(std::size_t n, server_sums& sums) {
    std::size_t fresh = end_;
    end_ += n;
    if (!greeting_) {
      if (end_ < hello::size) return;
      greeting_ =
          hello::decode(std::span<const std::byte, hello::size>(buffer_.get(), hello::size));
      if (!greeting_) return fail("this is no client of nd-echo, or one of another version");
      begin_ = ready_ = fresh = hello::size;
      pattern_.emplace(greeting_->seed);
      sums.last = greeting_;
      ++sums.connections;
      if (greeting_->verify) sums.verified = true;
    }
    const std::size_t payload = end_ - fresh;
    if (greeting_->verify) {
      const std::size_t wrong =
          pattern_->mismatches({buffer_.get() + fresh, payload}, received_.bytes);
      received_.verify_failures += wrong;
      sums.verify_failures += wrong;
    }
    received_.bytes += payload;
    sums.bytes += payload;
    partial_ += payload;
    if (partial_ >= greeting_->message_size) {
      sums.messages += partial_ / greeting_->message_size;
      partial_ %= greeting_->message_size;
    }
    if (greeting_->mode == mode::stream) {
      begin_ = ready_ = end_ = 0;  // consumed
      return;
    }
    // Whole messages go back from where they were read to; a partial one waits.
    ready_ = end_ - static_cast<std::size_t>(partial_);
    if (greeting_->message_size > capacity_) reserve(greeting_->message_size);
  }

  // Nothing waits to be echoed: a partial message moves to the front, to be completed there.
  void compact() noexcept {
    if (begin_ == 0) return;
    if (begin_ != end_) std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = ready_ = 0;
  }

  // True if neither echo nor report waits any more.
  bool flush() {
    while (begin_ < ready_) {
      if (!write({buffer_.get() + begin_, ready_ - begin_}, begin_)) return false;
    }
    while (report_sent_ < report::size) {
      if (!write(std::span(report_).subspan(report_sent_), report_sent_)) return false;
    }
    return !ended_;
  }
  bool write(std::span<const std::byte> bytes, std::size_t& position) {
    const io_result r = stream_.write_some(bytes);
    if (r.status == io_status::ok) {
      position += r.bytes;
      return true;
    }
    if (r.status != io_status::would_block) fail(stream_.error().message());
    return false;
  }

  void report_now_and_then(const turn_clock& clock) noexcept {
    if (report_sent_ < report::size || received_.bytes == reported_) return;
    if (clock.now() - reported_at_ < report_every) return;
    reported_at_ = clock.now();
    queue_report();
  }
  void queue_report() noexcept {
    report_ = received_.encode();
    report_sent_ = 0;
    reported_ = received_.bytes;
  }

  bool at_eof() {
    if (!greeting_) {
      // Somebody who looked whether we are here.
      if (end_ == 0)
        ended_ = true;
      else
        fail("the connection ended within its hello");
      return false;
    }
    queue_report();
    fin_ = true;
    return true;
  }

  void at_failure() {
    // A client that gave up before it said a word, as one does whose time was over while it was
    // still connecting, has lost nothing.
    if (!greeting_ && end_ == 0)
      ended_ = true;
    else
      fail(stream_.error().message());
  }

  void fail(std::string why) {
    error_ = std::move(why);
    ended_ = true;
  }

  Stream stream_;
  std::optional<hello> greeting_;
  std::optional<pattern> pattern_;
  report received_;
  std::uint64_t partial_ = 0;  // bytes of a message that is not whole

  // buffer_: [begin_, ready_) goes back, [ready_, end_) is a partial message.
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t ready_ = 0;
  std::size_t end_ = 0;

  std::array<std::byte, report::size> report_{};
  std::size_t report_sent_ = report::size;
  std::uint64_t reported_ = 0;
  turn_clock::time_point reported_at_{};

  bool fin_ = false;  // the client has sent all; the report is the last thing
  bool shut_down_ = false;
  bool ended_ = false;
  std::string error_;
};

}  // namespace nd::apps::echo
