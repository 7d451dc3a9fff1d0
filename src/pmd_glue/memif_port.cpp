#include "pmd_glue/memif_port.hpp"

#include <rte_dev.h>
#include <rte_devargs.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "pmd_glue/ethdev_device.hpp"
#include "pmd_glue/log.hpp"
#include "pmd_glue/memif_bell.hpp"
#include "pmd_glue/memif_guard.hpp"
#include "pmd_glue/memif_lanes.hpp"

namespace nd::pmd {
namespace {

/// What the first lcore has found out of a link, for all of them: one word.
struct alignas(8) link_queues {
  std::uint32_t link = 0;  ///< memif_guard::link_number()
  std::uint8_t receive_lcores = 0;
  std::uint8_t send_lcores = 0;
  std::uint8_t lanes = 0;  ///< 4 bits each: receiving, sending
  std::uint8_t stride = 1;

  friend bool operator==(const link_queues&, const link_queues&) = default;
};
static_assert(std::atomic<link_queues>::is_always_lock_free);

/// With several rx_queues, for ends that are not this library, there are no lanes.
std::uint8_t lanes_of(const settings& values) noexcept {
  return values.class_queues == "auto" && values.rx_queues == 1 ? 2 : 1;
}

/// How many lcores can have queues: what the client's memory, whose offsets have 32 bits, can hold.
std::uint8_t lcores_that_fit(const memif_args& arguments, unsigned lcores, unsigned lanes) {
  const std::uint64_t ring = (std::uint64_t{arguments.bsize} + 16 + 1) << arguments.rsize;
  const std::uint64_t most = std::numeric_limits<std::uint32_t>::max() / (2 * lanes * ring);
  return static_cast<std::uint8_t>(
      std::clamp<std::uint64_t>(most, 1, std::min(lcores, memif_lcores_max)));
}

/// What the ports of a memif share.
class memif_device {
 public:
  memif_device(const settings& values, const rte_eth_dev_info& info, const memif_args& arguments,
               std::uint16_t mtu, rte_mempool* rx_pool, unsigned lcores)
      : mend_(arguments),
        device_(std::in_place, values, info, mtu, rx_pool, 1),
        wanted_{.lanes = lanes_of(values)} {
    wanted_.lcores = lcores_that_fit(arguments, lcores, wanted_.lanes);
    own_ = wanted_;
    if (arguments.role == memif_role::client) return;  // started by its redial
    // The driver refuses a client with more. One of several lcores has as many lanes as it likes;
    // another kind of client as many pairs as rx_queues says.
    const unsigned pairs = wanted_.lcores > 1 ? wanted_.lcores * memif_lanes_max
                                              : std::max<unsigned>(wanted_.lanes, queue_count());
    if (pairs > 1) device_->set_up_pairs(pairs);
    device_->start();
  }
  /// After all guards were released.
  ~memif_device() {
    const interrupt_pause quiet;
    device_.reset();
  }
  memif_device(const memif_device&) = delete;
  memif_device& operator=(const memif_device&) = delete;

  std::uint16_t id() const noexcept { return device_->id(); }
  std::uint16_t queue_count() const noexcept { return device_->queue_count(); }
  rte_mempool* rx_pool() const noexcept { return device_->rx_pool(); }
  const port_capabilities& capabilities() const noexcept { return device_->capabilities(); }
  memif_pairs wanted() const noexcept { return wanted_; }
  /// Of the link that there is.
  memif_pairs own() const noexcept { return own_; }

  /// For a client, of a server that takes so many.
  bool set_up(unsigned pairs) {
    try {
      own_ = within(wanted_, pairs);
      if (wanted_.count() > 1) device_->set_up_pairs(own_.count());
      return true;
    } catch (const std::system_error& error) {
      log(log_level::warning, error.what());
      return false;
    }
  }

  void publish(const link_queues& found) noexcept {
    found_.store(found, std::memory_order_relaxed);
  }
  /// A word of another link is not for this one. No order is needed beside it: what the driver did
  /// is seen through the gate.
  link_queues found() const noexcept { return found_.load(std::memory_order_relaxed); }

 private:
  memif_listener_mend mend_;
  std::optional<ethdev_device> device_;
  memif_pairs wanted_;
  memif_pairs own_;  ///< changes only while the link is down and the interrupt thread is held
  alignas(64) std::atomic<link_queues> found_{};
};

class memif_port : public port {
 public:
  memif_port(std::shared_ptr<memif_device> device, unsigned lcore)
      : device_(std::move(device)),
        guard_(device_->id()),
        bell_(device_->capabilities().mac, device_->rx_pool()),
        id_(device_->id()),
        lcore_(lcore) {}
  ~memif_port() override { guard_.release(); }

  const port_capabilities& capabilities() const noexcept override {
    return device_->capabilities();
  }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    if (!may_poll(now) || !receives_) return 0;
    const std::size_t n = receive(now, queue_, frames);
    if (n == 0) found_nothing(now);
    return n;
  }
  std::size_t rx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    if (!receives_urgent_ || !may_poll(now) || !receives_urgent_) return 0;
    return receive(now, static_cast<std::uint16_t>(queue_ + 1), frames);
  }
  /// Between two calls of rx_burst, as the guard asks for; frames to nobody are lost as on a wire
  /// without a link.
  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override {
    return send(now, false, frames);
  }
  std::size_t tx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    return send(now, true, frames);
  }
  void tick(instant) override {}
  bool link_up() const noexcept override { return guard_.link_up(); }
  bool sends() const noexcept override { return sends_; }
  rx_wake arm_rx_wake() noexcept override {
    if (!pollable_ || !receives_ || !sends_) return {};
    armed_ = bell_.promised();
    if (armed_) return {.told = true, .fd = bell_.fd()};
    if (rte_mbuf* question = bell_.question()) {
      if (send_word(queue_, question)) bell_.asked();
    }
    return {};
  }
  void disarm_rx_wake() noexcept override {
    armed_ = false;
    bell_.hear();
  }

 protected:
  /// What this lcore may use of a link: seen again in each poll, because the first lcore finds out
  /// at any time, and a word of the link before must not be taken for this one's.
  bool may_poll(instant now) {
    pollable_ = guard_.may_poll(now);
    resting_ = false;
    if (!guard_.link_up()) {
      use({});
      return pollable_;
    }
    if (!pollable_) return false;
    const link_queues found = device_->found();
    use(found.link == guard_.link_number() ? found : link_queues{});
    return true;
  }
  void use(const link_queues& found) noexcept {
    if (found == used_) [[likely]]
      return;
    if (found.link != used_.link) bell_.reset();
    used_ = found;
    queue_ = static_cast<std::uint16_t>(lcore_ * found.stride);
    receives_ = lcore_ < found.receive_lcores;
    receives_urgent_ = receives_ && (found.lanes >> 4) > 1;
    sends_ = lcore_ < found.send_lcores;
    sends_urgent_ = sends_ && (found.lanes & 15) > 1;
  }
  std::size_t receive(instant now, std::uint16_t queue, std::span<rte_mbuf*> frames) {
    const std::size_t n =
        rte_eth_rx_burst(id_, queue, frames.data(), static_cast<std::uint16_t>(frames.size()));
    bell_.looked();
    if (n == 0) return 0;
    guard_.received(now);
    return bell_.on_received(frames.first(n));
  }
  /// To the other end's port itself. Lost where the ring is full: it is said again.
  bool send_word(std::uint16_t queue, rte_mbuf* frame) {
    if (pollable_ && rte_eth_tx_burst(id_, queue, &frame, 1) == 1) return true;
    rte_pktmbuf_free(frame);
    return false;
  }
  /// The last look before a sleep.
  void found_nothing(instant now) {
    if (!armed_) [[likely]]
      return;
    guard_.rest(now);
    pollable_ = false;
    resting_ = true;
  }
  std::size_t send(instant now, bool urgent, std::span<rte_mbuf*> frames) {
    if (resting_) [[unlikely]]
      may_poll(now);
    if (pollable_ && sends_) {
      const auto queue = static_cast<std::uint16_t>(queue_ + (urgent && sends_urgent_));
      const std::size_t n =
          rte_eth_tx_burst(id_, queue, frames.data(), static_cast<std::uint16_t>(frames.size()));
      if (n > 0) bell_.sent();
      return n;
    }
    if (guard_.link_up()) return 0;
    rte_pktmbuf_free_bulk(frames.data(), static_cast<unsigned>(frames.size()));
    return frames.size();
  }

  std::shared_ptr<memif_device> device_;
  memif_guard guard_;
  memif_bell bell_;
  std::uint16_t id_;
  std::uint16_t queue_ = 0;
  unsigned lcore_;
  link_queues used_{};
  bool armed_ = false;
  bool resting_ = false;  ///< outside the guard, to sleep
  bool pollable_ = false;
  bool receives_ = false;
  bool receives_urgent_ = false;
  bool sends_ = false;
  bool sends_urgent_ = false;
};

/// The first lcore's, which restarts the device and agrees with the other end.
class first_memif_port final : public memif_port {
 public:
  first_memif_port(std::shared_ptr<memif_device> device, const memif_args& arguments)
      : memif_port(std::move(device), 0),
        redial_(id_, arguments, device_->wanted().count(), handshake_of(device_->wanted()),
                [this](unsigned pairs) { return device_->set_up(pairs); }),
        lanes_(arguments.role, device_->capabilities().mac, device_->rx_pool()),
        is_server_(arguments.role == memif_role::server) {}

  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    if (!may_poll_first(now)) return 0;
    // Of several rx_queues, for another kind of end: each turn starts with the next one.
    std::size_t n = 0;
    for (std::uint16_t i = 0; i < device_->queue_count() && n < frames.size(); ++i) {
      n += receive(now, next_queue_, frames.subspan(n));
      if (++next_queue_ >= device_->queue_count()) next_queue_ = 0;
    }
    if (n > 0) return without_words(frames.first(n), false);
    found_nothing(now);
    return 0;
  }
  std::size_t rx_urgent(instant now, std::span<rte_mbuf*> frames) override {
    if (!receives_urgent_ || !may_poll_first(now) || !receives_urgent_) return 0;
    const std::size_t n = receive(now, 1, frames);
    return n == 0 ? 0 : without_words(frames.first(n), true);
  }
  void tick(instant now) override {
    if (!pollable_) return;
    if (now >= silent_at_) [[unlikely]]
      tell_silence();
    auto [frame, on_second] = lanes_.next_word(now);
    if (frame == nullptr) return;
    send_word(on_second ? 1 : 0, frame);
  }
  /// Without a link too: what is sent is then dropped here.
  bool sends() const noexcept override { return true; }

 private:
  /// A client of ours has said its last word by then.
  static constexpr duration words_come_within = duration::seconds(1);

  /// The PMD's messages, four for the rings of each more lcore.
  static duration handshake_of(memif_pairs pairs) {
    return memif_redial::handshake + duration::milliseconds(100) * (pairs.lcores - 1);
  }
  bool may_poll_first(instant now) {
    pollable_ = guard_.may_poll(now);
    resting_ = false;
    if (guard_.link_up() != linked_ || (linked_ && guard_.link_number() != link_)) [[unlikely]]
      on_link(now);
    if (!pollable_ && !linked_) redial_.poll(now);
    return pollable_;
  }
  [[gnu::cold]] void on_link(instant now) {
    linked_ = guard_.link_up();
    link_ = guard_.link_number();
    if (linked_)
      lanes_.start(now, device_->own());
    else
      lanes_.stop();
    const bool expects = linked_ && is_server_ && device_->wanted().count() > 1;
    silent_at_ = expects ? now + words_come_within : instant::never();
    share();
  }
  /// The driver does not tell a server how many pairs its client has.
  [[gnu::cold]] void tell_silence() {
    silent_at_ = instant::never();
    if (lanes_.heard()) return;
    log(log_level::notice, "ethdev port " + std::to_string(id_) +
                               " (net_memif): the other end has one pair of queues, or is not "
                               "libndstack: no other pair is polled (rx_queues)");
  }
  std::size_t without_words(std::span<rte_mbuf*> frames, bool on_second) {
    const std::size_t n = lanes_.on_received(frames, on_second);
    if (n < frames.size()) [[unlikely]]
      share();
    return n;
  }
  void share() {
    const memif_queues q = lanes_.queues();
    link_queues found{};
    if (linked_)
      found = {.link = link_,
               .receive_lcores = q.receive.lcores,
               .send_lcores = q.send.lcores,
               .lanes = static_cast<std::uint8_t>(q.receive.lanes << 4 | q.send.lanes),
               .stride = q.stride};
    if (found == used_) return;
    if (found.send_lcores > std::max<unsigned>(used_.send_lcores, 1))
      log(log_level::info, "ethdev port " + std::to_string(id_) + " (net_memif): " +
                               std::to_string(found.send_lcores) + " io lcores have queues");
    use(found);
    device_->publish(found);
  }

  memif_redial redial_;
  memif_lanes lanes_;
  std::uint32_t link_ = 0;
  std::uint16_t next_queue_ = 0;
  instant silent_at_ = instant::never();
  bool is_server_;
  bool linked_ = false;
};

}  // namespace

std::optional<memif_args> memif_of(const rte_eth_dev_info& info) {
  if (std::string_view(info.driver_name) != "net_memif") return std::nullopt;
  const rte_devargs* arguments = rte_dev_devargs(info.device);
  if (arguments == nullptr) return std::nullopt;
  std::string text = arguments->name;
  if (arguments->args != nullptr) text += std::string(",") + arguments->args;
  return parse_memif_vdev(text);
}

std::vector<std::unique_ptr<port>> open_memif_ports(const settings& values,
                                                    const rte_eth_dev_info& info,
                                                    const memif_args& arguments, std::uint16_t mtu,
                                                    rte_mempool* rx_pool, unsigned lcores) {
  settings own = values;
  if (lcores > 1) own.rx_queues = 1;
  const auto device = std::make_shared<memif_device>(own, info, arguments, mtu, rx_pool, lcores);
  std::vector<std::unique_ptr<port>> out;
  out.push_back(std::make_unique<first_memif_port>(device, arguments));
  for (unsigned i = 1; i < lcores; ++i) out.push_back(std::make_unique<memif_port>(device, i));
  return out;
}

}  // namespace nd::pmd
