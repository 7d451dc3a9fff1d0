// stage_meter on a made counter of cycles.
#include "base/stage_meter.hpp"

#include <catch2/catch.hpp>

using nd::stage;
using nd::stage_meter;

namespace {

std::uint64_t made_cycles = 0;
std::uint64_t read_made_cycles() noexcept {
  return made_cycles;
}

}  // namespace

TEST_CASE("the innermost stage is charged", "[stage_meter]") {
  nd::counters stats;
  stage_meter meter(read_made_cycles);
  made_cycles += 1000;  // the application's
  {
    const stage_meter::scope parse(meter, stage::parse);
    made_cycles += 10;
    {
      const stage_meter::scope channel(meter, stage::channel);
      made_cycles += 20;
      {
        const stage_meter::scope socket(meter, stage::socket);
        made_cycles += 40;
      }
      made_cycles += 80;
    }
    made_cycles += 160;
  }
  {
    const stage_meter::scope rx(meter, stage::rx);
    made_cycles += 320;
  }
  {
    const stage_meter::scope tx(meter, stage::tx);
    made_cycles += 640;
  }
  meter.end_turn(false, stats);
  CHECK(stats.cycles_parse.value() == 170);
  CHECK(stats.cycles_channel.value() == 100);
  CHECK(stats.cycles_socket.value() == 40);
  CHECK(stats.cycles_rx.value() == 320);
  CHECK(stats.cycles_tx.value() == 640);
  CHECK(stats.cycles_copy.value() == 0);
  CHECK(stats.cycles_idle.value() == 0);
}

TEST_CASE("a turn with nothing to do is idle, but copies are copies", "[stage_meter]") {
  nd::counters stats;
  stage_meter meter(read_made_cycles);
  {
    const stage_meter::scope copy(meter, stage::copy);
    made_cycles += 5;
  }
  {
    const stage_meter::scope rx(meter, stage::rx);
    made_cycles += 7;
  }
  meter.end_turn(true, stats);
  CHECK(stats.cycles_copy.value() == 5);
  CHECK(stats.cycles_idle.value() == 7);
  CHECK(stats.cycles_rx.value() == 0);
  meter.end_turn(false, stats);  // nothing is counted twice
  CHECK(stats.cycles_rx.value() == 0);
  CHECK(stats.cycles_copy.value() == 5);
}

TEST_CASE("a meter that is off counts nothing", "[stage_meter]") {
  nd::counters stats;
  stage_meter meter(nullptr);
  {
    const stage_meter::scope rx(meter, stage::rx);
    made_cycles += 7;
  }
  meter.end_turn(false, stats);
  CHECK(stats.cycles_rx.value() == 0);
}
