#include "sim/machine.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "sim/fallible_pool.hpp"
#include "unit/support/app.hpp"

namespace nd::sim {
namespace {

constexpr unsigned pool_mbufs = 2048;
constexpr std::uint16_t largest_mtu = 4000;
constexpr duration goodbye_interval = duration::milliseconds(5);  // as runtime_impl's

/// Of all runs: making them takes longer than most runs do. Never destroyed: the EAL is gone then.
test::host_pools& pools_of(std::size_t index) {
  static auto& made = *new std::vector<std::unique_ptr<test::host_pools>>;
  while (made.size() <= index)
    made.push_back(std::make_unique<test::host_pools>(pool_mbufs, pool_mbufs, largest_mtu,
                                                      &make_fallible_pool));
  return *made[index];
}

}  // namespace

machine::machine(std::size_t index, const scenario& s, network& net, trace& t,
                 test::host_pools* pools)
    : index_(index),
      scenario_(s),
      network_(net),
      trace_(t),
      pools_(pools != nullptr ? *pools : pools_of(index)),
      in_use_before_(pools_.in_use()),
      random_(s.seed * 64 + index) {
  for (unsigned i = 0; i < 3; ++i) faults_of(pool(i)).random = rng(random_.next());
}

machine::~machine() {
  calm();
}

unsigned machine::mbufs_in_use() const {
  return pools_.in_use() - in_use_before_;
}

rte_mempool* machine::pool(unsigned number) const {
  return std::array{pools_.rx(), pools_.tx(), pools_.packets()}[number];
}

void machine::start(instant now) {
  trace_.note(now, "{} boots", index_);
  port_capabilities c;
  c.mac = test::made_mac(index_);
  c.mtu = scenario_.mtu[index_];
  device_ = &network_.plug(index_, c, pools_.rx(), now);
  device_->ahead = scenario_.ahead[index_];
  device_->lanes = scenario_.lanes;
  device_->accept = [this]() -> std::size_t {
    if (device_full_one_in_ == 0 || random_.below(device_full_one_in_) != 0) return ~std::size_t{0};
    return random_.below(8);
  };
  core::host_config config = test::made_config(index_, scenario_.values, pools_);
  if (!scenario_.congestion.empty()) config.values.congestion = scenario_.congestion[index_];
  if (scenario_.static_neighbors)
    for (std::size_t i = 0; i < scenario_.hosts; ++i)
      if (i != index_) config.neighbors.emplace_back(test::made_ip(i), test::made_mac(i));
  ++boot_;
  config.epoch = 1'000'000 * (index_ + 1) + boot_;
  config.cookie_key.fill(static_cast<std::uint8_t>(random_.next()));
  config.seed = random_.next();
  config.rx_reserved = scenario_.rx_reserved;
  config.first_number = scenario_.first_number;
  config.first_offset = scenario_.first_offset;
  host_ = std::make_unique<core::host>(config, *device_, now + scenario_.ahead[index_]);
  start_copiers(config.values);
  checks_.emplace(index_, *host_, scenario_.values, c.mtu, scenario_.hosts - 1);
  last_turn_ = booted_at_ = now;
  paused_until_ = {};
  goodbyes_ = 0;
  next_goodbye_ = instant::never();
}

void machine::stop() {
  checks_->counters_add_up();
  counted_.add(host_->stats());
  if (copies_ != nullptr)
    for (const auto& lcore : copies_->lcores) counted_.add(lcore->stats());
  abandon();
}

void machine::abandon() noexcept {
  checks_.reset();
  copies_.reset();
  host_.reset();
  next_goodbye_ = instant::never();
  goodbyes_ = 0;
}

void machine::nothing_is_left() const {
  const core::host_holdings h = host_->holdings();
  if (h.sockets != 0) throw violation(fmt::format("host {} keeps {} sockets", index_, h.sockets));
  if (h.credit != 0 || h.out_of_order != 0)
    throw violation(fmt::format("host {} keeps {} bytes of credit, {} of memory out of order",
                                index_, h.credit, h.out_of_order));
  if (mbufs_in_use() != 0)
    throw violation(fmt::format("host {} keeps {} mbufs", index_, mbufs_in_use()));
}

void machine::leave(instant now) {
  linger_until_ = now + scenario_.values.linger;
  next_goodbye_ = now;
}

// As runtime_impl's destructor does it.
void machine::go_on_leaving(instant now) {
  if (now < next_goodbye_) return;
  if (goodbyes_ == 0 && !host_->drained() && now < linger_until_) {
    next_goodbye_ = now + goodbye_interval / 10;
    return;
  }
  next_goodbye_ = now + goodbye_interval;
  if (++goodbyes_ > most_goodbyes || !host_->say_goodbye(now + scenario_.ahead[index_]))
    goodbyes_ = most_goodbyes + 1;
}

instant machine::next_turn() const {
  if (!up()) return instant::never();
  instant next = host_->next_deadline();
  if (!next.is_never()) next = next - scenario_.ahead[index_];
  next = earlier(earlier(next, device_->next_arrival()), next_goodbye_);
  return next.is_never() ? next
                         : std::max(std::max(next, last_turn_ + scenario_.turn), paused_until_);
}

void machine::start_copiers(const settings& values) {
  if (scenario_.copiers == 0) return;
  copies_ = std::make_unique<core::copy_service>(values);
  const auto answer = [this](core::app_end& end, std::uint32_t requests) {
    test::post_to(*host_, end, requests);
  };
  for (std::size_t i = 0; i < scenario_.copiers; ++i)
    copies_->lcores.push_back(std::make_unique<core::dcopy_lcore>(
        dcopy::make_cpu_engine(core::copy_digests(host_->digests())), answer));
  copy_at_.assign(scenario_.copiers, instant::never());
}

instant machine::next_copy() noexcept {
  instant next = instant::never();
  if (copies_ == nullptr) return next;
  for (std::size_t i = 0; i < copy_at_.size(); ++i) {
    if (copies_->lcores[i]->queued_bytes() == 0) continue;
    if (copy_at_[i].is_never())
      copy_at_[i] = last_turn_ + duration(static_cast<std::int64_t>(random_.below(
                                     static_cast<std::uint64_t>(scenario_.copy_time.ns()) + 1)));
    next = earlier(next, copy_at_[i]);
  }
  return next;
}

bool machine::copy(instant now) {
  bool copied = false;
  for (std::size_t i = 0; i < copy_at_.size(); ++i) {
    if (copy_at_[i] > now) continue;
    copied = copies_->lcores[i]->poll() > 0 || copied;
    copy_at_[i] = instant::never();
  }
  return copied;
}

void machine::finish_copies() {
  if (copies_ == nullptr) return;
  for (const auto& lcore : copies_->lcores)
    while (lcore->poll() > 0) continue;
}

void machine::turn(instant now) {
  end_faults(now);
  const instant host_now = now + scenario_.ahead[index_];
  checks_->before_turn();
  std::size_t served = host_->push(host_now);
  checks_->after_push();
  served += host_->pull(host_now);
  last_turn_ = now;
  checks_->after_turn(host_now, served, short_of_something(now));
  go_on_leaving(now);
}

bool machine::short_of_something(instant now) const {
  if (now < short_until_) return true;
  for (unsigned i = 0; i < 3; ++i)
    if (rte_mempool_avail_count(pool(i)) == 0) return true;
  return false;
}

void machine::expect_deadline(instant now, duration within) const {
  const instant latest = now + scenario_.ahead[index_] + within;
  if (host_->next_deadline() > latest && device_->next_arrival() > now + within)
    throw violation(fmt::format("host {} has bytes to send, and nothing will wake it within {} ms",
                                index_, within.ns() / 1'000'000));
}

void machine::hoard(unsigned number, unsigned left, instant until) {
  hoards_.emplace_back(pool(number), left);
  short_until_ = std::max(short_until_, until);
}

void machine::fail_allocation(unsigned number, std::uint64_t countdown) {
  faults_of(pool(number)).countdown = countdown;
}

void machine::fail_often(unsigned number, std::uint64_t one_in, instant until) {
  faults_of(pool(number)).one_in = one_in;
  short_until_ = std::max(short_until_, until);
}

void machine::fill_device(std::uint64_t one_in, instant until) {
  device_full_one_in_ = one_in;
  short_until_ = std::max(short_until_, until);
}

void machine::end_faults(instant now) {
  if (now < short_until_) return;
  hoards_.clear();
  device_full_one_in_ = 0;
  for (unsigned i = 0; i < 3; ++i) faults_of(pool(i)).one_in = 0;
}

void machine::calm() {
  short_until_ = paused_until_ = {};
  end_faults({});
  for (unsigned i = 0; i < 3; ++i) faults_of(pool(i)).countdown = 0;
}

}  // namespace nd::sim
