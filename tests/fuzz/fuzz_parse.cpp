// fuzz-parse: what is read from the wire, without a host behind it. The first byte of an input is
// the part that it is for.
#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <vector>

#include "channel/handshake.hpp"
#include "channel/received_numbers.hpp"
#include "fuzz/input.hpp"
#include "fuzz/sealing.hpp"
#include "unit/support/made_packet.hpp"
#include "wire/icmp.hpp"

namespace nd::fuzz {
namespace {

/// A frame in memory of its very size, so that AddressSanitizer sees who reads beyond it.
class received_frame {
 public:
  explicit received_frame(std::span<const std::byte> bytes)
      : bytes_(new std::byte[bytes.size()]), size_(bytes.size()) {
    std::ranges::copy(bytes, bytes_.get());
    mbuf_->buf_addr = bytes_.get();
    mbuf_->buf_len = mbuf_->data_len = static_cast<std::uint16_t>(size_);
    mbuf_->pkt_len = mbuf_->data_len;
    mbuf_->nb_segs = 1;
  }
  std::span<std::byte> bytes() { return {bytes_.get(), size_}; }
  rte_mbuf* mbuf() { return mbuf_.get(); }
  bool contains(std::span<const std::byte> part) const {
    const std::less_equal<const std::byte*> le;
    return le(bytes_.get(), part.data()) && le(part.data() + part.size(), bytes_.get() + size_);
  }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_;
  std::unique_ptr<rte_mbuf> mbuf_ = std::make_unique<rte_mbuf>();
};

template <class T>
void check_body(const wire::record_view& r) {
  const T* body = r.body<T>();
  expect((body == nullptr) == (r.payload.size() < sizeof(T)), "a body longer than its record");
  T copy;
  if (body != nullptr) std::memcpy(static_cast<void*>(&copy), body, sizeof copy);
}

/// The records lie one behind the other, and nothing between or behind them.
bool walk(std::span<std::byte> records) {
  wire::record_reader reader(records);
  const std::byte* at = records.data();
  for (wire::record_view r{}; reader.next(r);) {
    expect(reinterpret_cast<const std::byte*>(r.header) == at, "records are not side by side");
    const std::size_t header_size = r.header->doff / 4U;
    expect(header_size >= sizeof(wire::record_header), "a record's header is too short");
    expect(r.payload.data() == at + header_size, "a payload is not behind its header");
    expect(r.payload.size() == r.header->len, "a payload is not as long as it says");
    at = r.payload.data() + r.payload.size();
    expect(at <= records.data() + records.size(), "a record leaves its packet");
    check_body<wire::sync_body>(r);
    check_body<wire::sync_ack_body>(r);
    check_body<wire::fin_body>(r);
    check_body<wire::reset_body>(r);
  }
  if (reader.ok())
    expect(at == records.data() + records.size(), "bytes behind the last record were not seen");
  return reader.ok();
}

void check_packet(std::span<std::byte> packet, const wire::packet_format& format, bool sealed) {
  const std::size_t before = packet.size();
  std::span<std::byte> rest = packet;
  if (!wire::verify_and_trim(rest, format)) {
    expect(!sealed, "a right checksum was refused");
    return;
  }
  expect(rest.data() == packet.data() && rest.size() + format.trailer_size() == before,
         "the packet was not cut where its checksum is");
  const auto kind = wire::at<wire::channel_header>(static_cast<const void*>(rest.data())).kind;
  const bool walked = walk(rest.subspan(sizeof(wire::channel_header)));
  if (format.crc && wire::has_records(kind)) expect(walked, "records that cannot be walked pass");
}

/// A reply is the request's mirror image, and its requester takes it.
void check_echo(received_frame& f, const core::host_address& us, const core::received_packet& in) {
  const auto& icmp = wire::at<wire::icmp_header>(static_cast<const void*>(in.bytes.data()));
  if (icmp.type != wire::icmp_echo_request || icmp.code != 0) return;
  core::host_address requester = us;
  requester.ip = in.source_ip;
  requester.mac = in.source_mac;
  const std::vector<std::byte> sent(in.bytes.begin() + 4, in.bytes.end());
  core::turn_into_echo_reply(f.mbuf(), us, in);
  core::received_packet reply;
  const auto verdict = core::parse_frame(f.mbuf(), requester, reply);
  // Broadcast as a source address of Ethernet: the frame is then for all.
  if (verdict != core::frame_verdict::icmp) return;
  expect(std::ranges::equal(reply.bytes.subspan(4), sent), "an echo reply has other bytes");
  const auto& header = wire::at<wire::icmp_header>(static_cast<const void*>(reply.bytes.data()));
  expect(header.type == wire::icmp_echo_reply, "an echo reply is none");
}

void any_frame(input& in, bool sealed) {
  const bool udp = in.flag();
  const core::host_address us = test::made_address(0, udp);
  received_frame f(in.bytes(9000));
  if (sealed) seal_frame(f.bytes(), us);
  core::received_packet out;
  switch (core::parse_frame(f.mbuf(), us, out)) {
    case core::frame_verdict::nd_packet: {
      expect(f.contains(out.bytes), "a packet lies outside its frame");
      const wire::packet_format format{out.source_ip, us.ip, us.protocol(), !udp};
      std::vector<std::byte> again(out.bytes.begin(), out.bytes.end());
      const bool can_be_right = sealed && seal_packet(again, format);
      check_packet(out.bytes, format, can_be_right);
      break;
    }
    case core::frame_verdict::icmp:
      expect(f.contains(out.bytes), "a message lies outside its frame");
      check_echo(f, us, out);
      break;
    case core::frame_verdict::cut:
      expect(f.contains(out.bytes), "a cut packet lies outside its frame");
      expect(out.bytes.size() + sizeof(wire::ipv4_header) < out.length, "a whole packet is cut");
      break;
    case core::frame_verdict::arp: {
      const auto bytes = f.bytes().subspan(sizeof(wire::ethernet_header));
      if (bytes.size() < sizeof(wire::arp_packet)) break;
      const auto arp = wire::at<wire::arp_packet>(static_cast<const void*>(bytes.data()));
      if (!wire::is_valid(arp)) break;
      const auto same = wire::make_arp(arp.operation, arp.sender_mac, arp.sender_ip, arp.target_mac,
                                       arp.target_ip);
      expect(std::memcmp(&same, &arp, sizeof arp) == 0, "an ARP packet reads as another");
      break;
    }
    default: break;
  }
}

struct written_record {
  wire::record record;
  std::vector<std::byte> payload;
};

// What is written is read back; with one bit turned it is not.
void round_trip(input& in) {
  const std::uint8_t flags = in.u8();
  const bool udp = (flags & 1) != 0;
  const core::host_address from = test::made_address(1, udp), to = test::made_address(0, udp);
  const wire::packet_format format{from.ip, to.ip, from.protocol(), !udp};
  wire::channel_header header;
  in.fill(header);

  constexpr std::size_t most = 3000;
  std::vector<written_record> records;
  std::vector<std::byte> body;
  core::packet_route route;
  route.mac = to.mac;
  route.ip = to.ip;
  const auto fill = [&](wire::packet_writer& writer) {
    if (wire::has_records(header.kind)) {
      for (unsigned n = in.below(40); n > 0; --n) {
        written_record w;
        w.record.type = static_cast<wire::record_type>(in.u8());
        w.record.source = in.u16();
        w.record.dest = in.u16();
        w.record.seq = in.u32();
        w.record.grant = in.u32();
        w.payload.resize(in.u16() % 1500);
        std::ranges::copy(in.bytes(w.payload.size() % 16), w.payload.begin());
        w.record.length = static_cast<std::uint16_t>(w.payload.size());
        if (writer.size() + sizeof(wire::record_header) + w.payload.size() > most) break;
        writer.append(w.record, w.payload, wire::crc32c(wire::crc32c_start, w.payload));
        records.push_back(std::move(w));
      }
    } else {
      const auto bytes = in.bytes(in.u16() % 1500);
      body.assign(bytes.begin(), bytes.end());
      writer.append_body(body);
    }
    route.udp_source = in.u16();
    route.dscp_ecn = in.u8();
  };
  const std::vector<std::byte> frame = test::made_packet(from, route, header, fill);

  received_frame f(frame);
  received_frame second(frame);
  seal_frame(second.bytes(), to);
  expect(std::ranges::equal(f.bytes(), second.bytes()), "checksums differ from a second reckoning");

  core::received_packet out;
  expect(core::parse_frame(f.mbuf(), to, out) == core::frame_verdict::nd_packet,
         "a written frame is not read");
  expect(out.source_ip == from.ip && out.source_mac == from.mac && out.checksummed,
         "a written frame has another sender");
  expect(out.congestion_experienced == ((route.dscp_ecn & wire::ecn_mask) == wire::ecn_ce),
         "a mark is lost");
  std::span<std::byte> bytes = out.bytes;
  expect(wire::verify_and_trim(bytes, format), "a written packet is not read");
  expect(std::memcmp(bytes.data(), &header, sizeof header) == 0, "a header differs");
  const std::span<std::byte> rest = bytes.subspan(sizeof header);
  if (!wire::has_records(header.kind)) {
    expect(std::ranges::equal(rest, body), "a body differs");
  } else {
    expect(walk(rest), "written records cannot be walked");
    wire::record_reader reader(rest);
    wire::record_view r{};
    for (const written_record& w : records) {
      expect(reader.next(r), "a record is missing");
      expect(r.type() == w.record.type && r.header->source == w.record.source &&
                 r.header->dest == w.record.dest && r.header->seq == w.record.seq &&
                 r.header->grant_seq == w.record.grant && std::ranges::equal(r.payload, w.payload),
             "a record differs");
    }
    expect(!reader.next(r) && reader.ok(), "a record too many");
  }

  constexpr std::size_t ethernet_bits = sizeof(wire::ethernet_header) * 8;
  const std::size_t bit = ethernet_bits + in.u32() % (second.bytes().size() * 8 - ethernet_bits);
  second.bytes()[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  core::received_packet turned;
  if (core::parse_frame(second.mbuf(), to, turned) != core::frame_verdict::nd_packet) return;
  std::span<std::byte> packet = turned.bytes;
  // A UDP checksum of one bit, and that turned: "no checksum", which only those believe who agreed.
  expect(!turned.checksummed || !wire::verify_and_trim(packet, format),
         "a turned bit was not noticed");
}

void cookies(input& in) {
  core::cookie_jar::key secret;
  in.fill(secret);
  const core::cookie_jar jar(secret);
  const instant baked(static_cast<std::int64_t>(in.u64() >> 2));
  const std::uint32_t peer = in.u32();
  wire::handshake_body init, echo;
  in.fill(init);
  in.fill(echo);  // whatever it is: not one of ours
  static_cast<void>(jar.accepts(baked, peer, echo));
  wire::handshake_body answer{};
  jar.bake(baked, peer, init, answer);
  echo = init;
  echo.cookie_time = answer.cookie_time;
  echo.cookie_mac = answer.cookie_mac;
  const duration age(static_cast<std::int64_t>(in.u64() >> 28));
  expect(jar.accepts(baked + age, peer, echo) == (age <= core::cookie_jar::lifetime),
         "a cookie's lifetime is another");
  const std::size_t bit = in.u16() % (sizeof echo * 8);
  std::as_writable_bytes(std::span(&echo, 1))[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  expect(!jar.accepts(baked, peer, echo), "a cookie holds for other contents");
}

/// Against a set.
void numbers(input& in) {
  std::uint64_t next = in.u32();
  core::received_numbers seen;
  seen.start_at(next);
  std::set<std::uint64_t> arrived;
  std::uint64_t end = next;
  const auto skip = [&] {
    while (arrived.erase(next) == 1) ++next;
  };
  for (unsigned steps = 0; !in.empty() && steps < 500; ++steps) {
    const std::uint8_t what = in.u8();
    const std::uint64_t number = next + static_cast<std::uint64_t>(in.u16()) - ((what & 2) * 64U);
    if ((what & 1) != 0 && number < next + 0x8000) {
      seen.forget_below(number);
      if (number > next) {
        next = number;
        arrived.erase(arrived.begin(), arrived.lower_bound(next));
        end = std::max(end, next);
        skip();
      }
    } else {
      auto wanted = core::received_numbers::verdict::fresh;
      if (number >= next + core::received_numbers::window)
        wanted = core::received_numbers::verdict::beyond_window;
      if (number < next || arrived.contains(number))
        wanted = core::received_numbers::verdict::duplicate;
      expect(seen.classify(number) == wanted, "a number is taken for something else");
      if (wanted == core::received_numbers::verdict::fresh) {
        seen.insert(number);
        arrived.insert(number);
        end = std::max(end, number + 1);
        skip();
      }
    }
    expect(seen.next_expected() == next && seen.end() == end, "the window is elsewhere");
    std::array<core::number_range, wire::max_ack_ranges> found;
    auto top = arrived.rbegin();
    const std::size_t n = seen.ranges(found);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::uint64_t k = found[i].last; k != found[i].first - 1; --k, ++top)
        expect(top != arrived.rend() && *top == k, "a range is of numbers that did not arrive");
    }
    expect(n == found.size() || top == arrived.rend(), "a number that arrived is in no range");
  }
}

}  // namespace
}  // namespace nd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nd::fuzz;
  input in(data, size);
  const unsigned part = in.below(5);
  if (planted("overread") && size > 8) {
    // A byte behind the input's own memory: AddressSanitizer's to find.
    const std::unique_ptr<std::uint8_t[]> copy(new std::uint8_t[size]);
    std::memcpy(copy.get(), data, size);
    const volatile std::uint8_t* p = copy.get();
    static_cast<void>(p[size]);
  }
  if (planted("check") && part == 2) fail("planted");
  switch (part) {
    case 0: any_frame(in, false); break;
    case 1: any_frame(in, true); break;
    case 2: round_trip(in); break;
    case 3: cookies(in); break;
    default: numbers(in); break;
  }
  return 0;
}
