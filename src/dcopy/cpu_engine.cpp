#include <array>

#include "dcopy/engine.hpp"

namespace nd::dcopy {
namespace {

class cpu_engine final : public engine {
 public:
  explicit cpu_engine(const digest_functions& digests) : digests_(digests) {}

  bool start(const request& r) noexcept override {
    if (count_ == done_.size()) return false;
    copy_by_cpu(r, digests_);
    done_[count_++] = r;
    return true;
  }

  std::size_t collect(std::span<request> out, instant /*now*/) noexcept override {
    std::size_t n = 0;
    while (n < out.size() && count_ > 0) out[n++] = done_[--count_];
    return n;
  }

 private:
  digest_functions digests_;
  std::array<request, 8> done_;
  std::size_t count_ = 0;
};

}  // namespace

std::unique_ptr<engine> make_cpu_engine(const digest_functions& digests) {
  return std::make_unique<cpu_engine>(digests);
}

}  // namespace nd::dcopy
