// Who may poll a memif when, on the driver's own link and the EAL's interrupt thread; the clock of
// those who poll is made.
#include "pmd_glue/memif_guard.hpp"

#include <catch2/catch.hpp>
#include <optional>

#include "unit/support/memif_ends.hpp"

using namespace nd::test;
using nd::duration;
using nd::instant;
using nd::pmd::interrupt_pause;
using nd::pmd::memif_guard;

namespace {

constexpr duration ms = duration::milliseconds(1);

/// A link, and two threads' guards of its server, which are inside.
struct guarded_link {
  guarded_link() { connect(); }

  void connect() {
    client.emplace(socket, "client", std::uint16_t{1}, std::uint16_t{1});
    REQUIRE(come_in());
  }
  bool come_in() {
    return run_until([&] { a.may_poll(now), b.may_poll(now); },
                     [&] { return a.may_poll(now) && b.may_poll(now); });
  }
  /// The driver, which is awake within microseconds where it may be, has had its chance.
  bool linked_a_while_later() const {
    const instant start = machine_now();
    run_until([] {}, [&] { return !server.linked() || machine_now() - start > ms * 10; });
    return server.linked();
  }
  /// In rounds, of which the driver may need some.
  bool goes_down() {
    return run_until(
        [&] {
          now = now + memif_guard::silence;
          a.may_poll(now);
          b.may_poll(now);
        },
        [&] { return !server.linked() && !a.link_up() && !b.link_up(); });
  }

  memif_socket socket;
  foreign_memif server{socket, "server", 1, 1};
  memif_guard a{server.id()};
  memif_guard b{server.id()};
  std::optional<foreign_memif> client;
  instant now{1'000'000'007};
};

}  // namespace

TEST_CASE("A memif's link stays while a guard is inside, whatever has become of the other end",
          "[memif]") {
  guarded_link l;
  l.client.reset();
  CHECK(l.linked_a_while_later());
  l.now = l.now + memif_guard::silence;
  CHECK_FALSE(l.a.may_poll(l.now));
  CHECK(l.linked_a_while_later());
  CHECK_FALSE(l.b.may_poll(l.now));
  CHECK(l.goes_down());
  CHECK_FALSE(l.a.may_poll(l.now));
  CHECK_FALSE(l.b.may_poll(l.now));
}

TEST_CASE("A memif's next link has another number, the same for all guards", "[memif]") {
  guarded_link l;
  CHECK(l.a.link_number() == l.b.link_number());
  for (int i = 0; i < 3; ++i) {
    const std::uint32_t before = l.a.link_number();
    l.client.reset();
    REQUIRE(l.goes_down());
    l.connect();
    CHECK(l.a.link_up());
    CHECK(l.a.link_number() != before);
    CHECK(l.a.link_number() == l.b.link_number());
  }
  // A round in which nothing happens is no new link.
  const std::uint32_t before = l.a.link_number();
  l.now = l.now + memif_guard::silence;
  CHECK_FALSE(l.a.may_poll(l.now));
  CHECK_FALSE(l.b.may_poll(l.now));
  REQUIRE(l.come_in());
  CHECK(l.a.link_number() == before);
}

TEST_CASE("A thread that does not leave a memif's gate does not silence the others", "[memif]") {
  guarded_link l;
  const instant asked = l.now + memif_guard::silence;
  CHECK(l.a.may_poll(asked - ms));
  CHECK_FALSE(l.a.may_poll(asked));
  CHECK_FALSE(l.a.may_poll(asked + memif_guard::patience / 2));
  const instant back = asked + memif_guard::patience;
  CHECK(l.a.may_poll(back));
  CHECK(l.a.link_up());
  // It tries again, soon but not at once.
  CHECK(l.a.may_poll(back + memif_guard::patience * 9));
  l.now = back + memif_guard::patience * 10;
  CHECK_FALSE(l.a.may_poll(l.now));
  CHECK_FALSE(l.b.may_poll(l.now));
  CHECK(l.come_in());
  // That was a round: the next one is due when it is silent again.
  CHECK(l.a.may_poll(l.now + memif_guard::silence - ms));
}

TEST_CASE("What one thread receives of a memif is traffic for all, until a second is over",
          "[memif]") {
  guarded_link l;
  const instant start = l.now;
  for (; l.now < start + memif_guard::round_interval_max; l.now = l.now + ms * 10) {
    l.a.received(l.now);
    REQUIRE(l.a.may_poll(l.now));
    REQUIRE(l.b.may_poll(l.now));
  }
  l.now = l.now + memif_guard::silence;
  l.a.received(l.now);
  CHECK_FALSE(l.a.may_poll(l.now));
  CHECK_FALSE(l.b.may_poll(l.now));
  CHECK(l.come_in());
}

TEST_CASE("A memif without a link gets the driver's attention beside another's traffic",
          "[memif]") {
  const bool waits = GENERATE(false, true);
  CAPTURE(waits);
  const memif_socket elsewhere;
  foreign_memif alone(elsewhere, "server", 1, 1);
  memif_guard c(alone.id());
  guarded_link l;
  CHECK_FALSE(c.may_poll(l.now));
  if (!waits) c.release();
  l.now = l.now + memif_guard::silence;
  l.a.received(l.now);
  CHECK(l.a.may_poll(l.now) == !waits);
  CHECK(l.b.may_poll(l.now) == !waits);
}

TEST_CASE("A pause holds the driver, and lets it go", "[memif]") {
  guarded_link l;
  l.a.release();
  l.b.release();
  CHECK_FALSE(l.a.may_poll(l.now));
  {
    const interrupt_pause pause;
    REQUIRE(pause.held());
    l.client.reset();
    CHECK(l.linked_a_while_later());
  }
  CHECK(run_until([] {}, [&] { return !l.server.linked(); }));
}

TEST_CASE("Who rests is not waited for, and asks for a round that is due", "[memif]") {
  guarded_link l;
  l.a.rest(l.now);
  l.client.reset();
  CHECK(l.linked_a_while_later());  // for who is inside
  l.b.rest(l.now);
  CHECK(l.linked_a_while_later());  // nobody has asked
  REQUIRE(run_until([] {}, [&] { return l.a.may_poll(l.now); }));
  l.now = l.now + memif_guard::round_interval_max;  // in which others' frames count as well
  l.a.rest(l.now);
  CHECK(run_until([] {}, [&] { return !l.server.linked(); }));
}
