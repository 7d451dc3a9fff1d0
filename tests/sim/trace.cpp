#include "sim/trace.hpp"

#include <array>
#include <string>
#include <string_view>

namespace nd::sim {
namespace {

std::string_view name_of(wire::packet_kind kind) noexcept {
  constexpr std::array<std::string_view, 10> names{"?",          "INIT", "INIT_ACK", "COOKIE_ECHO",
                                                   "COOKIE_ACK", "DATA", "ACK",      "PROBE",
                                                   "CLOSE",      "ABORT"};
  const auto n = static_cast<std::size_t>(kind);
  return n < names.size() ? names[n] : names[0];
}

std::string name_of(wire::record_type type) {
  using wire::record_type;
  switch (type) {
    case record_type::data: return "data";
    case record_type::notification: return "notification";
    case record_type::ack: return "grant";
    case record_type::sync: return "sync";
    case record_type::sync_ack: return "sync_ack";
    case record_type::fin: return "fin";
    case record_type::reset: return "reset";
    case record_type::ack_ranges: return "ack_ranges";
    default: return "type " + std::to_string(static_cast<unsigned>(type));
  }
}

}  // namespace

std::string describe(test::made_frame& f) {
  if (f.is_arp()) {
    const auto& arp = wire::at<wire::arp_packet>(
        static_cast<const void*>(f.bytes.data() + sizeof(wire::ethernet_header)));
    return arp.operation == wire::arp_request ? "arp request" : "arp reply";
  }
  const wire::channel_header& h = f.header();
  std::string text = fmt::format("{} {}B ch{} n{} floor{} ack{}", name_of(h.kind), f.bytes.size(),
                                 std::uint32_t{h.channel}, std::uint32_t{h.number},
                                 std::uint32_t{h.floor}, std::uint32_t{h.ack});
  wire::record_reader reader(f.records());
  for (wire::record_view r; reader.next(r);)
    text += fmt::format(" [{} {}>{} seq{} +{} grant{}]", name_of(r.type()),
                        std::uint16_t{r.header->source}, std::uint16_t{r.header->dest},
                        std::uint32_t{r.header->seq}, r.payload.size(),
                        std::uint32_t{r.header->grant_seq});
  return text;
}

void trace::frame(instant now, std::size_t from, std::size_t to, test::made_frame& f,
                  std::span<const test::frame_arrival> arrivals, const char* fate) {
  mix(static_cast<std::uint64_t>(now.ns()));
  mix(from * 64 + to);
  mix(f.bytes);
  for (const auto& a : arrivals) mix(static_cast<std::uint64_t>(a.when.ns()) + a.turned_bits);
  if (out_ == nullptr) return;
  std::string text = fmt::format("{} > {} {}", from, to, describe(f));
  for (const auto& a : arrivals) {
    text += fmt::format(" @{}us", (a.when - now).ns() / 1000);
    if (a.turned_bits > 0) text += " corrupted";
  }
  if (arrivals.empty()) text += fmt::format(" -- {}", fate);
  print(now, text);
}

void trace::print(instant now, const std::string& line) {
  if (out_ != nullptr)
    fmt::print(out_, "{:>14.3f} us  {}\n", static_cast<double>(now.ns()) / 1000, line);
}

}  // namespace nd::sim
