// What a refusal of the EAL says.
#include "pmd_glue/eal.hpp"

#include <catch2/catch.hpp>
#include <cerrno>

using Catch::Contains;
using nd::pmd::eal_refusal;

TEST_CASE("a refusal of the EAL speaks of hugepages only where they may be the reason", "[eal]") {
  const std::string hint = "without hugepages";
  CHECK_THAT(eal_refusal({}, EACCES), Contains(hint) && Contains("none were given"));
  CHECK_THAT(eal_refusal({"-l", "0"}, ENOMEM), Contains(hint) && Contains(": -l 0;"));
  CHECK_THAT(eal_refusal({"--no-huge"}, EACCES), !Contains(hint));
  CHECK_THAT(eal_refusal({"-l", "99"}, EINVAL), !Contains(hint) && Contains("Invalid argument"));
  // A prefix that is taken: the EAL says it, and sets no errno.
  CHECK_THAT(eal_refusal({"--file-prefix=a"}, 0),
             !Contains("Success") && Contains("lines above") && Contains("--file-prefix=a"));
}
