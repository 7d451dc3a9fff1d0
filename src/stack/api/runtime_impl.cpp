#include "api/runtime_impl.hpp"

#include <rte_pause.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "api/dev_option.hpp"
#include "api/refuse.hpp"
#include "api/text.hpp"
#include "pmd_glue/ethdev_port.hpp"
#include "pmd_glue/fault_port.hpp"
#include "pmd_glue/log.hpp"
#include "wire/ip.hpp"

namespace nd::api {
namespace {

// Beside what a device's descriptors may hold of what has left.
constexpr std::uint64_t packet_mbufs = 512;

// Between looks at the device's link. Some drivers read a PHY for it, which takes 0.1 ms.
constexpr duration watch_interval = duration::milliseconds(500);

std::uint32_t parse_address(std::string_view setting, std::string_view text) {
  try {
    return nd::address(text).to_uint();
  } catch (const std::system_error& e) {
    refuse("setting " + std::string(setting) + ": " + e.what());
  }
}

/// "A.B.C.D/N"
void parse_ip(const std::string& text, core::host_address& out) {
  if (text.empty()) refuse("no address: give --ip A.B.C.D/N (setting ip)");
  const auto slash = text.find('/');
  unsigned prefix = 0;
  bool good = slash != std::string::npos;
  if (good) {
    const char* end = text.data() + text.size();
    const auto [at, ec] = std::from_chars(text.data() + slash + 1, end, prefix);
    good = ec == std::errc() && at == end && prefix >= 1 && prefix <= 32;
  }
  if (!good) refuse("setting ip: '" + text + "' is not A.B.C.D/N with N from 1 to 32");
  out.ip = parse_address("ip", std::string_view(text).substr(0, slash));
  out.prefix = static_cast<std::uint8_t>(prefix);
}

/// "ip=mac,..."
std::vector<std::pair<std::uint32_t, mac_address>> parse_neighbors(std::string_view text) {
  std::vector<std::pair<std::uint32_t, mac_address>> out;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    const auto equals = part.find('=');
    mac_address mac{};
    bool good = equals != std::string_view::npos && part.size() == equals + 1 + 17;
    for (std::size_t i = 0; good && i < mac.size(); ++i) {
      const char* at = part.data() + equals + 1 + 3 * i;
      const auto [end, ec] = std::from_chars(at, at + 2, mac[i], 16);
      good = ec == std::errc() && end == at + 2 && (i == 5 || *end == ':');
    }
    if (!good)
      refuse("setting neighbors: '" + std::string(part) + "' is not A.B.C.D=xx:xx:xx:xx:xx:xx");
    out.emplace_back(parse_address("neighbors", part.substr(0, equals)), mac);
  }
  return out;
}

}  // namespace

runtime_impl::runtime_impl(const config& cfg, std::vector<std::string> args, bool eal_of_app)
    : config_(cfg), args_(std::move(args)) {
  if (!config_.get("dev").empty()) {
    if (eal_of_app) refuse("setting dev: the app has an EAL already; name its port (setting port)");
    apply_dev(config_);
  }
  values_ = settings(config_.values());
  if (!values_.ring.empty() && !values_.dev.empty())
    refuse("setting ring: that is instead of a device; leave dev out");
  // All that can be refused without the EAL is refused before it starts.
  parse_ip(values_.ip, address_);
  const pmd::fault_spec fault = pmd::parse_fault_spec(values_.fault);
  const lcore_wishes wishes = parse_lcores(values_);
  address_.udp = values_.encap == "udp";
  address_.ip_protocol = static_cast<std::uint8_t>(values_.ip_protocol);
  address_.udp_port = static_cast<std::uint16_t>(values_.udp_port);

  core::host_config host;
  host.neighbors = parse_neighbors(values_.neighbors);
  if (!values_.gateway.empty()) host.gateway = parse_address("gateway", values_.gateway);
  if (host.gateway == address_.ip) refuse("setting gateway: that is this host's own address");
  eal_ = eal_of_app ? std::make_unique<pmd::eal>() : std::make_unique<pmd::eal>(config_.eal_args());
  pmd::register_thread();
  clock_.emplace();
  if (!values_.ring.empty()) {
    ring_ = std::make_unique<pmd::ring_end>(values_.ring);
    values_.port = ring_->port();
  }
  const std::uint16_t mtu = pmd::port_mtu(values_);
  const lcore_facts lcores{pmd::eal_lcores(), pmd::port_node(values_)};
  plan_ = plan_lcores(wishes, lcores);
  const dcopy_plan dcopy = plan_dcopy(values_, plan_.dcopy);
  for (const std::string& line : describe_plan(plan_, lcores)) pmd::log(pmd::log_level::info, line);
  std::string suffix("-");
  suffix += std::to_string(values_.port);
  const auto loops = static_cast<unsigned>(std::max<std::size_t>(plan_.io.size(), 1));
  const unsigned ports = pmd::count_ports(values_, loops);
  const pmd::rx_pool_needs needs = pmd::port_rx_pool_needs(values_, mtu, ports);
  rx_pool_ = pmd::make_mbuf_pool("nd-rx" + suffix, static_cast<std::uint64_t>(values_.rx_mbufs),
                                 needs.data_room, needs.reserved, needs.layout);
  rx_pool_.get_deleter().kept = needs.kept;
  const unsigned held = std::max(pmd::port_tx_held(values_, ports), pmd::standard_descriptors);
  tx_pool_ = pmd::make_mbuf_pool("nd-tx" + suffix, static_cast<std::uint64_t>(values_.tx_mbufs),
                                 pmd::tx_data_room(mtu), held - pmd::standard_descriptors);
  packet_pool_ =
      pmd::make_mbuf_pool("nd-packets" + suffix, packet_mbufs + held, pmd::tx_data_room(mtu));
  ports_ = pmd::open_ports(values_, mtu, rx_pool_.get(), loops, &rss_, wire::dscp_latency);
  if (!values_.fault.empty())
    for (auto& p : ports_) p = std::make_unique<pmd::fault_port>(std::move(p), fault);
  address_.mac = ports_[0]->capabilities().mac;
  pmd::shared_interface shared =
      pmd::find_shared_interface(static_cast<std::uint16_t>(values_.port), address_.ip);
  host.watch_interval = watch_interval;
  if (host.gateway == 0) host.gateway = shared.gateway;

  host.name = "nd" + suffix;
  host.values = values_;
  host.address = address_;
  host.epoch = pmd::wall_clock_ns();
  pmd::fill_random(host.cookie_key.data(), host.cookie_key.size());
  host.seed = static_cast<std::uint64_t>(values_.seed);
  if (host.seed == 0) pmd::fill_random(&host.seed, sizeof host.seed);
  if (values_.meter == "on") host.cycle_clock = pmd::read_cycles;
  host.rx_pool = rx_pool_.get();
  host.rx_reserved = needs.reserved;
  host.tx_pool = tx_pool_.get();
  host.packet_pool = packet_pool_.get();
  idle_mode_ = pmd::idle_mode_of(values_.idle);
  make_lcores(loops, host, std::move(shared));
  if (!dcopy.lcores.empty()) {
    const auto answer = [this](core::app_end& end, std::uint32_t requests) {
      core::post(lcores_[end.lcore]->host().mailbox(), end, requests, pmd::pause);
      lcores_[end.lcore]->wake();
    };
    dcopy_ =
        std::make_unique<dcopy_lcores>(dcopy, values_, this->host().digests(), *clock_, answer);
  }
  try {
    for (std::size_t i = 0; i < plan_.io.size(); ++i) {
      pmd::launch_on_lcore("io_lcores", plan_.io[i], &run_loop, &loops_[i]);
      ++running_;
    }
  } catch (...) {
    stop_loops();
    throw;
  }
}

void runtime_impl::stop_loops() noexcept {
  stopping_.store(true, std::memory_order_release);
  for (unsigned i = 0; i < running_; ++i) lcores_[i]->wake();
  for (unsigned i = 0; i < running_; ++i) pmd::wait_for_lcore(plan_.io[i]);
}

void runtime_impl::make_lcores(unsigned count, const core::host_config& config,
                               pmd::shared_interface first) {
  std::vector<port*> ports;
  for (const auto& p : ports_) ports.push_back(p.get());
  if (count > 1) {
    exchange_ = std::make_unique<core::lcore_exchange>(count);
    shared_ = core::share_devices(*exchange_, address_, ports);
    exchange_->wake = [this](unsigned lcore) { lcores_[lcore]->wake(); };
    ports.clear();
    for (const auto& p : shared_) ports.push_back(p.get());
  }
  for (unsigned i = 0; i < count; ++i) {
    core::host_config own = config;
    own.place = {i, count};
    own.exchange = exchange_.get();
    if (rss_)
      own.comes_here = [this, i](std::uint32_t peer, std::uint16_t source) {
        return pmd::queue_of(*rss_, {peer, address_.ip, source, address_.udp_port}) == i;
      };
    if (i > 0) {
      own.name += "-" + std::to_string(i);
      own.seed += i;
      first = pmd::find_shared_interface(static_cast<std::uint16_t>(values_.port), address_.ip);
    }
    lcores_.push_back(std::make_unique<io_lcore>(own, std::move(first.link), *ports[i], *clock_));
    loops_.push_back({this, lcores_.back().get()});
  }
}

runtime_impl::~runtime_impl() {
  if (inline_mode()) {
    running_ = 1;
    finish(*lcores_[0]);
  } else {
    stop_loops();
  }
  dcopy_.reset();
  if (exchange_ != nullptr) exchange_->wake = nullptr;
  lcores_.clear();
  shared_.clear();
  exchange_.reset();
  ports_.clear();
  for (const auto& region : regions_)
    if (const auto still = region.lock()) still->leave_runtime();
  if (ring_ != nullptr) ring_->keep(std::move(rx_pool_));
}

void runtime_impl::keep(const std::shared_ptr<memory_region>& region) {
  const std::lock_guard lock(regions_mutex_);
  // Two for each segment that there can be.
  if (lent_pool_ == nullptr)
    lent_pool_ = pmd::make_mbuf_pool("nd-lent-" + std::to_string(values_.port),
                                     std::uint64_t{tx_pool_->size} * 2, lent_room);
  std::erase_if(regions_, [](const auto& r) { return r.expired(); });
  regions_.push_back(region);
}

int runtime_impl::run_loop(void* given) {
  runtime_impl* const rt = static_cast<const loop*>(given)->of;
  io_lcore* const lcore = static_cast<const loop*>(given)->lcore;
  while (!rt->stopping_.load(std::memory_order_acquire)) {
    if (lcore->turn() == 0)
      lcore->rest([rt, lcore] {
        return rt->stopping_.load(std::memory_order_relaxed) ? lcore->turned() : instant::never();
      });
    else
      rt->turns_.announce(lcore->turned());
  }
  rt->finish(*lcore);
  return 0;
}

/// What sockets still hold goes out, for at most `linger`; then the peers are told, some times
/// where they do not answer. No lcore tells them before all have sent what they had, and none ends
/// before all have told them: another one's records may be its to deliver, and frames to send.
void runtime_impl::finish(io_lcore& l) {
  core::host& h = l.host();
  const instant deadline = now() + values_.linger;
  do {
    h.poll(now());
  } while (!h.drained() && now() < deadline);
  drained_.fetch_add(1);
  while (drained_.load() < running_) h.poll(now());
  constexpr duration goodbye_interval = duration::milliseconds(5);
  for (int tries = 0; tries < 10 && h.say_goodbye(now()); ++tries) {
    const instant next = now() + goodbye_interval;
    do {
      h.poll(now());
    } while (h.has_channels() && now() < next);
  }
  finished_.fetch_add(1);
  while (finished_.load() < running_) h.poll(now());
}

/// Passes the time of an application's thread, which has found nothing since the loop's turn
/// `turns`.
void runtime_impl::rest(std::uint32_t turns, instant deadline) noexcept {
  if (inline_mode()) return rest_inline(deadline);
  // Bounded: a signal handler of another thread may call interrupt() right before this sleeps.
  constexpr duration longest = duration::milliseconds(100);
  const instant start = now();
  pmd::pass_time(idle_mode_, start - turns_.last(), pmd::before_sleep,
                 [&] { turns_.wait(turns, std::min(deadline - start, longest)); });
}

void runtime_impl::rest_inline(instant deadline) noexcept {
  io_lcore& own = *lcores_[0];
  own.rest([&] { return interrupted() ? own.turned() : deadline; });
}

std::size_t runtime_impl::wait_for(duration most) {
  io_lcore& own = *lcores_[0];
  if (std::exchange(cut_short_, false)) return own.turn();
  const instant deadline = now().after(most);
  if (!inline_mode()) return wait_for_lcore(deadline);
  for (;;) {
    const std::size_t served = own.turn();
    if (served > 0 || interrupted() || own.turned() >= deadline) return served;
    rest_inline(deadline);
  }
}

/// What came since this thread was here last, it may have looked for too early: that counts.
std::size_t runtime_impl::wait_for_lcore(instant deadline) {
  thread_local struct {
    const runtime_impl* of = nullptr;
    std::uint32_t turns = 0;
  } seen;
  if (seen.of != this) seen = {this, turns_.value() - 1};
  for (;;) {
    const std::uint32_t turns = turns_.value();
    const std::uint32_t served = turns - std::exchange(seen.turns, turns);
    if (served > 0 || interrupted() || now() >= deadline) return served;
    rest(turns, deadline);
  }
}

std::size_t runtime_impl::poll() {
  if (inline_mode()) return lcores_[0]->turn();
  rte_pause();
  return 0;
}

}  // namespace nd::api
