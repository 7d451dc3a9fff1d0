// Whole packets: written, checked, and broken in every way.
#include "wire/packet_format.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "base/rng.hpp"

namespace wire = nd::wire;
using wire::packet_kind;

namespace {

constexpr wire::packet_format format{0x0a000001, 0x0a000002, 19, true};

wire::channel_header header_of(packet_kind kind) {
  wire::channel_header h{};
  h.version = wire::nd_version;
  h.kind = kind;
  h.ack_delay = std::uint16_t{0x1122};
  h.channel = 0x33445566U;
  h.tag = 0x778899aaU;
  h.number = 0xfffffffeU;
  h.floor = 0xfffffff0U;
  h.ack = 7U;
  return h;
}

using payloads = std::vector<std::vector<std::byte>>;

std::vector<std::byte> bytes_from(nd::rng& random, std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

/// A packet with one record a payload; every other one lies in place already.
std::vector<std::byte> write(packet_kind kind, const payloads& records,
                             const wire::packet_format& f = format) {
  std::vector<std::byte> packet(4096);
  wire::packet_writer writer(packet.data(), header_of(kind), f);
  std::uint16_t port = 1;
  for (const auto& payload : records) {
    wire::record r;
    r.source = port++;
    r.length = static_cast<std::uint16_t>(payload.size());
    const std::uint32_t digest = wire::crc32c(wire::crc32c_start, payload);
    if (port % 2 == 0) {
      writer.append(r, payload, digest);
    } else {
      std::ranges::copy(payload, packet.data() + writer.size() + sizeof(wire::record_header));
      writer.append_in_place(r, digest);
    }
  }
  const std::size_t before = writer.size();
  packet.resize(writer.finish());
  CHECK(packet.size() == before + f.trailer_size());
  return packet;
}

/// Checks a copy that ends where its allocation ends.
bool verifies(std::span<const std::byte> packet, const wire::packet_format& f = format) {
  const auto copy = std::make_unique<std::byte[]>(packet.size());
  std::ranges::copy(packet, copy.get());
  std::span<std::byte> view(copy.get(), packet.size());
  return wire::verify_and_trim(view, f);
}

}  // namespace

TEST_CASE("records come back as they were written", "[packet_format]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 40)));
  CAPTURE(seed);
  nd::rng random(seed);
  payloads records(random.below(8));
  for (auto& payload : records) payload = bytes_from(random, random.below(200));
  wire::packet_format f = format;
  f.crc = random.chance(0.8);
  const packet_kind kind = random.chance(0.5) ? packet_kind::data : packet_kind::ack;
  auto packet = write(kind, records, f);
  std::span<std::byte> view(packet);
  REQUIRE(wire::verify_and_trim(view, f));
  const auto header = header_of(kind);
  REQUIRE(std::memcmp(view.data(), &header, sizeof header) == 0);
  wire::record_reader reader(view.subspan(sizeof header));
  wire::record_view r{};
  for (std::size_t i = 0; i < records.size(); ++i) {
    REQUIRE(reader.next(r));
    CHECK(r.header->source == i + 1);
    CHECK(std::ranges::equal(r.payload, records[i]));
  }
  CHECK_FALSE(reader.next(r));
  CHECK(reader.ok());
}

TEST_CASE("bodies come back as they were written", "[packet_format]") {
  nd::rng random(1);
  for (const std::size_t size : {1U, 48U, 1000U}) {
    const auto body = bytes_from(random, size);
    std::vector<std::byte> packet(2000);
    wire::packet_writer writer(packet.data(), header_of(packet_kind::init), format);
    writer.append_body(body);
    packet.resize(writer.finish());
    CHECK(packet.size() == sizeof(wire::channel_header) + size + 4);
    std::span<std::byte> view(packet);
    REQUIRE(wire::verify_and_trim(view, format));
    CHECK(std::ranges::equal(view.subspan(sizeof(wire::channel_header)), body));
  }
}

// Under UBSan, a null span given to memcpy is an error.
TEST_CASE("an empty body and an empty payload are nothing special", "[packet_format]") {
  std::vector<std::byte> packet(200);
  wire::packet_writer writer(packet.data(), header_of(packet_kind::abort), format);
  writer.append_body({});
  packet.resize(writer.finish());
  CHECK(packet.size() == sizeof(wire::channel_header) + 4);
  CHECK(verifies(packet));

  packet.resize(200);
  wire::packet_writer data(packet.data(), header_of(packet_kind::data), format);
  data.append(wire::record{}, {}, wire::crc32c_start);
  packet.resize(data.finish());
  CHECK(verifies(packet));
}

TEST_CASE("each turned bit is detected", "[packet_format]") {
  nd::rng random(2);
  const packet_kind kind = GENERATE(packet_kind::data, packet_kind::ack);
  const payloads records{
      bytes_from(random, 33), {}, bytes_from(random, 150), bytes_from(random, 1)};
  const auto packet = write(kind, records);
  REQUIRE(verifies(packet));
  for (std::size_t bit = 0; bit < packet.size() * 8; ++bit) {
    auto broken = packet;
    broken[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CAPTURE(bit);
    REQUIRE_FALSE(verifies(broken));
  }
}

TEST_CASE("each turned bit of a body is detected", "[packet_format]") {
  nd::rng random(3);
  std::vector<std::byte> packet(200);
  wire::packet_writer writer(packet.data(), header_of(packet_kind::cookie_echo), format);
  writer.append_body(bytes_from(random, sizeof(wire::handshake_body)));
  packet.resize(writer.finish());
  REQUIRE(verifies(packet));
  for (std::size_t bit = 0; bit < packet.size() * 8; ++bit) {
    auto broken = packet;
    broken[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CAPTURE(bit);
    REQUIRE_FALSE(verifies(broken));
  }
}

TEST_CASE("two turned bits are detected", "[packet_format]") {
  nd::rng random(4);
  const auto packet = write(packet_kind::data, {bytes_from(random, 40), bytes_from(random, 9)});
  for (int i = 0; i < 20000; ++i) {
    auto broken = packet;
    const std::size_t a = random.below(packet.size() * 8), b = random.below(packet.size() * 8);
    if (a == b) continue;
    broken[a / 8] ^= static_cast<std::byte>(1U << a % 8);
    broken[b / 8] ^= static_cast<std::byte>(1U << b % 8);
    CAPTURE(a, b);
    REQUIRE_FALSE(verifies(broken));
  }
}

TEST_CASE("a packet of other hosts, or of another protocol, is detected", "[packet_format]") {
  const auto packet = write(packet_kind::data, {{std::byte{1}, std::byte{2}}});
  REQUIRE(verifies(packet));
  for (int bit = 0; bit < 32; ++bit) {
    wire::packet_format other = format;
    other.source ^= 1U << bit;
    CHECK_FALSE(verifies(packet, other));
    other = format;
    other.destination ^= 1U << bit;
    CHECK_FALSE(verifies(packet, other));
  }
  wire::packet_format other = format;
  other.protocol = 20;
  CHECK_FALSE(verifies(packet, other));
  CHECK_FALSE(verifies(packet, format.reversed()));
  CHECK(verifies(packet, format.reversed().reversed()));
}

TEST_CASE("a packet that was cut, or has something behind it, is detected", "[packet_format]") {
  nd::rng random(5);
  const packet_kind kind = GENERATE(packet_kind::data, packet_kind::ack);
  auto packet = write(kind, {bytes_from(random, 20), bytes_from(random, 30)});
  for (std::size_t n = 0; n < packet.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(verifies(std::span(packet).first(n)));
  }
  for (std::size_t n = 1; n < 40; ++n) {
    packet.push_back(std::byte{0});
    CHECK_FALSE(verifies(packet));
  }
}

TEST_CASE("without a CRC only the header must be there", "[packet_format]") {
  wire::packet_format plain = format;
  plain.crc = false;
  const auto packet = write(packet_kind::data, {{std::byte{1}}}, plain);
  CHECK(packet.size() == sizeof(wire::channel_header) + sizeof(wire::record_header) + 1);
  CHECK(verifies(packet, plain));
  CHECK_FALSE(verifies(std::span(packet).first(sizeof(wire::channel_header) - 1), plain));
  CHECK_FALSE(verifies({}, plain));
}

TEST_CASE("random packets are refused and never read out of range", "[packet_format]") {
  nd::rng random(6);
  for (int i = 0; i < 20000; ++i) {
    auto packet = bytes_from(random, random.below(200));
    if (packet.size() > 1) packet[1] = static_cast<std::byte>(1 + random.below(9));
    REQUIRE_FALSE(verifies(packet));
  }
}
