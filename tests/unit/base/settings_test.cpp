// The settings: every row's default and bounds, the forms of values, and what wrong ones are told.
#include "base/settings.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <system_error>

#include "nd/error.hpp"

using Catch::Matchers::Contains;
using nd::duration;
using nd::settings;

namespace {

/// What the message of the refusal says; empty when it was not refused.
std::string refusal(std::string_view name, std::string_view value) {
  settings s;
  try {
    s.set(name, value);
  } catch (const std::system_error& e) {
    CHECK(e.code() == nd::errc::bad_option);
    REQUIRE(std::string(e.what()).size() > 0);
    return e.what();
  }
  return {};
}

/// "1 .. 5" as {"1", "5"}.
std::pair<std::string, std::string> ends_of(std::string_view bounds) {
  const auto dots = bounds.find(" .. ");
  REQUIRE(dots != std::string_view::npos);
  return {std::string(bounds.substr(0, dots)), std::string(bounds.substr(dots + 4))};
}

}  // namespace

TEST_CASE("every row has a name of its own, a help text and a default within its bounds",
          "[settings]") {
  std::set<std::string_view> names;
  for (const nd::setting_info& row : nd::settings_table()) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    CHECK_FALSE(row.help.empty());
    CHECK_NOTHROW(settings::check_name(row.name));
    if (row.default_value.empty()) {
      CHECK(row.bounds.empty());  // a text
    } else {
      CHECK(refusal(row.name, row.default_value).empty());
    }
    if (row.bounds.find(" .. ") != std::string_view::npos) {
      const auto [low, high] = ends_of(row.bounds);
      CHECK(refusal(row.name, low).empty());
      CHECK(refusal(row.name, high).empty());
    } else if (!row.bounds.empty()) {
      std::string_view rest = row.bounds;
      while (!rest.empty()) {
        const std::string_view choice = rest.substr(0, rest.find('|'));
        CHECK(refusal(row.name, choice).empty());
        rest.remove_prefix(std::min(choice.size() + 1, rest.size()));
      }
    }
  }
  CHECK(names.size() > 20);
}

TEST_CASE("the defaults are what the table says", "[settings]") {
  const settings s;
  CHECK(s.ip.empty());
  CHECK(s.encap == "ip");
  CHECK(s.ip_protocol == 19);
  CHECK(s.io_lcores.empty());
  CHECK(s.send_buffer == 2 << 20);
  CHECK(s.sockets == 16 << 10);
  CHECK(s.max_ack_delay == duration::microseconds(100));
  CHECK(s.connect_timeout == duration::seconds(3));
  CHECK(s.checksum == "full");
}

TEST_CASE("values outside the bounds are told the bounds", "[settings]") {
  CHECK_THAT(refusal("udp_port", "0"), Contains("udp_port") && Contains("1 .. 65535"));
  CHECK_THAT(refusal("udp_port", "65536"), Contains("65536") && Contains("1 .. 65535"));
  CHECK_THAT(refusal("mtu", "-1"), Contains("0 .. 9000"));
  CHECK_THAT(refusal("arp_probes", "-1"), Contains("0 .. 10"));
  CHECK_THAT(refusal("send_buffer", "4095"), Contains("4K .. 1G"));
  CHECK_THAT(refusal("send_buffer", "2G"), Contains("4K .. 1G"));
  CHECK_THAT(refusal("keepalive", "999us"), Contains("1ms .. 60s"));
  CHECK_THAT(refusal("keepalive", "61s"), Contains("1ms .. 60s"));
  CHECK_THAT(refusal("linger", "-1s"), Contains("0s .. 600s"));
}

TEST_CASE("integers may end in K, M or G, times must have a unit", "[settings]") {
  settings s;
  s.set("send_buffer", "4K");
  CHECK(s.send_buffer == 4096);
  s.set("send_buffer", "3M");
  CHECK(s.send_buffer == 3 << 20);
  s.set("send_buffer", "1G");
  CHECK(s.send_buffer == 1 << 30);
  s.set("send_buffer", "5000");
  CHECK(s.send_buffer == 5000);
  s.set("keepalive", "1000000ns");
  CHECK(s.keepalive == duration::milliseconds(1));
  s.set("keepalive", "1500us");
  CHECK(s.keepalive == duration::microseconds(1500));
  s.set("keepalive", "2s");
  CHECK(s.keepalive == duration::seconds(2));

  for (const char* wrong :
       {"", " 5000", "5000 ", "5k", "5KB", "0x10", "+5", "5.5", "K", "five", "1e6"}) {
    CAPTURE(wrong);
    CHECK_THAT(refusal("send_buffer", wrong), Contains("integer") && Contains(wrong));
  }
  for (const char* wrong : {"", "5", "5m", "5 ms", "ms", "1.5s", "5min", "5msx"}) {
    CAPTURE(wrong);
    CHECK_THAT(refusal("keepalive", wrong), Contains("time") && Contains("10ms"));
  }
}

TEST_CASE("numbers that overflow are refused", "[settings]") {
  CHECK_FALSE(refusal("send_buffer", "99999999999999999999").empty());
  CHECK_FALSE(refusal("send_buffer", "9223372036854775807G").empty());
  CHECK_FALSE(refusal("keepalive", "9223372037s").empty());
  CHECK_FALSE(refusal("keepalive", "-9223372036854775808s").empty());
  settings s;
  s.set("seed", "9223372036854775807");
  CHECK(s.seed == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("a number too large for an integer is told the bounds, not that it is no integer",
          "[settings]") {
  CHECK_THAT(refusal("send_buffer", "99999999999999999999"), Contains("4K .. 1G"));
  CHECK_THAT(refusal("send_buffer", "9223372036854775807G"), Contains("4K .. 1G"));
  CHECK_THAT(refusal("keepalive", "9223372037s"), Contains("1ms .. 60s"));
}

TEST_CASE("choices are exact", "[settings]") {
  settings s;
  s.set("encap", "udp");
  CHECK(s.encap == "udp");
  for (const char* wrong : {"", "UDP", "ip|udp", "udp ", "tcp", "|"}) {
    CAPTURE(wrong);
    CHECK_THAT(refusal("encap", wrong), Contains("ip|udp") && Contains("encap"));
  }
  CHECK(s.encap == "udp");
}

TEST_CASE("a wrong name is told the nearest right one", "[settings]") {
  CHECK_THAT(refusal("send_bufer", "4K"), Contains("'send_bufer'") && Contains("'send_buffer'"));
  CHECK_THAT(refusal("MTU", "1500"), Contains("did you mean"));
  CHECK_THAT(refusal("mtuu", "1500"), Contains("'mtu'"));
  CHECK_THAT(refusal("recieve_buffer", "4K"), Contains("'receive_buffer'"));
  CHECK_THAT(refusal("max_ack_dellay", "4K"), Contains("'max_ack_delay'"));
  CHECK_THAT(refusal("", "1"), Contains("did you mean"));
  CHECK_THROWS_AS(settings::check_name("udp-port"), std::system_error);
}

TEST_CASE("values override defaults, and a refusal changes nothing", "[settings]") {
  settings s({{"ip", "10.0.0.1/24"}, {"mtu", "9000"}, {"linger", "0s"}});
  CHECK(s.ip == "10.0.0.1/24");
  CHECK(s.mtu == 9000);
  CHECK(s.linger == duration(0));
  CHECK(s.udp_port == settings().udp_port);
  CHECK_THROWS_AS(s.set("mtu", "9001"), std::system_error);
  CHECK_THROWS_AS(s.set("mtu", "x"), std::system_error);
  CHECK(s.mtu == 9000);
  CHECK_THROWS_AS(settings({{"mtu", "1"}, {"mtuu", "1"}}), std::system_error);
}
