// Who copies, and in what pieces.
#include "sched/copy_policy.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

using namespace nd::core;

TEST_CASE("pieces are two for each dcopy lcore, neither small nor large", "[policy]") {
  CHECK(piece_size(65'536, 1) == 32'768);
  CHECK(piece_size(65'536, 2) == 16'384);
  CHECK(piece_size(65'536, 16) == smallest_piece);
  CHECK(piece_size(1, 1) == smallest_piece);
  CHECK(piece_size(1'000'000, 4) == largest_piece);
  CHECK(piece_size(400'000, 4) == 50'000);
  CHECK(piece_size(65'536, 0) == 32'768);
}

TEST_CASE("pieces are whole mbufs, and together the call", "[policy]") {
  const std::uint32_t wanted = 20'000;
  for (const std::uint32_t segment : {1U, 1'400U, 8'900U, 16'384U, 60'000U}) {
    CAPTURE(segment);
    std::uint64_t left = 1'000'003;
    while (left > 0) {
      const std::uint32_t piece = piece_of(left, segment, wanted);
      REQUIRE(piece > 0);
      REQUIRE(piece <= left);
      if (piece < left) {
        CHECK(piece % segment == 0);
        CHECK(piece <= std::max(wanted + segment / 2, segment));
        CHECK(piece + (segment + 1) / 2 >= wanted);
      }
      left -= piece;
    }
  }
}

TEST_CASE("a call below the threshold is not worth a request", "[policy]") {
  CHECK_FALSE(worth_dcopy(62'619, {}));
  CHECK(worth_dcopy(62'620, {}));
  CHECK(worth_dcopy(1, {.smallest = 1}));
}

TEST_CASE("round robin gives each dcopy lcore its turn", "[policy]") {
  std::size_t cursor = 0;
  const std::vector<std::uint64_t> queued{0, 600'000, 0};
  for (std::size_t i = 0; i < 9; ++i)
    CHECK(pick_dcopy(copy_policy::round_robin, cursor, queued, 0, {}) == i % 3);
}

TEST_CASE("compact stays on the first lcore while it has room", "[policy]") {
  std::size_t cursor = 0;
  std::vector<std::uint64_t> queued{dcopy_queue_limit, 0};
  for (int i = 0; i < 3; ++i) CHECK(pick_dcopy(copy_policy::compact, cursor, queued, 0, {}) == 0);
  queued[0] = dcopy_queue_limit + 1;
  for (int i = 0; i < 3; ++i) CHECK(pick_dcopy(copy_policy::compact, cursor, queued, 0, {}) == 1);
  queued[0] = 0;
  CHECK(pick_dcopy(copy_policy::compact, cursor, queued, 0, {}) == 0);
}

TEST_CASE("an lcore with too much in front of it is skipped", "[policy]") {
  const auto policy = GENERATE(copy_policy::round_robin, copy_policy::compact);
  std::size_t cursor = 0;
  const std::vector<std::uint64_t> queued{dcopy_queue_limit + 1, dcopy_queue_limit + 1, 5};
  for (int i = 0; i < 4; ++i) CHECK(pick_dcopy(policy, cursor, queued, 0, {}) == 2);
  const std::vector<std::uint64_t> full(3, dcopy_queue_limit + 1);
  CHECK(pick_dcopy(policy, cursor, full, 0, {}) == no_lcore);
  CHECK(pick_dcopy(policy, cursor, {}, 0, {}) == no_lcore);
}

TEST_CASE("a socket with much under way copies itself", "[policy]") {
  std::size_t cursor = 0;
  const std::vector<std::uint64_t> queued{0};
  const copy_limits limits{.in_flight = 1'000};
  CHECK(pick_dcopy(copy_policy::round_robin, cursor, queued, 999, limits) == 0);
  CHECK(pick_dcopy(copy_policy::round_robin, cursor, queued, 1'000, limits) == no_lcore);
}
