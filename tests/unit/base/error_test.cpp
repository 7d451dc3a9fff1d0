// Error codes: each has a text, and those with a POSIX equal compare to it.
#include "nd/error.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <system_error>

using nd::errc;

TEST_CASE("every code up to the last one has a text of its own", "[error]") {
  const auto unknown = [](int code) {
    return nd::error_category().message(code).starts_with("unknown error");
  };
  std::set<std::string> texts;
  int codes = 0;
  for (int code = 1; code < 1000; ++code) {
    if (unknown(code)) continue;
    ++codes;
    CHECK(texts.insert(nd::error_category().message(code)).second);
  }
  CHECK(codes > 20);
  CHECK(unknown(0));
  CHECK(std::string(nd::error_category().name()) == "nd");
}

TEST_CASE("codes compare to their POSIX equals, and to no others", "[error]") {
  CHECK(make_error_code(errc::would_block) == std::errc::operation_would_block);
  CHECK(make_error_code(errc::connection_reset) == std::errc::connection_reset);
  CHECK(make_error_code(errc::shut_down) == std::errc::broken_pipe);
  CHECK(make_error_code(errc::bad_descriptor) == std::errc::bad_file_descriptor);
  CHECK(make_error_code(errc::connection_refused) != std::errc::connection_reset);
  for (const errc none : {errc::eof, errc::peer_lost, errc::bad_option, errc::eal_failed})
    CHECK(make_error_code(none) != std::errc::operation_not_supported);
  CHECK(make_error_code(errc::eof));
}
