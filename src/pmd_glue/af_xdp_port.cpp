#include "pmd_glue/af_xdp_port.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <optional>

#include "pmd_glue/arp_copies.hpp"
#include "pmd_glue/netdev.hpp"
#include "pmd_glue/xdp_share.hpp"

namespace nd::pmd {
namespace {

// A look costs a system call, and ARP does not hurry.
constexpr duration arp_interval = duration::milliseconds(1);

nd_xdp_config traffic_of(const settings& values) {
  nd_xdp_config config{};
  const std::uint32_t address = values.own_address().to_uint();
  const bool udp = values.encap == "udp";
  config.address = htonl(address);
  config.protocol =
      static_cast<unsigned char>(udp ? std::int64_t{IPPROTO_UDP} : values.ip_protocol);
  config.udp_port = udp ? htons(static_cast<std::uint16_t>(values.udp_port)) : std::uint16_t{0};
  config.whole_address = !kernel_has(list_netdevs(), address);
  return config;
}

class af_xdp_port final : public port {
 public:
  af_xdp_port(std::unique_ptr<port> inner, const settings& values, unsigned interface_index,
              rte_mempool* rx_pool)
      : inner_(std::move(inner)), rx_pool_(rx_pool) {
    if (tell_xdp_program(interface_index, traffic_of(values))) arp_.emplace(interface_index);
  }
  /// What has left is given back to the pool by the next call that sends: a port that is closed
  /// before would keep it.
  ~af_xdp_port() override {
    constexpr int calls = 100;
    for (int i = 0; i < calls; ++i) inner_->tx_burst({}, {});
  }

  const port_capabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  std::size_t rx_burst(instant now, std::span<rte_mbuf*> frames) override {
    std::size_t n = inner_->rx_burst(now, frames);
    if (arp_ && now >= next_arp_) {
      n += arp_->receive(frames.subspan(n), rx_pool_);
      next_arp_ = now + arp_interval;
    }
    return n;
  }
  std::size_t tx_burst(instant now, std::span<rte_mbuf*> frames) override {
    return inner_->tx_burst(now, frames);
  }
  void tick(instant now) override { inner_->tick(now); }
  bool link_up() const noexcept override { return inner_->link_up(); }

 private:
  std::unique_ptr<port> inner_;
  rte_mempool* rx_pool_;
  std::optional<arp_copies> arp_;
  instant next_arp_{};
};

}  // namespace

std::unique_ptr<port> make_af_xdp_port(std::unique_ptr<port> inner, const settings& values,
                                       unsigned interface_index, rte_mempool* rx_pool) {
  return std::make_unique<af_xdp_port>(std::move(inner), values, interface_index, rx_pool);
}

}  // namespace nd::pmd
