#include "sim/machine.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "sim/fallible_pool.hpp"
#include "unit/support/app.hpp"

namespace nd::sim {
namespace {

constexpr unsigned pool_mbufs = 2048;
constexpr unsigned send_pool = 1;
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
      random_(s.seed * 64 + index),
      lent_{pools_.lent()} {
  for (unsigned i = 0; i < 3; ++i) faults_of(pool(i)).random = rng(random_.next());
  faults_of(pools_.lent()).random = rng(s.seed * 64 + index + 32);
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
  const std::vector<port*> devices = plug(now);
  const core::host_config config = configuration();
  lcores_.resize(scenario_.io_lcores.empty() ? 1 : scenario_.io_lcores[index_]);
  if (lcores_.size() > 1) {
    address_ = config.address;
    exchange_ = std::make_unique<core::lcore_exchange>(static_cast<unsigned>(lcores_.size()));
    ports_ =
        core::share_devices(*exchange_, address_,
                            std::span(devices).first(scenario_.device_queues ? lcores_.size() : 1));
  }
  for (unsigned i = 0; i < lcores_.size(); ++i) {
    io_lcore& l = lcores_[i];
    core::host_config own = config;
    own.name += "-" + std::to_string(i);
    own.seed += i;
    own.place = {i, static_cast<unsigned>(lcores_.size())};
    own.exchange = exchange_.get();
    port& device = exchange_ != nullptr ? static_cast<port&>(*ports_[i]) : *device_;
    l.host = std::make_unique<core::host>(own, device, now + scenario_.ahead[index_]);
    l.checks.emplace(index_, *l.host, scenario_.values, device_->capabilities().mtu,
                     scenario_.hosts - 1);
    l.last_turn = now;
  }
  start_copiers(config.values);
  last_turn_ = booted_at_ = now;
  paused_until_ = {};
  goodbyes_ = 0;
  next_goodbye_ = instant::never();
}

/// The device, as often as there may be lcores: in turn each takes what has arrived.
std::vector<port*> machine::plug(instant now) {
  port_capabilities c;
  c.mac = test::made_mac(index_);
  c.mtu = scenario_.mtu[index_];
  c.tx_chains = !scenario_.chains.empty() && scenario_.chains[index_];
  device_ = &network_.plug(index_, c, pools_.rx(), now);
  device_->ahead = scenario_.ahead[index_];
  device_->lanes = scenario_.lanes;
  device_->accept = [this]() -> std::size_t {
    if (device_full_one_in_ == 0 || random_.below(device_full_one_in_) != 0) return ~std::size_t{0};
    return random_.below(8);
  };
  return std::vector<port*>(core::most_io_lcores, device_);
}

core::host_config machine::configuration() {
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
  return config;
}

void machine::stop() {
  for (io_lcore& l : lcores_) {
    l.checks->counters_add_up();
    counted_.add(l.host->stats());
  }
  if (copies_ != nullptr)
    for (const auto& lcore : copies_->lcores) counted_.add(lcore->stats());
  abandon();
  if (lent_.live != 0)
    throw violation(fmt::format("host {} has gone with {} loans", index_, lent_.live.load()));
}

void machine::abandon() noexcept {
  copies_.reset();
  lcores_.clear();
  ports_.clear();
  exchange_.reset();
  next_goodbye_ = instant::never();
  goodbyes_ = 0;
}

void machine::nothing_is_left() const {
  for (const io_lcore& l : lcores_) {
    const core::host_holdings h = l.host->holdings();
    if (h.sockets != 0) throw violation(fmt::format("host {} keeps {} sockets", index_, h.sockets));
    if (h.credit != 0 || h.out_of_order != 0)
      throw violation(fmt::format("host {} keeps {} bytes of credit, {} of memory out of order",
                                  index_, h.credit, h.out_of_order));
    if (h.forwarded != 0)
      throw violation(
          fmt::format("host {}: {} records are with other lcores", index_, h.forwarded));
    if (h.handed != 0)
      throw violation(fmt::format("host {}: {} packets are at other lcores", index_, h.handed));
  }
  if (lent_.live != 0)
    throw violation(fmt::format("host {}: {} loans are not returned", index_, lent_.live.load()));
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
  if (goodbyes_ == 0 && !drained() && now < linger_until_) {
    next_goodbye_ = now + goodbye_interval / 10;
    return;
  }
  next_goodbye_ = now + goodbye_interval;
  bool waiting = false;
  for (io_lcore& l : lcores_)
    waiting = l.host->say_goodbye(now + scenario_.ahead[index_]) || waiting;
  if (++goodbyes_ > most_goodbyes || !waiting) goodbyes_ = most_goodbyes + 1;
}

bool machine::drained() const noexcept {
  return std::ranges::all_of(lcores_, [](const io_lcore& l) { return l.host->drained(); });
}

instant machine::next_turn() const {
  if (!up()) return instant::never();
  instant next = std::max(next_goodbye_, last_turn_ + scenario_.turn);
  for (const io_lcore& l : lcores_) next = earlier(next, next_turn_of(l));
  return next.is_never() ? next : std::max(next, paused_until_);
}

instant machine::next_turn_of(const io_lcore& l) const {
  instant next = l.host->next_deadline();
  if (!next.is_never()) next = next - scenario_.ahead[index_];
  if (&l == &lcores_.front()) next = earlier(next, device_->next_arrival());
  return next.is_never() ? next
                         : std::max(std::max(next, l.last_turn + scenario_.turn), paused_until_);
}

void machine::start_copiers(const settings& values) {
  if (scenario_.copiers == 0) return;
  copies_ = std::make_unique<core::copy_service>(values);
  const auto answer = [this](core::app_end& end, std::uint32_t requests) {
    test::post_to(host(end.lcore), end, requests);
  };
  for (std::size_t i = 0; i < scenario_.copiers; ++i)
    copies_->lcores.push_back(std::make_unique<core::dcopy_lcore>(
        dcopy::make_cpu_engine(core::copy_digests(host().digests())), answer));
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
    copied = copies_->lcores[i]->poll(now) > 0 || copied;
    copy_at_[i] = instant::never();
  }
  return copied;
}

void machine::finish_copies() {
  if (copies_ == nullptr) return;
  for (const auto& lcore : copies_->lcores)
    while (lcore->poll(last_turn_) > 0) continue;
}

void machine::turn(instant now) {
  end_faults(now);
  // Those that are due, from any of them on: between two lcores nothing says who is first.
  const std::size_t first = lcores_.size() > 1 ? random_.below(lcores_.size()) : 0;
  for (std::size_t i = 0; i < lcores_.size(); ++i) {
    io_lcore& l = lcores_[(first + i) % lcores_.size()];
    if (lcores_.size() == 1 || next_turn_of(l) <= now || scenario_.device_queues) turn(l, now);
  }
  last_turn_ = now;
  go_on_leaving(now);
}

void machine::turn(io_lcore& l, instant now) {
  const instant host_now = now + scenario_.ahead[index_];
  l.checks->before_turn();
  std::size_t served = l.host->push(host_now);
  l.checks->after_push();
  served += l.host->pull(host_now);
  l.last_turn = now;
  l.checks->after_turn(host_now, served, short_of_something(now));
}

bool machine::short_of_something(instant now) const {
  if (now < short_until_) return true;
  for (unsigned i = 0; i < 3; ++i)
    if (rte_mempool_avail_count(pool(i)) == 0) return true;
  if (rte_mempool_avail_count(pools_.lent()) == 0) return true;
  return false;
}

void machine::expect_deadline(instant now, duration within) const {
  const instant latest = now + scenario_.ahead[index_] + within;
  const bool deadline = std::ranges::any_of(
      lcores_, [&](const io_lcore& l) { return l.host->next_deadline() <= latest; });
  if (!deadline && device_->next_arrival() > now + within)
    throw violation(fmt::format("host {} has bytes to send, and nothing will wake it within {} ms",
                                index_, within.ns() / 1'000'000));
}

void machine::hoard(unsigned number, unsigned left, instant until) {
  hoards_.emplace_back(pool(number), left);
  if (number == send_pool) hoards_.emplace_back(pools_.lent(), left);
  short_until_ = std::max(short_until_, until);
}

void machine::fail_allocation(unsigned number, std::uint64_t countdown) {
  // Mbufs for lent bytes are the send pool's companions.
  const bool lent = number == send_pool && random_.chance(0.5);
  faults_of(lent ? pools_.lent() : pool(number)).countdown = countdown;
}

void machine::fail_often(unsigned number, std::uint64_t one_in, instant until) {
  faults_of(pool(number)).one_in = one_in;
  if (number == send_pool) faults_of(pools_.lent()).one_in = one_in;
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
  faults_of(pools_.lent()).one_in = 0;
}

void machine::calm() {
  short_until_ = paused_until_ = {};
  end_faults({});
  for (unsigned i = 0; i < 3; ++i) faults_of(pool(i)).countdown = 0;
  faults_of(pools_.lent()).countdown = 0;
}

}  // namespace nd::sim
