// One end of one connection of the soak: does its part of the plan, and checks the other's.
#pragma once

#include <array>
#include <chrono>
#include <nd/nd.hpp>
#include <string>

#include "common/pattern.hpp"
#include "soak/plan.hpp"

namespace nd::soak {

using clock = std::chrono::steady_clock;

enum class outcome : std::uint8_t {
  running,
  as_planned,
  lost,     ///< the peer is gone, or nobody can be reached
  refused,  ///< the connection never stood: the peer was full, or not there
  reset,    ///< by the other side, against the plan
  wrong,    ///< bytes, their number, or an end that must not be; see what()
};

class conversation {
 public:
  /// The opener's end; `s` is being connected.
  conversation(nd::socket s, std::uint64_t seed, clock::time_point now);
  /// The acceptor's; the first bytes bring the seed.
  conversation(nd::socket s, clock::time_point now);

  /// Does what can be done without waiting; with `hurry`, the plan's pauses are over.
  outcome step(clock::time_point now, bool hurry);

  /// A close would end the stream as if all had been written.
  void abort() noexcept { socket_.abort(); }

  bool is_opener() const noexcept { return opener_; }
  const std::string& what() const noexcept { return what_; }
  std::uint64_t bytes_checked() const noexcept { return received_; }

 private:
  static constexpr std::size_t hello_bytes = 16;

  void set_plan(std::uint64_t seed);
  outcome connect_step(clock::time_point now);
  bool hello_step();
  outcome write_step(clock::time_point now);
  outcome read_step(clock::time_point now);
  outcome on_error(std::error_code ec);
  outcome wrong(const std::string& why);
  bool peer_resets() const noexcept;
  bool i_reset() const noexcept;

  nd::socket socket_;
  const bool opener_;
  bool stands_;
  bool has_plan_ = false;
  std::uint64_t seed_ = 0;
  plan plan_;
  direction mine_, theirs_;
  apps::pattern sent_pattern_{0}, received_pattern_{0};
  random pauses_;
  std::array<std::byte, hello_bytes> hello_{};
  std::size_t hello_done_ = 0;
  std::uint64_t sent_ = 0, received_ = 0;
  bool ended_ = false;    ///< our FIN is written
  bool saw_end_ = false;  ///< the other's
  clock::time_point next_write_, next_read_, last_progress_;
  std::string what_;
};

}  // namespace nd::soak
