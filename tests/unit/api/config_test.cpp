// Settings from their three sources, and what a command line leaves to the application.
#include "api/command_line.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nd/nd.hpp>

namespace {

/// A TOML file that goes with its owner.
class toml_file {
 public:
  explicit toml_file(const std::string& text) {
    std::string name = (std::filesystem::temp_directory_path() / "nd-config-XXXXXX").string();
    const int fd = mkstemp(name.data());
    REQUIRE(fd >= 0);
    path = name;
    std::ofstream(path) << text;
  }
  ~toml_file() { std::filesystem::remove(path); }
  toml_file(const toml_file&) = delete;
  toml_file& operator=(const toml_file&) = delete;
  std::filesystem::path path;
};

std::string refusal(const std::vector<std::string>& words) {
  try {
    nd::api::parse_command_line(words);
  } catch (const std::system_error& e) {
    CHECK(e.code() == nd::errc::bad_option);
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("the command line is split into EAL's, ND's and the application's") {
  const auto line =
      nd::api::parse_command_line({"-l", "0", "--no-huge", "--", "--ip", "10.0.0.1/24", "--mine",
                                   "1", "--encap=udp", "--set", "mtu=1500", "file"});
  CHECK(line.cfg.eal_args() == std::vector<std::string>{"-l", "0", "--no-huge"});
  CHECK(line.args == std::vector<std::string>{"--mine", "1", "file"});
  CHECK(line.cfg.get("ip") == "10.0.0.1/24");
  CHECK(line.cfg.get("encap") == "udp");
  CHECK(line.cfg.get("mtu") == "1500");
}

TEST_CASE("without -- there are no EAL arguments") {
  const auto line = nd::api::parse_command_line({"--ip", "10.0.0.1/24", "x"});
  CHECK(line.cfg.eal_args().empty());
  CHECK(line.args == std::vector<std::string>{"x"});
}

TEST_CASE("the command line wins over the file, the file over the defaults") {
  const toml_file file("mtu = 1400\nkeepalive = \"50ms\"\nsend_buffer = \"1M\"\n");
  const auto line =
      nd::api::parse_command_line({"--", "--set", "mtu=1300", "--config", file.path.string()});
  CHECK(line.cfg.get("mtu") == "1300");
  CHECK(line.cfg.get("keepalive") == "50ms");
  CHECK(line.cfg.get("send_buffer") == "1M");
  CHECK(line.cfg.get("backlog") == "128");
}

TEST_CASE("what is wrong is refused with what would be right") {
  using Catch::Contains;
  CHECK_THAT(refusal({"--", "--set", "keepaliv=5ms"}), Contains("did you mean 'keepalive'"));
  CHECK_THAT(refusal({"--", "--set", "mtu"}), Contains("not name=value"));
  CHECK_THAT(refusal({"--", "--set"}), Contains("--set needs a value"));
  CHECK_THAT(refusal({"--", "--encap", "gre"}), Contains("ip|udp"));
  CHECK_THAT(refusal({"--", "--config", "/nonexistent.toml"}), Contains("/nonexistent.toml"));
  const toml_file wrong_name("\nmtuu = 1400\n");
  CHECK_THAT(refusal({"--", "--config", wrong_name.path.string()}),
             Contains(":2:") && Contains("did you mean 'mtu'"));
  const toml_file wrong_value("mtu = true\n");
  CHECK_THAT(refusal({"--", "--config", wrong_value.path.string()}), Contains("integer"));
  const toml_file no_toml("mtu = = 3\n");
  CHECK_THAT(refusal({"--", "--config", no_toml.path.string()}), Contains(":1:"));
}

TEST_CASE("a string is split at blanks") {
  CHECK(nd::api::split_words("  -l 0\t-- --ip  1.2.3.4/8 ") ==
        std::vector<std::string>{"-l", "0", "--", "--ip", "1.2.3.4/8"});
  CHECK(nd::api::split_words("").empty());
}

TEST_CASE("addresses and endpoints") {
  CHECK(nd::address("10.19.0.1").to_uint() == 0x0a130001);
  CHECK(nd::endpoint("255.0.0.1", 65535).to_string() == "255.0.0.1:65535");
  for (const char* wrong : {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "a.b.c.d", "1.2.3.4 ", "1..2.3"})
    CHECK_THROWS_AS(nd::address(wrong), std::system_error);
  CHECK(nd::endpoint("10.0.0.1", 2) > nd::endpoint("10.0.0.1", 1));
}

TEST_CASE("error codes have texts and POSIX equals") {
  CHECK(make_error_code(nd::errc::connection_refused) == std::errc::connection_refused);
  CHECK(make_error_code(nd::errc::eof).message() == "end of stream");
  CHECK(std::string(nd::error_category().name()) == "nd");
}
