#include "pmd_glue/vdev_args.hpp"

namespace nd::pmd {

std::string_view vdev_args::name() const noexcept {
  return std::string_view(text_).substr(0, text_.find(','));
}

std::optional<std::string> vdev_args::find(std::string_view key) const {
  std::optional<std::string> found;
  std::string_view rest = text_;
  rest.remove_prefix(name().size());
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the comma
    const std::string_view pair = rest.substr(0, rest.find(','));
    rest.remove_prefix(pair.size());
    const auto equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == key)
      found = pair.substr(equals + 1);
  }
  return found;
}

void vdev_args::add(std::string_view key, std::string_view value) {
  text_.append(",").append(key).append("=").append(value);
}

void for_each_vdev(std::vector<std::string>& eal_args,
                   const std::function<void(vdev_args&)>& change) {
  constexpr std::string_view option = "--vdev";
  for (std::size_t i = 0; i < eal_args.size() && eal_args[i] != "--"; ++i) {
    std::string before;
    if (eal_args[i] == option) {
      if (++i == eal_args.size()) return;
    } else if (eal_args[i].starts_with(option) && eal_args[i].substr(option.size(), 1) == "=") {
      before = eal_args[i].substr(0, option.size() + 1);
    } else {
      continue;
    }
    vdev_args vdev(eal_args[i].substr(before.size()));
    change(vdev);
    eal_args[i] = before + vdev.text();
  }
}

}  // namespace nd::pmd
