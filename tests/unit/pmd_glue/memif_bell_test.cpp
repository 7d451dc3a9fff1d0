// How an end of a memif that sleeps is woken: what is promised, when, and what a promise is worth.
#include "pmd_glue/memif_bell.hpp"

#include <poll.h>
#include <rte_ether.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <optional>
#include <vector>

#include "unit/support/pool.hpp"

using nd::pmd::memif_bell;

namespace {

/// Two ends; questions are handed from one to the other by hand.
struct ends {
  static bool readable(const memif_bell& bell) {
    pollfd fd{.fd = bell.fd(), .events = POLLIN, .revents = 0};
    return poll(&fd, 1, 0) == 1;
  }
  static void look(memif_bell& bell) {
    bell.looked();
    bell.looked();
  }
  /// Asks when it is time to.
  rte_mbuf* question_of(memif_bell& bell) {
    for (int i = 0; i < 100; ++i)
      if (rte_mbuf* m = bell.question()) return m;
    return nullptr;
  }
  bool asks(memif_bell& sleeper, memif_bell& other) {
    rte_mbuf* m = question_of(sleeper);
    if (m == nullptr) return false;
    sleeper.asked();
    return other.on_received(std::span(&m, 1)) == 0;
  }

  nd::test::pool mbufs{64};
  memif_bell a{{2, 0, 0, 0, 0, 1}, mbufs.get()};
  memif_bell b{{2, 0, 0, 0, 0, 2}, mbufs.get()};
};

constexpr std::size_t name_at = 14 + 24;  ///< in the question

}  // namespace

TEST_CASE("a sleeper is told of the next frame, once") {
  ends e;
  CHECK_FALSE(e.a.promised());
  REQUIRE(e.asks(e.a, e.b));
  CHECK_FALSE(e.a.promised());  // what came before the promise is not told of
  e.a.looked();
  CHECK_FALSE(e.a.promised());
  e.a.looked();
  CHECK(e.a.promised());
  CHECK(e.a.question() == nullptr);
  CHECK_FALSE(ends::readable(e.a));

  e.b.sent();
  CHECK(ends::readable(e.a));
  e.a.hear();
  CHECK_FALSE(e.a.promised());
  e.b.sent();
  CHECK_FALSE(ends::readable(e.a));

  REQUIRE(e.asks(e.a, e.b));
  ends::look(e.a);
  CHECK_FALSE(e.a.promised());  // the looks were before it was heard
  ends::look(e.a);
  CHECK(e.a.promised());
}

TEST_CASE("a frame sent between the promise and its hearing is told of") {
  ends e;
  REQUIRE(e.asks(e.a, e.b));
  e.b.sent();
  CHECK_FALSE(e.a.promised());
  ends::look(e.a);
  CHECK_FALSE(e.a.promised());
}

TEST_CASE("a question wakes a sleeper, who may sleep on") {
  ends e;
  REQUIRE(e.asks(e.a, e.b));
  e.a.hear();
  ends::look(e.a);
  REQUIRE(e.a.promised());
  REQUIRE(e.asks(e.b, e.a));
  CHECK(ends::readable(e.a));
  CHECK(e.a.promised());
  CHECK_FALSE(ends::readable(e.a));
  e.b.hear();
  ends::look(e.b);
  CHECK(e.b.promised());

  e.b.sent();
  CHECK(ends::readable(e.a));
  e.a.hear();
  CHECK_FALSE(e.a.promised());
  CHECK(e.b.promised());
}

TEST_CASE("a promise is that of the last question") {
  ends e;
  REQUIRE(e.asks(e.a, e.b));
  rte_mbuf* second = e.question_of(e.a);
  REQUIRE(second != nullptr);
  CHECK_FALSE(e.a.promised());
  ends::look(e.a);
  CHECK_FALSE(e.a.promised());
  CHECK(e.b.on_received(std::span(&second, 1)) == 0);
  e.a.hear();
  ends::look(e.a);
  CHECK(e.a.promised());
  e.b.sent();
  e.a.hear();
  CHECK_FALSE(e.a.promised());
}

TEST_CASE("who does not answer is asked four times a link") {
  ends e;
  for (int link = 0; link < 3; ++link) {
    int asked = 0;
    for (int i = 0; i < 1000; ++i) {
      rte_mbuf* m = e.a.question();
      if (m == nullptr) continue;
      ++asked;
      rte_pktmbuf_free(m);
    }
    CHECK(asked == 4);
    e.a.reset();
  }
}

TEST_CASE("who was not answered asks again once it is asked") {
  ends e;
  while (rte_mbuf* m = e.question_of(e.a)) rte_pktmbuf_free(m);
  REQUIRE(e.asks(e.b, e.a));
  CHECK(e.asks(e.a, e.b));
}

TEST_CASE("a link that is gone takes promises and debts with it") {
  ends e;
  REQUIRE(e.asks(e.a, e.b));
  e.a.hear();
  ends::look(e.a);
  REQUIRE(e.a.promised());
  e.b.reset();
  e.b.sent();
  CHECK_FALSE(ends::readable(e.a));
  e.a.reset();
  CHECK_FALSE(e.a.promised());
}

TEST_CASE("a frame ends the promise, whether or not it was rung for") {
  ends e;
  REQUIRE(e.asks(e.a, e.b));
  e.a.hear();
  ends::look(e.a);
  REQUIRE(e.a.promised());
  e.b.reset();  // it has forgotten
  rte_mbuf* frame = rte_pktmbuf_alloc(e.mbufs.get());
  REQUIRE(e.a.on_received(std::span(&frame, 1)) == 1);
  rte_pktmbuf_free(frame);
  CHECK_FALSE(e.a.promised());
  CHECK(e.asks(e.a, e.b));
}

TEST_CASE("a sleeper that has died is no harm") {
  ends e;
  std::optional<memif_bell> mortal(std::in_place, nd::mac_address{2, 0, 0, 0, 0, 3}, e.mbufs.get());
  REQUIRE(e.asks(*mortal, e.b));
  mortal.reset();
  e.b.sent();
  e.b.sent();
}

TEST_CASE("frames that are no questions pass, in their order") {
  ends e;
  std::vector<rte_mbuf*> frames;
  const auto add = [&](auto&& change) {
    e.a.reset();
    rte_mbuf* m = e.question_of(e.a);
    REQUIRE(m != nullptr);
    change(rte_pktmbuf_mtod(m, char*), m);
    frames.push_back(m);
  };
  add([](char*, rte_mbuf* m) { rte_pktmbuf_trim(m, 1); });
  add([](char* bytes, rte_mbuf*) { bytes[12] ^= 1; });            // EtherType
  add([](char* bytes, rte_mbuf*) { bytes[14] ^= 1; });            // the text
  add([](char* bytes, rte_mbuf*) { bytes[name_at] = '/'; });      // a file
  add([](char* bytes, rte_mbuf*) { bytes[name_at + 1] = 'x'; });  // a name that is not the kernel's
  add([](char*, rte_mbuf*) {});                                   // a question
  add([](char*, rte_mbuf* m) { rte_pktmbuf_append(m, 1); });
  const std::vector<rte_mbuf*> before = frames;
  REQUIRE(e.b.on_received(frames) == 6);
  for (std::size_t i = 0; i < 5; ++i) CHECK(frames[i] == before[i]);
  CHECK(frames[5] == before[6]);
  for (std::size_t i = 0; i < 6; ++i) rte_pktmbuf_free(frames[i]);
  // The question among them was heard.
  e.b.sent();
  CHECK(ends::readable(e.a));
}
