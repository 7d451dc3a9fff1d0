#include "api/dev_option.hpp"

#include <fmt/format.h>

#include <system_error>

#include "api/lcore_plan.hpp"
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
  const pmd::machine_facts machine = pmd::examine_machine(d);
  const std::vector<unsigned> lcores =
      lcores_to_have(parse_lcores(values), pmd::near_cpus(d, machine).size());
  const pmd::device_plan plan = pmd::plan_device(d, machine, cfg.eal_args(), lcores);
  for (const std::string& reason : plan.reasons) say(reason);
  std::string options = "EAL options:";
  for (const std::string& option : plan.eal_args) options += " " + option;
  say(options);
  cfg.eal_args(plan.eal_args);
}

}  // namespace nd::api
