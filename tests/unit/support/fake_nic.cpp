// The driver's side of ethdev: Debian has the libraries, third_party/dpdk-22.11 the headers.
#define ALLOW_INTERNAL_API
#define ALLOW_EXPERIMENTAL_API
#include "unit/support/fake_nic.hpp"

#include <ethdev_vdev.h>
#include <rte_flow_driver.h>
#include <rte_interrupts.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>

namespace nd::test {
namespace {

constexpr std::size_t ip_at = sizeof(rte_ether_hdr);
constexpr std::size_t l4_at = ip_at + sizeof(rte_ipv4_hdr);

// Another than the one that most drivers have.
constexpr std::uint8_t own_key_byte(std::size_t i) noexcept {
  return static_cast<std::uint8_t>(i * 0x4f + 0x1b);
}

// Between rte_vdev_init() and the driver's probe.
std::map<std::string, fake_nic*>& being_plugged() {
  static std::map<std::string, fake_nic*> nics;
  return nics;
}

std::string dotted(rte_be32_t ip) {
  const std::uint32_t a = rte_be_to_cpu_32(ip);
  return std::to_string(a >> 24) + "." + std::to_string(a >> 16 & 255) + "." +
         std::to_string(a >> 8 & 255) + "." + std::to_string(a & 255);
}

int flow_error(rte_flow_error* error, int code, const char* message) {
  return rte_flow_error_set(error, code, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, message);
}

}  // namespace

struct fake_nic::driver {
  static fake_nic& of(const rte_eth_dev* dev) {
    return **static_cast<fake_nic**>(dev->data->dev_private);
  }

  static int configure(rte_eth_dev* dev) {
    fake_nic& nic = of(dev);
    if (nic.started_) nic.violated("configured while started");
    if (dev->data->dev_conf.intr_conf.rxq != 0 &&
        nic.traits_.rx_interrupts == fake_nic_traits::interrupts::refused_at_configure)
      return -ENOTSUP;
    if (nic.traits_.queues_in_pairs && dev->data->nb_rx_queues != dev->data->nb_tx_queues)
      return -EINVAL;
    nic.conf_ = dev->data->dev_conf;
    nic.mtu_ = dev->data->mtu;
    const rte_eth_rss_conf& rss = nic.conf_.rx_adv_conf.rss_conf;
    nic.rss_key_.resize(nic.traits_.rss_key_size);
    for (std::size_t i = 0; i < nic.rss_key_.size(); ++i) nic.rss_key_[i] = own_key_byte(i);
    if (rss.rss_key != nullptr) {
      if (rss.rss_key_len != nic.traits_.rss_key_size) return -EINVAL;
      nic.rss_key_.assign(rss.rss_key, rss.rss_key + rss.rss_key_len);
    }
    nic.queues_ = std::vector<receive_queue>(dev->data->nb_rx_queues);
    nic.senders_ = std::vector<send_queue>(dev->data->nb_tx_queues);
    nic.reta_.resize(nic.traits_.reta_size);
    for (unsigned i = 0; i < nic.reta_.size(); ++i) {
      const unsigned e = nic.traits_.reta_entry ? nic.traits_.reta_entry(i) : i;
      nic.reta_[i] = static_cast<std::uint16_t>(e % dev->data->nb_rx_queues);
    }
    return 0;
  }
  static int start(rte_eth_dev* dev) {
    fake_nic& nic = of(dev);
    for (const receive_queue& q : nic.queues_)
      if (q.pool == nullptr) return -EINVAL;
    if (nic.has_interrupts() &&
        nic.traits_.rx_interrupts == fake_nic_traits::interrupts::refused_at_start)
      return -ENOSPC;
    nic.started_ = true;
    ++nic.starts_;
    return 0;
  }
  static int stop(rte_eth_dev* dev) {
    fake_nic& nic = of(dev);
    nic.started_ = false;
    nic.rules_at_stop_ = nic.rules_.size();
    for (receive_queue& q : nic.queues_) {
      for (rte_mbuf* m : q.frames) rte_pktmbuf_free(m);
      q.frames.clear();
    }
    return 0;
  }
  static int close(rte_eth_dev* dev) {
    of(dev).rules_.clear();
    return 0;
  }
  static int infos(rte_eth_dev* dev, rte_eth_dev_info* info) {
    const fake_nic_traits& traits = of(dev).traits_;
    info->if_index = traits.interface;
    info->min_mtu = 68;
    info->max_mtu = traits.max_mtu;
    info->max_rx_pktlen = traits.max_mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
    info->max_rx_queues = traits.max_rx_queues;
    info->max_tx_queues = traits.max_tx_queues;
    info->max_mac_addrs = 1;
    info->rx_offload_capa = traits.rx_offloads;
    info->tx_offload_capa = traits.tx_offloads;
    info->flow_type_rss_offloads = traits.rss_types;
    info->hash_key_size = traits.rss_key_size;
    info->reta_size = traits.reta_size;
    info->rx_desc_lim = traits.rx_descriptors;
    info->tx_desc_lim = traits.rx_descriptors;
    return 0;
  }
  static int rx_setup(rte_eth_dev* dev, std::uint16_t queue, std::uint16_t descriptors, unsigned,
                      const rte_eth_rxconf*, rte_mempool* pool) {
    fake_nic& nic = of(dev);
    receive_queue& q = nic.queues_.at(queue);
    q.pool = pool;
    q.descriptors = descriptors;
    q.nic = &nic;
    const int room = rte_pktmbuf_data_room_size(pool);
    if (room < RTE_PKTMBUF_HEADROOM + nic.mtu_ + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN) {
      nic.violated("receive buffers too small for the MTU, without scatter");
      return -EINVAL;
    }
    dev->data->rx_queues[queue] = &q;
    return 0;
  }
  static int tx_setup(rte_eth_dev* dev, std::uint16_t queue, std::uint16_t, unsigned,
                      const rte_eth_txconf*) {
    send_queue& q = of(dev).senders_.at(queue);
    q.nic = &of(dev);
    dev->data->tx_queues[queue] = &q;
    return 0;
  }
  static int hash_conf(rte_eth_dev* dev, rte_eth_rss_conf* conf) {
    const fake_nic& nic = of(dev);
    conf->rss_hf = (nic.conf_.rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) != 0 ? nic.rss_types() : 0;
    if (conf->rss_key != nullptr) {
      if (conf->rss_key_len < nic.rss_key_.size()) return -EINVAL;
      std::ranges::copy(nic.rss_key_, conf->rss_key);
    }
    return 0;
  }
  static int reta_query(rte_eth_dev* dev, rte_eth_rss_reta_entry64* groups, std::uint16_t size) {
    const fake_nic& nic = of(dev);
    if (size != nic.reta_.size()) return -EINVAL;
    for (unsigned i = 0; i < size; ++i) {
      rte_eth_rss_reta_entry64& g = groups[i / RTE_ETH_RETA_GROUP_SIZE];
      const unsigned at = i % RTE_ETH_RETA_GROUP_SIZE;
      if ((g.mask >> at & 1) != 0) g.reta[at] = nic.reta_[i];
    }
    return 0;
  }
  static int mtu_set(rte_eth_dev* dev, std::uint16_t mtu) {
    of(dev).mtu_ = mtu;
    return 0;
  }
  static int link_update(rte_eth_dev* dev, int) {
    rte_eth_link link{};
    link.link_speed = RTE_ETH_SPEED_NUM_100G;
    link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
    link.link_status = of(dev).link_up_ ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
    dev->data->dev_link = link;
    return 0;
  }
  static int enable_interrupt(rte_eth_dev* dev, std::uint16_t queue) {
    fake_nic& nic = of(dev);
    if (nic.traits_.rx_interrupts != fake_nic_traits::interrupts::given) return -ENOTSUP;
    if (!nic.started_) nic.violated("an interrupt enabled while stopped");
    if (nic.on_enable_) nic.on_enable_();
    const std::lock_guard lock(nic.receiving_);
    nic.queues_.at(queue).armed = true;
    ++nic.interrupts_enabled_;
    return 0;
  }
  static int disable_interrupt(rte_eth_dev* dev, std::uint16_t queue) {
    fake_nic& nic = of(dev);
    const std::lock_guard lock(nic.receiving_);
    nic.queues_.at(queue).armed = false;
    return 0;
  }
  /// A vector for each queue, and an eventfd, as vfio has them; or none.
  static rte_intr_handle* make_interrupts(const fake_nic_traits& traits) {
    const std::uint16_t queues = traits.max_rx_queues;
    const bool none = traits.rx_interrupts == fake_nic_traits::interrupts::none;
    rte_intr_handle* handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    REQUIRE(handle != nullptr);
    rte_intr_type_set(handle, RTE_INTR_HANDLE_VDEV);
    rte_intr_nb_efd_set(handle, queues);
    rte_intr_max_intr_set(handle, queues + 1);
    rte_intr_efd_counter_size_set(handle, sizeof(std::uint64_t));
    REQUIRE(rte_intr_vec_list_alloc(handle, nullptr, queues) == 0);
    for (int q = 0; q < queues; ++q) {
      rte_intr_vec_list_index_set(handle, q, RTE_INTR_VEC_RXTX_OFFSET + q);
      rte_intr_efds_index_set(handle, q, none ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    }
    return handle;
  }
  static void free_interrupts(rte_intr_handle* handle) {
    for (int q = 0; q < rte_intr_nb_efd_get(handle); ++q)
      if (const int fd = rte_intr_efds_index_get(handle, q); fd >= 0) ::close(fd);
    rte_intr_vec_list_free(handle);
    rte_intr_instance_free(handle);
  }
  static std::uint16_t rx_burst(void* queue, rte_mbuf** frames, std::uint16_t most) {
    auto& q = *static_cast<receive_queue*>(queue);
    const std::lock_guard lock(q.nic->receiving_);
    std::uint16_t n = 0;
    for (; n < most && !q.frames.empty(); ++n) {
      frames[n] = q.frames.front();
      q.frames.pop_front();
    }
    if (q.frames.empty() && q.nic->traits_.rx_interrupts == fake_nic_traits::interrupts::readable) {
      eventfd_t frames_before = 0;
      eventfd_read(q.nic->event_of(q), &frames_before);
    }
    return n;
  }
  static std::uint16_t tx_burst(void* queue, rte_mbuf** frames, std::uint16_t count) {
    auto& q = *static_cast<send_queue*>(queue);
    fake_nic& nic = *q.nic;
    count = std::min(count, nic.traits_.tx_room);
    q.sent += count;
    for (std::uint16_t i = 0; i < count; ++i) nic.transmit(frames[i]);
    return count;
  }

  // As mlx5: isolated mode is entered and left while the port is stopped.
  static int isolate(rte_eth_dev* dev, int on, rte_flow_error* error) {
    fake_nic& nic = of(dev);
    if (nic.started_) return flow_error(error, EBUSY, "port must be stopped first");
    if (!nic.traits_.can_isolate) return flow_error(error, ENOTSUP, "isolated mode not supported");
    nic.isolated_ = on != 0;
    return 0;
  }
  static int validate(rte_eth_dev* dev, const rte_flow_attr* attributes, const rte_flow_item* items,
                      const rte_flow_action* actions, rte_flow_error* error) {
    fake_nic& nic = of(dev);
    rule parsed;
    const char* reason = nic.parse(*attributes, items, actions, parsed);
    if (reason == nullptr) return 0;
    nic.refused_.push_back(parsed.text + ": " + reason);
    return flow_error(error, ENOTSUP, reason);
  }
  static rte_flow* create(rte_eth_dev* dev, const rte_flow_attr* attributes,
                          const rte_flow_item* items, const rte_flow_action* actions,
                          rte_flow_error* error) {
    fake_nic& nic = of(dev);
    rule parsed;
    if (const char* reason = nic.parse(*attributes, items, actions, parsed)) {
      nic.violated("created without validate: " + parsed.text);
      flow_error(error, ENOTSUP, reason);
      return nullptr;
    }
    if (!nic.started_) nic.violated("a rule before the start: not every driver takes it");
    nic.rules_.push_back(std::move(parsed));
    return reinterpret_cast<rte_flow*>(&nic.rules_.back());
  }
  static int destroy(rte_eth_dev* dev, rte_flow* flow, rte_flow_error* error) {
    fake_nic& nic = of(dev);
    const auto gone = std::ranges::find_if(nic.rules_, [flow](const rule& r) {
      return reinterpret_cast<const rte_flow*>(&r) == flow;
    });
    if (gone == nic.rules_.end()) {
      nic.violated("a rule destroyed that is not there");
      return flow_error(error, ENOENT, "no such rule");
    }
    nic.rules_.erase(gone);
    return 0;
  }
  static int flow_ops(rte_eth_dev* dev, const rte_flow_ops** out) {
    static const rte_flow_ops ops = [] {
      rte_flow_ops o{};
      o.isolate = isolate;
      o.validate = validate;
      o.create = create;
      o.destroy = destroy;
      return o;
    }();
    if (!of(dev).traits_.has_flow_rules) return -ENOTSUP;
    *out = &ops;
    return 0;
  }

  static int probe(rte_vdev_device* dev) {
    static const eth_dev_ops ops = [] {
      eth_dev_ops o{};
      o.dev_configure = configure;
      o.dev_start = start;
      o.dev_stop = stop;
      o.dev_close = close;
      o.dev_infos_get = infos;
      o.rx_queue_setup = rx_setup;
      o.tx_queue_setup = tx_setup;
      o.mtu_set = mtu_set;
      o.link_update = link_update;
      o.flow_ops_get = flow_ops;
      o.rss_hash_conf_get = hash_conf;
      o.reta_query = reta_query;
      o.rx_queue_intr_enable = enable_interrupt;
      o.rx_queue_intr_disable = disable_interrupt;
      return o;
    }();
    const auto plugged = being_plugged().find(rte_vdev_device_name(dev));
    if (plugged == being_plugged().end()) return -ENODEV;
    rte_eth_dev* port = rte_eth_vdev_allocate(dev, sizeof(fake_nic*));
    if (port == nullptr) return -ENOMEM;
    *static_cast<fake_nic**>(port->data->dev_private) = plugged->second;
    // ethdev frees it with the port.
    auto* mac = static_cast<rte_ether_addr*>(rte_zmalloc(nullptr, sizeof(rte_ether_addr), 0));
    std::ranges::copy(plugged->second->mac_, mac->addr_bytes);
    port->data->mac_addrs = mac;
    port->data->mtu = std::min<std::uint16_t>(1500, plugged->second->traits_.max_mtu);
    port->dev_ops = &ops;
    port->rx_pkt_burst = rx_burst;
    port->tx_pkt_burst = tx_burst;
    port->tx_pkt_prepare = [](void* queue, rte_mbuf** frames, std::uint16_t count) {
      return static_cast<send_queue*>(queue)->nic->prepare(frames, count);
    };
    port->intr_handle = plugged->second->interrupt_handle_ =
        make_interrupts(plugged->second->traits_);
    rte_eth_dev_probing_finish(port);
    return 0;
  }
  static int remove(rte_vdev_device* dev) {
    // Closed by whoever used it, or never used.
    if (rte_eth_dev* port = rte_eth_dev_allocated(rte_vdev_device_name(dev)))
      return rte_eth_dev_release_port(port);
    return 0;
  }
};

fake_nic::fake_nic(fake_nic_traits traits) : traits_(std::move(traits)) {
  static rte_vdev_driver registered{};
  static int nics = 0;
  if (registered.probe == nullptr) {
    registered.driver.name = "net_fake";
    registered.probe = driver::probe;
    registered.remove = driver::remove;
    rte_vdev_register(&registered);
  }
  mac_ = {0x02, 0xfa, 0xce, 0, 0, static_cast<std::uint8_t>(nics)};
  name_ = "net_fake" + std::to_string(nics++);
  being_plugged()[name_] = this;
  const int result = rte_vdev_init(name_.c_str(), nullptr);
  being_plugged().erase(name_);
  REQUIRE(result == 0);
  REQUIRE(rte_eth_dev_get_port_by_name(name_.c_str(), &port_id_) == 0);
}

fake_nic::~fake_nic() {
  if (started_) rte_eth_dev_stop(port_id_);
  rte_vdev_uninit(name_.c_str());
  driver::free_interrupts(interrupt_handle_);
}

int fake_nic::event_of(const receive_queue& queue) const {
  return rte_intr_efds_index_get(interrupt_handle_, static_cast<int>(&queue - queues_.data()));
}

unsigned fake_nic::interrupts_armed() {
  const std::lock_guard lock(receiving_);
  return static_cast<unsigned>(std::ranges::count_if(queues_, &receive_queue::armed));
}

std::vector<std::string> fake_nic::rules() const {
  std::vector<std::string> out;
  for (const rule& r : rules_) out.push_back(r.text);
  return out;
}

const char* fake_nic::parse(const rte_flow_attr& attributes, const rte_flow_item* items,
                            const rte_flow_action* actions, rule& out) const {
  if (attributes.ingress == 0 || attributes.egress != 0 || attributes.transfer != 0)
    return "not for what comes in";
  if (attributes.group != 0) return "no groups";
  out.priority = attributes.priority;
  if (out.priority > 0) out.text = "priority " + std::to_string(out.priority) + " ";
  if (out.priority >= traits_.flow_priorities) return "no such priority";
  if (const char* reason = parse_items(items, out)) return reason;
  out.text += " / end actions";
  if (const char* reason = parse_action(actions[0], out)) return reason;
  out.text += " / end";
  if (actions[1].type != RTE_FLOW_ACTION_TYPE_END) return "more than one action";
  return traits_.dislikes ? traits_.dislikes(out.text) : nullptr;
}

const char* fake_nic::parse_items(const rte_flow_item* items, rule& out) const {
  const auto match = [&out](std::size_t at, const void* spec, const void* mask, std::size_t size) {
    const auto* values = static_cast<const std::uint8_t*>(spec);
    const auto* bits = static_cast<const std::uint8_t*>(mask);
    for (std::size_t i = 0; i < size; ++i)
      if (bits[i] != 0) out.bytes.push_back({at + i, values[i], bits[i]});
  };
  rte_be16_t ether_type = 0;
  for (int layer = 0; items[layer].type != RTE_FLOW_ITEM_TYPE_END; ++layer) {
    const rte_flow_item& item = items[layer];
    if (layer > 0) out.text += " / ";
    if (item.last != nullptr) return "ranges are not supported";
    if ((item.spec == nullptr) != (item.mask == nullptr)) return "spec and mask go together";
    if (item.type == RTE_FLOW_ITEM_TYPE_ETH && layer == 0) {
      out.text += "eth";
      if (item.spec == nullptr) continue;
      const auto& spec = *static_cast<const rte_flow_item_eth*>(item.spec);
      const auto& mask = *static_cast<const rte_flow_item_eth*>(item.mask);
      ether_type = spec.hdr.ether_type & mask.hdr.ether_type;
      if (mask.hdr.ether_type == 0xffff && ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
        out.text += " type is 0x0806";
      match(0, &spec.hdr, &mask.hdr, sizeof spec.hdr);
    } else if (item.type == RTE_FLOW_ITEM_TYPE_IPV4 && layer == 1) {
      out.text += "ipv4";
      if (ether_type != 0 && ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4))
        return "IPv4 behind another EtherType";
      const rte_be16_t type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
      const std::uint16_t all = 0xffff;
      match(offsetof(rte_ether_hdr, ether_type), &type, &all, sizeof type);
      if (item.spec == nullptr) continue;
      const auto& spec = *static_cast<const rte_flow_item_ipv4*>(item.spec);
      const auto& mask = *static_cast<const rte_flow_item_ipv4*>(item.mask);
      rte_flow_item_ipv4 rest = mask;
      rest.hdr.src_addr = rest.hdr.dst_addr = 0;
      rest.hdr.type_of_service = rest.hdr.next_proto_id = 0;
      constexpr rte_flow_item_ipv4 nothing{};
      if (std::memcmp(&rest, &nothing, sizeof rest) != 0) return "IPv4 field not supported";
      if (mask.hdr.dst_addr == 0xffffffff) out.text += " dst is " + dotted(spec.hdr.dst_addr);
      if (mask.hdr.next_proto_id == 0xff)
        out.text += " proto is " + std::to_string(spec.hdr.next_proto_id);
      if (mask.hdr.type_of_service != 0)
        out.text += " tos spec " + std::to_string(spec.hdr.type_of_service) + " tos mask " +
                    std::to_string(mask.hdr.type_of_service);
      match(ip_at, &spec.hdr, &mask.hdr, sizeof spec.hdr);
    } else if (item.type == RTE_FLOW_ITEM_TYPE_UDP && layer == 2) {
      out.text += "udp";
      const std::uint8_t protocol = IPPROTO_UDP;
      const std::uint8_t all = 0xff;
      match(ip_at + offsetof(rte_ipv4_hdr, next_proto_id), &protocol, &all, 1);
      if (item.spec == nullptr) continue;
      const auto& spec = *static_cast<const rte_flow_item_udp*>(item.spec);
      const auto& mask = *static_cast<const rte_flow_item_udp*>(item.mask);
      if (mask.hdr.dst_port == 0xffff)
        out.text += " dst is " + std::to_string(rte_be_to_cpu_16(spec.hdr.dst_port));
      if (mask.hdr.src_port != 0)
        out.text += " src spec " + std::to_string(rte_be_to_cpu_16(spec.hdr.src_port)) +
                    " src mask " + std::to_string(rte_be_to_cpu_16(mask.hdr.src_port));
      match(l4_at, &spec.hdr, &mask.hdr, sizeof spec.hdr);
    } else {
      return "item not supported here";
    }
  }
  return items[0].type == RTE_FLOW_ITEM_TYPE_END ? "no item" : nullptr;
}

const char* fake_nic::parse_action(const rte_flow_action& action, rule& out) const {
  if (action.type == RTE_FLOW_ACTION_TYPE_QUEUE) {
    const auto index = static_cast<const rte_flow_action_queue*>(action.conf)->index;
    out.queues = {index};
    out.text += " queue index " + std::to_string(index);
  } else if (action.type == RTE_FLOW_ACTION_TYPE_RSS) {
    const auto& rss = *static_cast<const rte_flow_action_rss*>(action.conf);
    out.queues.assign(rss.queue, rss.queue + rss.queue_num);
    out.text += " rss queues";
    for (const std::uint16_t q : out.queues) out.text += " " + std::to_string(q);
    out.text += " end";
    out.rss_types = rss.types;
    if (rss.level != 0) return "no inner RSS";
    if (rss.func != RTE_ETH_HASH_FUNCTION_DEFAULT && rss.func != RTE_ETH_HASH_FUNCTION_TOEPLITZ)
      return "only Toeplitz";
    if (rss.types == 0 || (rss.types & ~traits_.rss_types) != 0) return "RSS types not supported";
    if ((rss.key == nullptr) != (rss.key_len == 0)) return "RSS key and its length disagree";
    if (rss.key_len != 0 && rss.key_len != traits_.rss_key_size) return "RSS key length";
    out.rss_key = rss_key_;
    if (rss.key != nullptr) out.rss_key.assign(rss.key, rss.key + rss.key_len);
  } else {
    return "action not supported";
  }
  if (out.queues.empty()) return "no queue";
  for (const std::uint16_t q : out.queues)
    if (q >= queues_.size() || queues_[q].pool == nullptr) return "no such queue";
  return nullptr;
}

}  // namespace nd::test
