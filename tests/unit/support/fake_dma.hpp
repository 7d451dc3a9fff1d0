// A DMA device for tests: a dmadev driver that copies when it is asked what is done. It checks that
// it is given nothing that a device of its kind cannot reach.
#pragma once

#include <rte_common.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace nd::test {

struct fake_dma_traits {
  bool sva = false;
  /// Copies that it does before it hangs: for ten seconds, so that who waits for it fails and does
  /// not hang as well.
  unsigned completes = std::numeric_limits<unsigned>::max();
  /// Every so many copies, one fails; 0: none.
  unsigned fails = 0;
  std::uint16_t room = 1024;  ///< of copies that it takes
  /// When it hangs. `never`: says so, and tells nothing of its queue; `says_so`: has no way to
  /// stop, and says that it has, but also that its queue is active.
  enum { when_told, never, says_so } stops = when_told;
};

/// Its driver's functions may run on another thread than the rest.
class fake_dma {
 public:
  explicit fake_dma(const fake_dma_traits& traits = {});
  ~fake_dma();
  fake_dma(const fake_dma&) = delete;
  fake_dma& operator=(const fake_dma&) = delete;

  std::int16_t id() const noexcept { return id_; }

  /// Does what it has, and all that comes.
  void go_on();

  std::uint64_t bytes() const;  ///< that it has copied
  bool started() const;
  /// What a driver may not be asked for, and was: empty in a good test.
  std::vector<std::string> violations() const;

 private:
  struct driver;  // the functions that dmadev calls; in the .cpp, with the driver's headers
  friend struct driver;

  struct copy {
    rte_iova_t from;
    rte_iova_t to;
    std::uint32_t length;
  };

  bool hangs();
  /// False: it fails.
  bool do_first();

  const fake_dma_traits traits_;
  const std::string name_;
  std::int16_t id_ = -1;
  mutable std::mutex mutex_;
  unsigned left_;                                              ///< copies until it hangs
  std::optional<std::chrono::steady_clock::time_point> hung_;  ///< since when
  unsigned done_ = 0;
  bool first_failed_ = false;
  std::deque<copy> written_;    ///< not submitted yet
  std::deque<copy> submitted_;  ///< not told finished yet
  std::uint16_t index_ = 0;     ///< of the next that is told finished
  std::uint64_t bytes_ = 0;
  bool started_ = false;
  std::vector<std::string> violations_;
};

}  // namespace nd::test
