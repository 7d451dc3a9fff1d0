#include "pmd_glue/rss_steering.hpp"

#include <rte_ethdev.h>
#include <rte_thash.h>

#include <array>

namespace nd::pmd {
namespace {

// Toeplitz takes 32 bits of the key beyond its input, 12 bytes.
constexpr std::size_t smallest_key = 16;

std::vector<std::uint16_t> ask_reta(std::uint16_t port_id, std::uint16_t size) {
  std::vector<rte_eth_rss_reta_entry64> groups((size + RTE_ETH_RETA_GROUP_SIZE - 1u) /
                                               RTE_ETH_RETA_GROUP_SIZE);
  for (rte_eth_rss_reta_entry64& g : groups) g.mask = ~std::uint64_t{0};
  std::vector<std::uint16_t> reta;
  if (size == 0 || rte_eth_dev_rss_reta_query(port_id, groups.data(), size) != 0) return reta;
  for (unsigned i = 0; i < size; ++i)
    reta.push_back(groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE]);
  return reta;
}

}  // namespace

std::optional<rss_facts> ask_rss(std::uint16_t port_id) {
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(port_id, &info) != 0 || info.hash_key_size < smallest_key)
    return std::nullopt;
  rss_facts facts{std::vector<std::uint8_t>(info.hash_key_size), ask_reta(port_id, info.reta_size)};
  rte_eth_rss_conf conf{};
  conf.rss_key = facts.key.data();
  conf.rss_key_len = info.hash_key_size;
  if (facts.reta.empty() || rte_eth_dev_rss_hash_conf_get(port_id, &conf) != 0 ||
      (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_UDP) == 0)
    return std::nullopt;
  return facts;
}

std::uint16_t queue_of(const rss_facts& rss, const udp_flow& arriving) noexcept {
  std::array<std::uint32_t, RTE_THASH_V4_L4_LEN> input{
      arriving.from, arriving.to,
      std::uint32_t{arriving.source_port} << 16 | arriving.destination_port};
  const std::uint32_t hash = rte_softrss(input.data(), RTE_THASH_V4_L4_LEN, rss.key.data());
  return rss.reta[hash % rss.reta.size()];
}

}  // namespace nd::pmd
