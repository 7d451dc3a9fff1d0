// Records: NetChannel's layout, and a reader that survives whatever it is given.
#include "wire/nd_header.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "base/rng.hpp"
#include "wire/record.hpp"

namespace wire = nd::wire;

namespace {

/// Reads all records of `bytes`, which lie at the very end of an allocation so that a sanitizer
/// sees each read behind them. Checks that each lies within. Returns ok().
bool walk(std::span<const std::byte> bytes, std::size_t& records) {
  const auto copy = std::make_unique<std::byte[]>(bytes.size());
  std::ranges::copy(bytes, copy.get());
  const std::span<std::byte> area(copy.get(), bytes.size());
  wire::record_reader reader(area);
  std::size_t at = 0;
  records = 0;
  for (wire::record_view r{}; reader.next(r); ++records) {
    const auto* header = reinterpret_cast<const std::byte*>(r.header);
    REQUIRE(header == area.data() + at);
    REQUIRE(at + sizeof(wire::record_header) <= area.size());
    const std::size_t start = static_cast<std::size_t>(r.payload.data() - area.data());
    REQUIRE(start >= at + sizeof(wire::record_header));
    REQUIRE(r.payload.size() == r.header->len);
    at = start + r.payload.size();
    REQUIRE(at <= area.size());
    REQUIRE(reader.at_end() == (at == area.size()));
  }
  if (reader.ok()) REQUIRE(at == area.size());
  wire::record_view r{};
  REQUIRE_FALSE(reader.next(r));
  return reader.ok();
}

}  // namespace

TEST_CASE("a record header is NetChannel's ndhdr", "[nd_header]") {
  wire::record r;
  r.source = 0x0102;
  r.dest = 0x0304;
  r.seq = 0xaa05060708;
  r.grant = 0xbb090a0b0c;
  r.length = 0x0d0e;
  r.type = wire::record_type::fin;
  wire::record_header h;
  wire::write_record_header(h, r);
  const unsigned char expected[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 64, 29, 13, 14};
  CHECK(std::memcmp(&h, expected, sizeof h) == 0);
}

TEST_CASE("a body is there when the payload is long enough", "[nd_header]") {
  wire::record_header h;
  std::vector<std::byte> bytes(sizeof(wire::fin_body));
  CHECK(wire::record_view{&h, bytes}.body<wire::fin_body>() ==
        reinterpret_cast<const wire::fin_body*>(bytes.data()));
  bytes.pop_back();
  CHECK(wire::record_view{&h, bytes}.body<wire::fin_body>() == nullptr);
  CHECK(wire::record_view{&h, {}}.body<wire::fin_body>() == nullptr);
}

TEST_CASE("random bytes are never read out of range", "[nd_header]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 5)));
  CAPTURE(seed);
  nd::rng random(seed);
  std::size_t walked = 0, records = 0;
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::byte> bytes(random.below(120));
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
    // Make some of it plausible, or the first header would end nearly every walk.
    for (std::size_t at = 0; at + 16 <= bytes.size(); at += 16 + random.below(8)) {
      if (random.chance(0.8)) bytes[at + 12] = std::byte{64};
      bytes[at + 14] = std::byte{0};
      bytes[at + 15] = static_cast<std::byte>(random.below(8));
    }
    static_cast<void>(walk(bytes, records));
    walked += records;
  }
  CHECK(walked > 1000);
}

TEST_CASE("valid records are walked, and each way to break them is noticed", "[nd_header]") {
  std::vector<std::byte> bytes;
  for (const std::uint16_t length : {std::uint16_t{0}, std::uint16_t{5}, std::uint16_t{24}}) {
    wire::record r;
    r.length = length;
    wire::record_header h;
    wire::write_record_header(h, r);
    const auto* p = reinterpret_cast<const std::byte*>(&h);
    bytes.insert(bytes.end(), p, p + sizeof h);
    bytes.resize(bytes.size() + length);
  }
  std::size_t records = 0;
  CHECK(walk(bytes, records));
  CHECK(records == 3);
  CHECK(walk({}, records));
  CHECK(records == 0);
  // Cut anywhere but between records.
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    CAPTURE(n);
    CHECK(walk(std::span(bytes).first(n), records) == (n == 0 || n == 16 || n == 37));
  }
  // A header length below ours, not whole bytes, or beyond the packet.
  for (const unsigned doff : {0U, 4U, 60U, 63U, 65U, 67U, 255U}) {
    auto broken = bytes;
    broken[16 + 12] = static_cast<std::byte>(doff);
    CAPTURE(doff);
    CHECK_FALSE(walk(broken, records));
    CHECK(records == 1);
  }
  auto broken = bytes;
  broken[16 + 14] = std::byte{0xff};
  CHECK_FALSE(walk(broken, records));
  // A longer header of a later version is skipped.
  auto longer = bytes;
  longer[12] = std::byte{(16 + 21) << 2};
  CHECK(walk(longer, records));
  CHECK(records == 2);
}
