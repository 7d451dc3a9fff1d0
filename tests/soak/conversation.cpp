#include "soak/conversation.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

namespace nd::soak {
namespace {

constexpr std::uint64_t magic = 0x6b616f732d646e21;

// Nothing at all in this time is a connection that stands still: longer than any timeout of the
// stack, and than a process starves on a busy machine.
constexpr auto stuck_after = std::chrono::seconds(180);

std::span<std::byte> scratch() {
  static std::vector<std::byte> bytes(65'536);
  return bytes;
}

}  // namespace

conversation::conversation(nd::socket s, std::uint64_t seed, clock::time_point now)
    : socket_(std::move(s)), opener_(true), stands_(false), last_progress_(now) {
  set_plan(seed);
  std::memcpy(hello_.data(), &magic, 8);
  std::memcpy(hello_.data() + 8, &seed, 8);
}

conversation::conversation(nd::socket s, clock::time_point now)
    : socket_(std::move(s)), opener_(false), stands_(true), last_progress_(now) {}

void conversation::set_plan(std::uint64_t seed) {
  has_plan_ = true;
  seed_ = seed;
  plan_ = make_plan(seed);
  mine_ = opener_ ? plan_.from_opener : plan_.from_acceptor;
  theirs_ = opener_ ? plan_.from_acceptor : plan_.from_opener;
  sent_pattern_ = apps::pattern(2 * seed + (opener_ ? 0 : 1));
  received_pattern_ = apps::pattern(2 * seed + (opener_ ? 1 : 0));
  pauses_.seed(seed + 1);
}

bool conversation::peer_resets() const noexcept {
  if (!opener_ && plan_.end == ending::opener_leaves) return true;
  return plan_.end == (opener_ ? ending::acceptor_resets : ending::opener_resets);
}
bool conversation::i_reset() const noexcept {
  return plan_.end == (opener_ ? ending::opener_resets : ending::acceptor_resets);
}

outcome conversation::wrong(const std::string& why) {
  what_ = std::string(opener_ ? "opener" : "acceptor") + ", seed " + std::to_string(seed_) +
          ", ending " + std::to_string(static_cast<int>(plan_.end)) + ", " + std::to_string(sent_) +
          " of " + std::to_string(mine_.bytes) + " sent, " + std::to_string(received_) + " of " +
          std::to_string(theirs_.bytes) + " received: " + why;
  return outcome::wrong;
}

outcome conversation::on_error(std::error_code ec) {
  if (ec == errc::peer_lost || ec == errc::host_unreachable || ec == errc::timed_out)
    return outcome::lost;
  if (ec == errc::connection_reset) {
    if (has_plan_ && peer_resets()) return outcome::as_planned;
    wrong("reset by the other side");
    return outcome::reset;
  }
  return wrong(ec.message());
}

outcome conversation::connect_step(clock::time_point now) {
  if (socket_.connected()) {
    stands_ = true;
    last_progress_ = now;
    return outcome::running;
  }
  const std::error_code ec = socket_.error();
  if (!ec) return outcome::running;
  if (ec == errc::connection_refused || ec == errc::no_buffer_space) return outcome::refused;
  // One that asks a peer that starts again may meet the one before.
  if (ec == errc::connection_reset) return outcome::lost;
  return on_error(ec);
}

/// True when the hello is through.
bool conversation::hello_step() {
  std::error_code ec;
  const auto rest = std::span(hello_).subspan(hello_done_);
  hello_done_ += opener_ ? socket_.write_some(rest, ec) : socket_.read_some(rest, ec);
  return hello_done_ == hello_bytes;
}

outcome conversation::step(clock::time_point now, bool hurry) {
  if (hurry) next_write_ = next_read_ = now;
  if (!stands_) {
    const outcome o = connect_step(now);
    if (!stands_ || o != outcome::running) return o;
  }
  if (hello_done_ < hello_bytes) {
    if (hello_step()) {
      last_progress_ = now;
      std::array<std::uint64_t, 2> words{};
      std::memcpy(words.data(), hello_.data(), hello_bytes);
      if (words[0] != magic) return wrong("the first bytes are no hello");
      if (!has_plan_) set_plan(words[1]);
    } else if (const std::error_code ec = socket_.error()) {
      // A reset may overtake the hello.
      if (ec == errc::connection_reset && !has_plan_) return outcome::as_planned;
      return on_error(ec);
    } else if (now - last_progress_ > stuck_after) {
      return wrong("stands still before the hello");
    } else {
      return outcome::running;
    }
  }
  if (outcome o = read_step(now); o != outcome::running) return o;
  if (outcome o = write_step(now); o != outcome::running) return o;
  if (ended_ && saw_end_) {
    socket_.close();
    return outcome::as_planned;
  }
  if (now - last_progress_ > stuck_after) return wrong("stands still");
  return outcome::running;
}

outcome conversation::write_step(clock::time_point now) {
  if (ended_ || now < next_write_) return outcome::running;
  if (plan_.end == ending::one_by_one && !opener_ && !saw_end_) return outcome::running;
  if (i_reset() && sent_ >= plan_.reset_at) {
    socket_.abort();
    return outcome::as_planned;
  }
  if (sent_ < mine_.bytes) {
    std::uint64_t most = std::min<std::uint64_t>(mine_.bytes - sent_, mine_.write_most);
    if (i_reset()) most = std::min(most, plan_.reset_at - sent_);
    const auto bytes = scratch().first(most);
    sent_pattern_.fill(bytes, sent_);
    std::error_code ec;
    const std::size_t n = socket_.write_some(bytes, ec);
    sent_ += n;
    if (n > 0) last_progress_ = now;
    if (ec && ec != errc::would_block) return on_error(ec);
    if (n > 0 && chance(pauses_, mine_.write_pauses))
      next_write_ = now + std::chrono::microseconds(below(
                              pauses_, static_cast<std::uint64_t>(mine_.longest_pause.count())));
  }
  if (sent_ < mine_.bytes || i_reset()) return outcome::running;
  if (opener_ && plan_.end == ending::opener_leaves) {
    socket_.close();
    return outcome::as_planned;
  }
  std::error_code ec;
  socket_.shutdown(shutdown_type::send, ec);
  if (ec) return on_error(ec);
  ended_ = true;
  last_progress_ = now;
  return outcome::running;
}

outcome conversation::read_step(clock::time_point now) {
  if (saw_end_ || now < next_read_) {
    // Resets must be noticed all the same.
    if (const std::error_code ec = socket_.error(); ec && socket_.available() == 0)
      return on_error(ec);
    return outcome::running;
  }
  if (opener_ && plan_.end == ending::opener_leaves) return outcome::running;
  const auto buffer = scratch().first(std::min(theirs_.read_most, scratch().size()));
  std::error_code ec;
  const std::size_t n = socket_.read_some(buffer, ec);
  if (n > 0) {
    last_progress_ = now;
    if (received_ + n > theirs_.bytes) return wrong("more bytes than there are");
    const std::size_t bad = received_pattern_.mismatches(buffer.first(n), received_);
    received_ += n;
    if (bad > 0) return wrong(std::to_string(bad) + " wrong bytes before here");
    if (chance(pauses_, theirs_.read_pauses))
      next_read_ = now + std::chrono::microseconds(below(
                             pauses_, static_cast<std::uint64_t>(theirs_.longest_pause.count())));
  }
  if (ec == errc::eof) {
    saw_end_ = true;
    last_progress_ = now;
    const bool leaves = plan_.end == ending::opener_leaves;
    if (peer_resets() && !leaves) return wrong("an end in place of a reset");
    if (received_ != theirs_.bytes) return wrong("an end before all bytes");
    return outcome::running;
  }
  return ec && ec != errc::would_block ? on_error(ec) : outcome::running;
}

}  // namespace nd::soak
