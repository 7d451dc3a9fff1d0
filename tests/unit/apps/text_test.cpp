#include "common/text.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

using namespace nd::apps;
using namespace std::chrono_literals;

TEST_CASE("text: durations") {
  CHECK(parse_duration("5") == 5s);
  CHECK(parse_duration("0.5") == 500ms);
  CHECK(parse_duration("500ms") == 500ms);
  CHECK(parse_duration("1.5s") == 1500ms);
  CHECK(parse_duration("20us") == 20us);
  CHECK(parse_duration("7ns") == 7ns);
  CHECK(parse_duration("0") == 0s);
  for (const char* wrong : {"", "s", "-1", "5x", "5 s", "nan", "inf", "1e30", "5msx", "0x10"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_duration(wrong));
  }
}

TEST_CASE("text: sizes") {
  CHECK(parse_size("64") == 64);
  CHECK(parse_size("64K") == 65536);
  CHECK(parse_size("16M") == 16U << 20);
  CHECK(parse_size("1G") == 1U << 30);
  for (const char* wrong : {"", "K", "-1", "1.5K", "64k", "99999999999G", "64KB"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_size(wrong));
  }
}

TEST_CASE("text: addresses") {
  CHECK(parse_host_port("10.19.0.1", 4000) == host_port{0x0a130001, 4000});
  CHECK(parse_host_port("10.19.0.1:80", 4000) == host_port{0x0a130001, 80});
  CHECK(parse_host_port("255.255.255.255:65535", 1) == host_port{0xffffffff, 65535});
  CHECK(to_string(host_port{0x0a130001, 80}) == "10.19.0.1:80");
  for (const char* wrong : {"", "10.19.0", "10.19.0.256", "10.19.0.1:", "10.19.0.1:0",
                            "10.19.0.1:65536", "10.19.0.1.2", "localhost", "10..0.1", ":80"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_host_port(wrong, 4000));
  }
}

TEST_CASE("text: figures with a prefix") {
  CHECK(with_prefix(0, "B") == "0 B");
  CHECK(with_prefix(999, "B") == "999 B");
  CHECK(with_prefix(999.7, "B") == "1.00 kB");
  CHECK(with_prefix(12345, "msg/s") == "12.3 kmsg/s");
  CHECK(with_prefix(99960, "B") == "100 kB");
  CHECK(with_prefix(4.56e6, "B") == "4.56 MB");
}

TEST_CASE("text: the nearest word") {
  const std::array<std::string, 3> words{"--connections", "--duration", "--depth"};
  CHECK(nearest("--conections", words) == "--connections");
  CHECK(nearest("--dept", words) == "--depth");
  CHECK(nearest("--xyz", words).empty());
}
