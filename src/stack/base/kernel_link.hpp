// An interface that the kernel has too, as the stack sees it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/port.hpp"

namespace nd {

struct kernel_news {
  enum class kind : std::uint8_t { neighbor, link_up, link_down, gone };
  kind what{};
  std::uint32_t ip = 0;  ///< of a neighbour
  mac_address mac{};
};

/// What the kernel says of an interface that it shares with this stack. One thread at a time.
class kernel_link {
 public:
  virtual ~kernel_link() = default;
  /// This host's address is the kernel's as well. Then the kernel answers ARP and ping, and knows
  /// the neighbours: ARP's answers may go to it alone.
  virtual bool has_our_address() const noexcept = 0;
  /// Asks for a neighbour. The answer, if there is one, comes as news.
  virtual void resolve(std::uint32_t ip) = 0;
  /// Never blocks.
  virtual std::optional<kernel_news> next() = 0;
};

}  // namespace nd
