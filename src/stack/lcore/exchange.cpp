#include "lcore/exchange.hpp"

namespace nd::core {

lcore_exchange::inbox::inbox(unsigned lcores)
    : received(frames),
      received_urgent(frames),
      to_send(frames),
      to_send_urgent(frames),
      packets(tickets * (lcores - 1)),
      answers(tickets * (lcores - 1)),
      news(tickets),
      forwarded(most_forwarded * (lcores - 1)),
      returned(most_forwarded) {}

lcore_exchange::lcore_exchange(unsigned lcores) {
  for (unsigned i = 0; i < lcores; ++i) inboxes_.push_back(std::make_unique<inbox>(lcores));
}

lcore_exchange::~lcore_exchange() {
  for (const auto& box : inboxes_) {
    for (mpsc_ring<rte_mbuf>* ring :
         {&box->received, &box->received_urgent, &box->to_send, &box->to_send_urgent})
      while (rte_mbuf* m = ring->pop()) rte_pktmbuf_free(m);
    for (handoff h; box->packets.pop(h);) rte_pktmbuf_free(h.packet);
    for (mpsc_value_ring<forwarded_record>* ring : {&box->forwarded, &box->returned})
      for (forwarded_record f; ring->pop(f);) rte_pktmbuf_free(f.record.segment);
  }
}

}  // namespace nd::core
