// Bytes on their way out of a client.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "common/pattern.hpp"
#include "nd-echo/protocol.hpp"

namespace nd::apps::echo {

/// A hello, then any amount of payload, made as it is needed. Without verification the payload's
/// contents do not matter, so they are not made again.
class outbox {
 public:
  /// `chunk`: how much payload one write shall carry, if so much is queued.
  outbox(const hello& greeting, std::size_t chunk)
      : buffer_(std::make_unique<std::byte[]>(hello::size + chunk)),
        chunk_(chunk),
        verify_(greeting.verify),
        pattern_(greeting.seed) {
    const std::array<std::byte, hello::size> first = greeting.encode();
    std::memcpy(buffer_.get(), first.data(), first.size());
    end_ = hello::size;
  }

  void queue(std::uint64_t payload) noexcept { waiting_ += payload; }
  bool empty() const noexcept { return begin_ == end_ && waiting_ == 0; }

  /// The bytes to write next; take off with pop() what was taken.
  std::span<const std::byte> front() noexcept {
    if (begin_ == end_) begin_ = end_ = 0;
    // Behind what is left of the hello there is room for a whole chunk: first message and hello
    // leave in one write.
    if (waiting_ != 0 && end_ <= hello::size) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(waiting_, chunk_));
      if (verify_) pattern_.fill({buffer_.get() + end_, n}, offset_);
      end_ += n;
      offset_ += n;
      waiting_ -= n;
    }
    return {buffer_.get() + begin_, end_ - begin_};
  }
  void pop(std::size_t n) noexcept { begin_ += n; }

 private:
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t chunk_;
  std::size_t begin_ = 0;  // of what is made and not written
  std::size_t end_ = 0;
  std::uint64_t waiting_ = 0;  // payload not made yet
  std::uint64_t offset_ = 0;   // of the next payload byte to be made
  bool verify_;
  pattern pattern_;
};

}  // namespace nd::apps::echo
