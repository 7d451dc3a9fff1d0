#include "api/number_list.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <system_error>

#include "nd/error.hpp"

namespace nd::api {
namespace {

using list = std::vector<unsigned>;

TEST_CASE("Lists of lcores name single ones and ranges, in any order", "[api]") {
  CHECK(parse_numbers("s", "").empty());
  CHECK(parse_numbers("s", "7") == list{7});
  CHECK(parse_numbers("s", "9,4-6,0") == list{9, 4, 5, 6, 0});
  CHECK(parse_numbers("s", "1023-1023") == list{1023});
}

TEST_CASE("What is no list is refused by name", "[api]") {
  const std::string text =
      GENERATE("x", "1,", ",1", "1-", "-1", "3-2", "1 2", "1,,2", "1024", "99999999999", "0x1");
  CAPTURE(text);
  try {
    parse_numbers("dcopy_lcores", text);
    FAIL("was taken");
  } catch (const std::system_error& e) {
    CHECK(e.code() == errc::bad_option);
    CHECK(std::string(e.what()).find("dcopy_lcores: '" + text + "'") != std::string::npos);
  }
}

}  // namespace
}  // namespace nd::api
