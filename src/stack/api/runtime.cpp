#include "nd/runtime.hpp"

#include "api/command_line.hpp"
#include "api/runtime_impl.hpp"

namespace nd {
namespace {

std::unique_ptr<api::runtime_impl> start(std::string program, api::command_line line) {
  line.args.insert(line.args.begin(), std::move(program));
  return std::make_unique<api::runtime_impl>(line.cfg, std::move(line.args), false);
}

}  // namespace

runtime::runtime(int argc, char** argv)
    : impl_(start(argc > 0 ? argv[0] : "",
                  api::parse_command_line(argc > 0 ? std::vector<std::string>(argv + 1, argv + argc)
                                                   : std::vector<std::string>()))) {}

runtime::runtime(const config& cfg) : impl_(start("", {cfg, {}})) {}

runtime::runtime(std::string_view command_line)
    : impl_(start("", api::parse_command_line(api::split_words(command_line)))) {}

runtime::runtime(existing_eal_t, const config& cfg)
    : impl_(std::make_unique<api::runtime_impl>(cfg, std::vector<std::string>(1), true)) {}

runtime::~runtime() = default;

const std::vector<std::string>& runtime::args() const noexcept {
  return impl_->args();
}
std::size_t runtime::poll() {
  return impl_->inline_mode() ? impl_->poll() : 0;
}
std::size_t runtime::wait_for(std::chrono::nanoseconds most) {
  return impl_->wait_for(duration(most.count()));
}
void runtime::interrupt() noexcept {
  impl_->interrupt();
}
bool runtime::interrupted() const noexcept {
  return impl_->interrupted();
}
void runtime::clear_interrupt() noexcept {
  impl_->clear_interrupt();
}
address runtime::address() const noexcept {
  return impl_->address();
}
std::size_t runtime::max_payload() const noexcept {
  return impl_->host().max_payload();
}
std::string runtime::setting(std::string_view name) const {
  return impl_->configuration().get(name);
}

std::vector<counter> runtime::stats() const {
  std::vector<counter> out;
  const auto add = [&out](const counters& of_lcore) {
    std::size_t row = 0;
    of_lcore.for_each([&](std::string_view name, std::string_view unit, std::string_view help,
                          std::uint64_t value) {
      if (row == out.size()) out.push_back({name, unit, help, 0});
      out[row++].value += value;
    });
  };
  impl_->for_each_host([&](const core::host& h) { add(h.stats()); });
  const core::copy_service* const copies = impl_->copies();
  if (copies != nullptr)
    for (const auto& lcore : copies->lcores) add(lcore->stats());
  out.push_back(
      {"dcopy_by_callers", "bytes",
       "of calls for dcopy lcores, copied by the calling thread because those had much to do",
       copies != nullptr ? copies->by_callers.load(std::memory_order_relaxed) : 0});
  out.push_back({"lent_by_copy", "bytes",
                 "of write_lent() that were copied, because this device can't send them so",
                 impl_->lent_by_copy.load(std::memory_order_relaxed)});
  const api::runtime_impl::mbufs_in_use used = impl_->count_mbufs();
  out.push_back({"rx_mbufs_in_use", "mbufs", "of the receive pool, now", used.rx});
  out.push_back({"tx_mbufs_in_use", "mbufs", "of the send pool, now", used.tx});
  out.push_back({"packet_mbufs_in_use", "mbufs", "of the stack's own pool, now", used.packets});
  return out;
}

}  // namespace nd
