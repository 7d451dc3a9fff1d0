// Where an lcore's cycles go, by stage of the data path. For benches: off, it costs a test a stage.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/counters.hpp"

namespace nd {

enum class stage : std::uint8_t {
  outside,  ///< the application's own; not counted
  rx,       ///< the device's receive burst
  parse,    ///< frames in: headers and checksums
  channel,  ///< packet numbers, acknowledgements, loss, congestion; packets built
  socket,   ///< streams, credit, records
  copy,     ///< between the application's buffers and mbufs, with the digest
  tx,       ///< frames out: headers, checksums in software, the device's send burst
};

/// One thread. Stages nest: the innermost one is charged.
class stage_meter {
 public:
  /// A counter of cycles; pmd_glue has it.
  using clock = std::uint64_t (*)() noexcept;

  /// `read` null: off.
  explicit stage_meter(clock read) noexcept : clock_(read) {
    if (clock_ != nullptr) since_ = clock_();
  }

  /// Charges a stage for as long as it lives.
  class scope {
   public:
    scope(stage_meter& meter, stage s) noexcept
        : meter_(meter.clock_ != nullptr ? &meter : nullptr) {
      if (meter_ != nullptr) [[unlikely]]
        outer_ = meter_->enter(s);
    }
    ~scope() {
      if (meter_ != nullptr) [[unlikely]]
        meter_->enter(outer_);
    }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    stage_meter* meter_;
    stage outer_ = stage::outside;
  };

  /// Once a turn of the loop, in no scope. What a turn took that had nothing to do counts as idle.
  void end_turn(bool idle, counters& stats) noexcept {
    if (clock_ == nullptr) [[likely]]
      return;
    stats.cycles_copy += take(stage::copy);
    if (idle) {
      for (const stage s : {stage::rx, stage::parse, stage::channel, stage::socket, stage::tx})
        stats.cycles_idle += take(s);
      return;
    }
    stats.cycles_rx += take(stage::rx);
    stats.cycles_parse += take(stage::parse);
    stats.cycles_channel += take(stage::channel);
    stats.cycles_socket += take(stage::socket);
    stats.cycles_tx += take(stage::tx);
  }

 private:
  [[gnu::cold]] stage enter(stage s) noexcept {
    const std::uint64_t now = clock_();
    spent(current_) += now - std::exchange(since_, now);
    return std::exchange(current_, s);
  }
  std::uint64_t& spent(stage s) noexcept { return spent_[static_cast<std::size_t>(s)]; }
  std::uint64_t take(stage s) noexcept { return std::exchange(spent(s), 0); }

  clock clock_;
  std::uint64_t since_ = 0;
  stage current_ = stage::outside;
  std::array<std::uint64_t, 7> spent_{};
};

}  // namespace nd
