#include "api/dev_option.hpp"

#include <fmt/format.h>

#include <system_error>

#include "api/number_list.hpp"
#include "api/text.hpp"
#include "base/settings.hpp"
#include "nd/error.hpp"
#include "pmd_glue/device_plan.hpp"
#include "pmd_glue/log.hpp"

namespace nd::api {

void apply_dev(config& cfg) {
  const settings values(cfg.values());
  pmd::netdev d = pmd::find_netdev(pmd::list_netdevs(), values.dev);
  pmd::read_hardware(d);
  const auto say = [](const std::string& line) { pmd::log(pmd::log_level::notice, line); };

  std::string address = values.ip;
  if (address.empty()) {
    if (d.addresses.empty())
      throw std::system_error(
          make_error_code(errc::bad_option),
          fmt::format("setting dev: interface {0} has no IPv4 address: ip address add A.B.C.D/N "
                      "dev {0}, or give this host one of its own with --ip A.B.C.D/N",
                      d.name));
    const pmd::netdev::address& a = d.addresses.front();
    address = fmt::format("{}/{}", text_of(a.ip), a.prefix);
    cfg.set("ip", address);
  }
  say(fmt::format("{}: {}, {}, MTU {}, driver {}{}", d.name, address, text_of(d.mac), d.mtu,
                  d.driver.empty() ? "without hardware" : d.driver,
                  d.running ? "" : ", no link yet"));
  std::vector<unsigned> lcores = parse_numbers("dcopy_lcores", values.dcopy_lcores);
  if (values.io_lcore >= 0) lcores.push_back(static_cast<unsigned>(values.io_lcore));
  const pmd::device_plan plan =
      pmd::plan_device(d, pmd::examine_machine(d), cfg.eal_args(), lcores);
  for (const std::string& reason : plan.reasons) say(reason);
  std::string options = "EAL options:";
  for (const std::string& option : plan.eal_args) options += " " + option;
  say(options);
  cfg.eal_args(plan.eal_args);
}

}  // namespace nd::api
