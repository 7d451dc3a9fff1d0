#include "model/cluster.hpp"

#include <algorithm>
#include <stdexcept>

#include "model/actors.hpp"

namespace nd::model {
namespace {

constexpr std::size_t pool_bytes = 40 << 20;

unsigned mbufs_of(std::uint16_t mtu) {
  return static_cast<unsigned>(pool_bytes / (mtu + 512U));
}

class cluster {
 public:
  cluster(const cluster_plan& plan, cluster_pools& pools)
      : plan_(plan),
        wire_(plan.wire),
        near_(0, plan_, plan_.io, plan_.dcopy_near, pools.near, wire_, start),
        far_(1, plan_, plan_.handed ? 2 : plan_.io, plan_.dcopy_far, pools.far, wire_, start),
        near_ends_(plan.sockets),
        far_ends_(plan.sockets) {
    connect();
    place();
  }
  ~cluster() {
    const auto pass = [this] { settle([] { return false; }, 200); };
    pass();  // calls that are under way end first
    for (auto& e : near_ends_) close(near_, e);
    for (auto& e : far_ends_) close(far_, e);
    for (core::listener_link* l : listeners_) far_.post(*l, core::request_close);
    pass();
  }
  cluster(const cluster&) = delete;
  cluster& operator=(const cluster&) = delete;

  prediction run() {
    run_until(now() + static_cast<double>(plan_.warm_up.ns()));
    for (auto& a : actors_) a->busy = 0;
    const std::uint64_t bytes = read_so_far();
    const std::uint64_t sent = sum(near_, &counters::tx_bytes) + 24 * packets(near_);
    const double began = now();
    run_until(began + static_cast<double>(plan_.time.ns()));
    const double took = now() - began;
    prediction p;
    p.gbps = static_cast<double>(read_so_far() - bytes) * 8 / took;
    const std::uint64_t left = sum(near_, &counters::tx_bytes) + 24 * packets(near_) - sent;
    if (plan_.wire.gbps > 0) p.link = static_cast<double>(left) * 8 / took / plan_.wire.gbps;
    p.lost = wire_.dropped();
    p.marked = sum(far_, &counters::ce_packets_received);
    p.handed = sum(near_, &counters::packets_handed) + sum(far_, &counters::packets_handed);
    judge(p, took);
    for (const auto& c : cores_)
      settled_ = std::max(settled_, instant(static_cast<std::int64_t>(c->now) + 1));
    return p;
  }

 private:
  static constexpr instant start{1'234'567'891};

  void connect() {
    const bool same_thread = plan_.where != placement::apart;
    for (unsigned i = 0; i < far_.lcores(); ++i) listeners_.push_back(far_.listen(i));
    for (unsigned made = 0, tries = 0; made < plan_.sockets; ++tries) {
      if (tries == 1000) throw std::runtime_error("the model's hosts do not connect");
      stream_end near_end, far_end;
      core::socket_link* const link = near_.connect(made % plan_.io);
      core::socket_link* accepted = nullptr;
      settle([&] {
        for (core::listener_link* l : listeners_)
          if (accepted == nullptr) accepted = l->accepted.pop();
        return accepted != nullptr && (link->status.load() & core::socket_link::connected) != 0;
      });
      if (accepted == nullptr) throw std::runtime_error("the model's hosts do not connect");
      // The near host's one channel is that of the far one's first lcore.
      const bool wanted = !plan_.handed || accepted->lcore == 1;
      near_.use(wanted ? near_ends_[made] : near_end, link, same_thread);
      far_.use(wanted ? far_ends_[made] : far_end, accepted, same_thread);
      if (wanted) {
        ++made;
        continue;
      }
      close(near_, near_end);
      close(far_, far_end);
    }
  }

  void close(made_host& h, stream_end& e) {
    e.stream.reset();
    if (e.link != nullptr) h.post(*std::exchange(e.link, nullptr), closing);
  }

  /// Outside of the measured time, turns take a microsecond.
  template <class Done>
  void settle(Done&& done, int turns = 20000) {
    for (int i = 0; i < turns && !done(); ++i) {
      settled_ = settled_ + duration::microseconds(1);
      wire_.advance(settled_);
      for (made_host* h : {&near_, &far_}) {
        for (unsigned n = 0; n < h->lcores(); ++n) {
          h->lcore(n).poll(settled_);
          h->queue(n).launch(settled_);
        }
        if (h->copies() == nullptr) continue;
        for (const auto& l : h->copies()->lcores)
          while (l->poll(settled_) > 0) continue;
      }
    }
  }

  template <class A, class... Args>
  A& add(core_state& on, Args&&... args) {
    actors_.push_back(std::make_unique<A>(std::forward<Args>(args)...));
    on.actors.push_back(actors_.back().get());
    return static_cast<A&>(*actors_.back());
  }
  core_state& new_core() {
    cores_.push_back(std::make_unique<core_state>());
    cores_.back()->now = static_cast<double>(settled_.ns());
    return *cores_.back();
  }

  void place() {
    const bool own = plan_.where == placement::apart;
    for (unsigned i = 0; i < plan_.io; ++i) {
      core_state& core = new_core();
      writer& w = add<writer>(own ? new_core() : core, plan_, near_, own);
      add<io_actor>(core, true, plan_, near_, i, wire_);
      core_state& other = plan_.where == placement::together ? core : new_core();
      add<io_actor>(other, false, plan_, far_, i, wire_);
      if (plan_.handed) add<io_actor>(other, false, plan_, far_, 1U, wire_);
      reader& r = add<reader>(own ? new_core() : other, plan_, far_, own);
      for (unsigned s = i; s < plan_.sockets; s += plan_.io) {
        w.sockets.push_back(&near_ends_[s]);
        r.sockets.push_back(&far_ends_[s]);
      }
      readers_.push_back(&r);
    }
    for (made_host* h : {&near_, &far_})
      if (h->copies() != nullptr)
        for (const auto& l : h->copies()->lcores)
          add<copier>(new_core(), h == &near_ ? "sender's dcopy" : "receiver's dcopy", plan_.costs,
                      *l);
  }

  double now() const {
    double first = cores_.front()->now;
    for (const auto& c : cores_) first = std::min(first, c->now);
    return first;
  }

  void run_until(double end) {
    const auto later = [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second > b.second;
    };
    std::vector<std::pair<double, std::size_t>> queue;
    for (std::size_t i = 0; i < cores_.size(); ++i) queue.emplace_back(cores_[i]->now, i);
    std::ranges::make_heap(queue, later);
    while (queue.front().first < end) {
      std::ranges::pop_heap(queue, later);
      core_state& core = *cores_[queue.back().second];
      for (actor* a : core.actors)
        core.now += plan_.costs.nanoseconds(a->turn(instant(static_cast<std::int64_t>(core.now))));
      core.now += least_turn;
      queue.back().first = core.now;
      std::ranges::push_heap(queue, later);
    }
  }

  std::uint64_t read_so_far() const {
    std::uint64_t bytes = 0;
    for (const reader* r : readers_) bytes += r->bytes;
    return bytes;
  }
  static std::uint64_t sum(made_host& h, count counters::*which) {
    std::uint64_t n = 0;
    for (unsigned i = 0; i < h.lcores(); ++i) n += (h.lcore(i).stats().*which).value();
    return n;
  }
  static std::uint64_t packets(made_host& h) { return sum(h, &counters::tx_packets); }

  /// What has no room for more: the link, or the busiest core, which is its busiest role's.
  void judge(prediction& p, double took) const {
    const auto part = [&](double cycles) { return plan_.costs.nanoseconds(cycles) / took; };
    double busiest = 0;
    std::string whose;
    for (const auto& core : cores_) {
      double all = 0, most = 0;
      std::string role;
      for (const actor* a : core->actors) {
        const double busy = part(a->busy);
        const auto there = std::ranges::find(p.loads, a->role, &role_load::role);
        if (there == p.loads.end())
          p.loads.push_back({a->role, busy});
        else
          there->busiest = std::max(there->busiest, busy);
        all += busy;
        if (busy > most) most = busy, role = a->role;
      }
      if (all > busiest) busiest = all, whose = core->actors.size() > 1 ? role + ", inline" : role;
    }
    constexpr double full = 0.93;
    p.limit = p.link >= full    ? "link"
              : busiest >= full ? whose
                                : "waiting (" + whose + " most busy)";
  }

  static constexpr double least_turn = 0.5;  // ns: time goes on
  static constexpr std::uint32_t closing = core::request_close | core::request_abort;

  const cluster_plan plan_;
  instant settled_ = start;
  link wire_;
  made_host near_;
  made_host far_;
  std::vector<core::listener_link*> listeners_;
  std::vector<stream_end> near_ends_;
  std::vector<stream_end> far_ends_;
  std::vector<std::unique_ptr<core_state>> cores_;
  std::vector<std::unique_ptr<actor>> actors_;
  std::vector<reader*> readers_;
};

}  // namespace

cluster_pools::cluster_pools(std::uint16_t mtu)
    : near(mbufs_of(mtu), mbufs_of(mtu), mtu), far(mbufs_of(mtu), mbufs_of(mtu), mtu) {}

prediction predict(const cluster_plan& plan, cluster_pools& pools) {
  return cluster(plan, pools).run();
}

}  // namespace nd::model
