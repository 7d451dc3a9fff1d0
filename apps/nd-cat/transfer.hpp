// nd-cat's loop: two directions at once, none of which may hold up the other.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "common/byte_stream.hpp"
#include "common/sha256.hpp"
#include "common/signal.hpp"
#include "nd-cat/progress.hpp"
#include "nd-cat/sink.hpp"
#include "nd-cat/source.hpp"

namespace nd::apps::cat {

/// Bytes between a read and a write. What is read is written from where it stands; the next read
/// waits for that, which bounds the memory and passes back-pressure on.
class relay_buffer {
 public:
  bool empty() const noexcept { return begin_ == end_; }
  std::span<std::byte> room() noexcept { return {bytes_.get(), size}; }
  void fill(std::size_t n) noexcept {
    begin_ = 0;
    end_ = n;
  }
  std::span<const std::byte> rest() const noexcept {
    return {bytes_.get() + begin_, end_ - begin_};
  }
  void take(std::size_t n) noexcept { begin_ += n; }

 private:
  static constexpr std::size_t size = std::size_t{256} << 10;
  std::unique_ptr<std::byte[]> bytes_ = std::make_unique<std::byte[]>(size);
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

struct digests {
  sha256 sent;
  sha256 received;
};

/// Copies `from` to the stream and the stream to `to`, until both have ended: the end of `from`
/// becomes a half close, and the peer's half close the end of `to`. A person at a terminal is not
/// waited for when the peer has ended.
template <byte_stream Stream>
class transfer {
 public:
  /// Adds what goes by to `hashes`, where there are some.
  transfer(Stream& stream, source& from, sink& to, digests* hashes = nullptr)
      : stream_(stream), from_(from), to_(to), hashes_(hashes) {}

  /// One turn, without blocking. False when it is over: then error() says how.
  bool step() {
    send();
    receive();
    return error_.empty() && !(sent_all_ && received_all_);
  }

  const moved& bytes() const noexcept { return moved_; }
  /// Empty if all is well.
  const std::string& error() const noexcept { return error_; }

 private:
  void send() {
    if (sent_all_ || !error_.empty()) return;
    if (outgoing_.empty()) {
      const io_result r = from_.read_some(outgoing_.room());
      switch (r.status) {
        case io_status::ok:
          outgoing_.fill(r.bytes);
          if (hashes_ != nullptr) hashes_->sent.add(outgoing_.rest());
          break;
        case io_status::eof: end_sending(); return;
        case io_status::failed: error_ = "stdin: " + from_.error().message(); return;
        case io_status::would_block:
          if (received_all_ && from_.is_terminal()) end_sending();
          return;
      }
    }
    const io_result r = stream_.write_some(outgoing_.rest());
    if (r.status == io_status::ok) {
      outgoing_.take(r.bytes);
      moved_.sent += r.bytes;
    } else if (r.status != io_status::would_block) {
      fail();
    }
  }

  void receive() {
    if (received_all_ || !error_.empty()) return;
    if (incoming_.empty()) {
      const io_result r = stream_.read_some(incoming_.room());
      switch (r.status) {
        case io_status::ok:
          incoming_.fill(r.bytes);
          if (hashes_ != nullptr) hashes_->received.add(incoming_.rest());
          break;
        case io_status::would_block: return;
        case io_status::failed: fail(); return;
        case io_status::eof:
          received_all_ = true;
          if (!to_.finish()) error_ = "stdout: " + to_.error().message();
          return;
      }
    }
    const io_result r = to_.write_some(incoming_.rest());
    if (r.status == io_status::ok) {
      incoming_.take(r.bytes);
      moved_.received += r.bytes;
    } else if (r.status == io_status::failed) {
      error_ = "stdout: " + to_.error().message();
    }
  }

  void end_sending() {
    stream_.shutdown_send();
    sent_all_ = true;
  }
  void fail() { error_ = stream_.peer() + ": " + stream_.error().message(); }

  Stream& stream_;
  source& from_;
  sink& to_;
  digests* hashes_;
  relay_buffer outgoing_;
  relay_buffer incoming_;
  moved moved_;
  bool sent_all_ = false;
  bool received_all_ = false;
  std::string error_;
};

}  // namespace nd::apps::cat
