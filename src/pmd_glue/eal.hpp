// The EAL: initialised once a process, with messages for what can go wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nd::pmd {

/// Holds the process's EAL while it lives. The one that initialised it also cleans it up.
class eal {
 public:
  /// Initialises the EAL with `args` (without the program's name). Where an earlier one did and
  /// still lives, uses that; `args` must be empty then. Throws std::system_error(errc::eal_failed,
  /// errc::no_device).
  explicit eal(const std::vector<std::string>& args);
  /// Uses what the application has initialised.
  eal() = default;
  ~eal();
  eal(const eal&) = delete;
  eal& operator=(const eal&) = delete;

 private:
  bool owner_ = false;
  bool has_memif_ = false;
  std::string own_folder_;  ///< of the EAL's files, which it leaves behind; removed at the end
};

/// What rte_eal_init() did not say, where it refused `args` with this rte_errno.
std::string eal_refusal(const std::vector<std::string>& args, int error);

/// Gives the calling thread an lcore id, and with it a cache of each mempool, if it has none.
void register_thread() noexcept;

struct eal_lcore {
  unsigned id = 0;
  int node = -1;  ///< NUMA node; -1: its CPUs are on several
  bool main = false;
  bool busy = false;  ///< runs something already

  bool operator==(const eal_lcore&) const = default;
};
/// All that the EAL has, in the order of their ids.
std::vector<eal_lcore> eal_lcores();

/// Launches `loop(argument)` on an EAL lcore, which `setting` names. Throws
/// std::system_error(errc::bad_option) where the EAL has no such lcore, or it is the main one, or
/// it is busy.
void launch_on_lcore(std::string_view setting, unsigned lcore, int (*loop)(void*), void* argument);
void wait_for_lcore(unsigned lcore) noexcept;

/// Secrets and seeds from the system.
void fill_random(void* bytes, std::size_t size);
/// Nanoseconds of the wall clock: what makes a later boot's epoch larger.
std::uint64_t wall_clock_ns() noexcept;

}  // namespace nd::pmd
