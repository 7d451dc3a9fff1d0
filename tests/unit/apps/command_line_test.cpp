#include "common/command_line.hpp"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nd-echo/options.hpp"

namespace {

using namespace nd::apps;
using namespace nd::apps::echo;

struct outcome {
  std::optional<int> code;
  std::string wrong;
  options result;
};

outcome read(std::vector<std::string> words) {
  words.insert(words.begin(), "nd-echo");
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  CLI::App app("", "nd-echo");
  prepare(app, "");
  option_parser parser(app, true);
  add_nd_options(app);
  outcome o;
  o.code = parse(app, command_line(static_cast<int>(argv.size()), argv.data()));
  if (!o.code) o.wrong = parser.finish();
  o.result = parser.result();
  return o;
}

}  // namespace

TEST_CASE("command line: cut at the first --") {
  std::vector<std::string> words{"x", "-l", "0", "--", "--server", "--"};
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  const command_line c(static_cast<int>(argv.size()), argv.data());
  CHECK(c.separated);
  CHECK(c.eal == std::vector<std::string>{"-l", "0"});
  CHECK(c.app == std::vector<std::string>{"--server", "--"});
  CHECK_FALSE(command_line(3, argv.data()).separated);
  CHECK(command_line(3, argv.data()).app.size() == 2);
  CHECK(command_line(0, nullptr).app.empty());
}

TEST_CASE("command line: roles, defaults, and ND options that are left alone") {
  outcome o = read({"--client", "10.0.0.1", "--ip", "10.0.0.2/24", "--port", "99"});
  REQUIRE_FALSE(o.code);
  CHECK(o.wrong.empty());
  CHECK(o.result.role == role::client);
  CHECK(o.result.peer == host_port{0x0a000001, 99});
  CHECK(o.result.size == 64);
  CHECK(o.result.depth == 1);

  o = read({"-l", "0", "--vdev=net_ring0", "--", "--set", "mtu=1500", "--set", "channels_latency=2",
            "--client", "10.0.0.1:7", "--mode", "stream", "--duration", "500ms"});
  REQUIRE_FALSE(o.code);
  CHECK(o.wrong.empty());
  CHECK(o.result.peer.port == 7);
  CHECK(o.result.size == 65536);
  CHECK(o.result.duration == std::chrono::milliseconds(500));

  CHECK(read({"--client", "10.0.0.1", "--mode", "pipeline"}).result.depth == 32);
  CHECK(read({"--server", "--size", "1K", "--size", "2K"}).result.size == 2048);
  CHECK(read({"--client", "10.0.0.1", "--pause", "1"}).result.pause == std::chrono::seconds(1));
  CHECK(read({"--demo"}).result.duration == std::chrono::seconds(1));
  CHECK_FALSE(read({"--demo"}).result.ring);
  CHECK(read({"--demo=ring"}).result.ring);
  CHECK(for_mode(read({"--demo=ring"}).result, mode::stream).size == 65536);
  CHECK(for_mode(read({"--demo=ring", "--size", "9"}).result, mode::stream).size == 9);
  CHECK(read({"--demo", "--duration", "3"}).result.duration == std::chrono::seconds(3));
}

TEST_CASE("command line: what is wrong is refused before there is an EAL") {
  const std::vector<std::vector<std::string>> refused{
      {"--server", "--size", "0"},
      {"--server", "--size", "17M"},
      {"--server", "--size", "big"},
      {"--server", "--mode", "echo"},
      {"--server", "--port", "0"},
      {"--demo=wire"},
      {"--server", "--duration", "fast"},
      {"--server", "--conections", "3"},
      {"--server", "left-over"},
      {"--server", "--ip"},
      {"--client", "host"},
      {"--server", "-l", "0"},
      {"--vdev=net_ring0", "--server"},
      {"--server", "--", "--ip", "10.0.0.1/24"},
  };
  for (const auto& words : refused) {
    CAPTURE(words);
    CHECK(read(words).code == exit_usage);
  }
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{},
        {"--server", "--client", "10.0.0.1"},
        {"--server", "--duration", "0"},
        {"--server", "--pause", "1ms"},
        {"--client", "10.0.0.1", "--mode", "stream", "--pause", "1ms"},
        {"--demo", "--json", "-"}}) {
    CAPTURE(words);
    CHECK_FALSE(read(words).wrong.empty());
  }
}
