#include "nd-echo/summary.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <span>
#include <string>

#include "nd-echo/protocol.hpp"

using namespace nd::apps::echo;

TEST_CASE("summary: JSON has the promised keys, in their order") {
  summary s;
  s.tool = "nd-echo";
  s.mode = "rr";
  s.size = 64;
  s.connections = 1;
  s.depth = 1;
  s.encap = "ip";
  s.duration_s = 2;
  s.total.messages = 10;
  s.total.bytes = 640;
  s.counters.emplace_back("rx_packets", 12);
  for (int i = 0; i < 10; ++i) s.total.latency.record(200);
  CHECK(to_json(s) ==
        R"({"tool":"nd-echo","mode":"rr","size":64,"connections":1,"depth":1,"encap":"ip",)"
        R"("duration_s":2.0,"messages":10,"bytes":640,"goodput_gbps":2.56e-06,)"
        R"("messages_per_s":5.0,"latency_us":{"count":10,"min":0.2,"mean":0.2,"p50":0.2,"p90":0.2,)"
        R"("p99":0.2,"p99_9":0.2,"max":0.2},"errors":0,"verify_failures":0,)"
        R"("counters":{"rx_packets":12}})"
        "\n");
  CHECK(to_text(s).find("round trip") != std::string::npos);
  CHECK(to_text(s).find("received by the other side") != std::string::npos);

  s.total.clear();
  CHECK(to_json(s).find(R"("count":0,"min":null)") != std::string::npos);
}

TEST_CASE("protocol: a hello survives the wire, and only a good one is taken") {
  const hello sent{mode::pipeline, true, 1234, 0x123456789abcdef0};
  auto bytes = sent.encode();
  const auto got = hello::decode(bytes);
  REQUIRE(got);
  CHECK(got->mode == sent.mode);
  CHECK(got->verify == sent.verify);
  CHECK(got->message_size == sent.message_size);
  CHECK(got->seed == sent.seed);

  // Magic, version, mode, flags, reserved; a size of 0 and one that is too large.
  for (const std::size_t i : {0U, 7U, 8U, 12U, 13U, 14U, 20U}) {
    auto wrong = bytes;
    wrong[i] ^= std::byte{0x80};
    CHECK_FALSE(hello::decode(wrong));
  }
  CHECK_FALSE(hello::decode(hello{mode::rr, false, 0, 0}.encode()));
  CHECK_FALSE(hello::decode(hello{mode::rr, false, size_max + 1, 0}.encode()));
}

TEST_CASE("protocol: reports are put together from pieces") {
  std::array<std::byte, 3 * report::size> stream{};
  for (std::uint64_t i = 0; i < 3; ++i) {
    std::ranges::copy(report{(i + 1) * 1000, i + 1}.encode(), stream.data() + i * report::size);
  }
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    report_reader reader;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.take(std::span(stream).subspan(at, std::min(piece, stream.size() - at)));
    }
    REQUIRE(reader.last());
    CHECK(reader.last()->bytes == 3000);
    CHECK(reader.last()->verify_failures == 3);
    CHECK_FALSE(reader.partial());
  }
}
