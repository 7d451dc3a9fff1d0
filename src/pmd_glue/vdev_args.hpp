// EAL arguments that name virtual devices: `--vdev=net_x0,key=value,...`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nd::pmd {

/// The value of one `--vdev`.
class vdev_args {
 public:
  explicit vdev_args(std::string text) : text_(std::move(text)) {}

  const std::string& text() const noexcept { return text_; }
  std::string_view name() const noexcept;
  /// Drivers are matched by how the name begins, as the EAL does.
  bool is(std::string_view driver) const noexcept { return name().starts_with(driver); }

  /// The value of `key`; nothing where it isn't there. Of two the last one counts.
  std::optional<std::string> find(std::string_view key) const;
  void add(std::string_view key, std::string_view value);

 private:
  std::string text_;
};

/// Calls `change(vdev)` for each `--vdev` of the EAL arguments, up to "--", and writes back what it
/// made of it.
void for_each_vdev(std::vector<std::string>& eal_args,
                   const std::function<void(vdev_args&)>& change);

}  // namespace nd::pmd
