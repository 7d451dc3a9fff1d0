// Headers, records and checksums that are wrong, odd, or of a later version.
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {
namespace {

TEST_CASE("Wrong tag, wrong channel, wrong address", "[format]") {
  script s;
  app_socket a = s.peer_connects();
  const channel_end e = s.end();
  const packet p = data(bytes(0, "forged"));
  s.send_in_vain(p.tagged(e.host_tag ^ 1), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(e.host_id).tagged(e.host_tag ^ 1));
  s.send_in_vain(p.to_channel(e.host_id + 1), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(e.host_id + 1).tagged(e.host_tag));
  s.after(1_ms);  // ABORTs are few
  s.send_in_vain(p.to_channel(0), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(0).tagged(e.host_tag));
  s.send_in_vain(p.to_channel(~0U), &counters::drop_unknown_channel);
  s.expect(abort().to_channel(~0U).tagged(e.host_tag));
  s.after(1_ms);
  s.send_in_vain(p.from_ip(test::made_ip(2)), &counters::drop_unknown_channel);
  s.ignore_for(3_us);
  CHECK(s.read(a).empty());
  s.send(p);
  s.expect(ack());
  CHECK(s.read(a) == "forged");
}

TEST_CASE("A wrong checksum drops the packet before anything of it counts", "[format]") {
  const bool udp = GENERATE(false, true);
  script s({.udp = udp});
  app_socket a = s.peer_connects();
  script::write(a, "x");
  s.expect(data(bytes(0, "x")));
  s.send_in_vain(data(bytes(0, "spoilt")).with_bad_checksum(), &counters::drop_checksum);
  s.send_in_vain(ack().with_bad_checksum(), &counters::drop_checksum);
  s.send_in_vain(close().with_bad_checksum(), &counters::drop_checksum);
  s.expect_nothing();
  CHECK(a.unacknowledged() == 1);
  CHECK(s.read(a).empty());
  s.send(ack());
}

TEST_CASE("A bit turned anywhere in a packet is noticed", "[format]") {
  const bool udp = GENERATE(false, true);
  script s({.udp = udp});
  app_socket a = s.peer_connects();
  const std::vector<std::byte> right = s.encoded(data(bytes(0, "unharmed")));
  std::size_t used = 0;
  for (std::size_t i = sizeof(wire::ethernet_header); i < right.size(); ++i) {
    std::vector<std::byte> wrong = right;
    wrong[i] ^= std::byte{1};
    s.send_raw(wrong);
    used += s.value(&counters::data_packets_received) > 1 ? 1 : 0;
  }
  CHECK(used == 0);
  s.ignore_for(10_us);
  CHECK(s.read(a).empty());
  s.send(data(bytes(0, "unharmed")));
  s.expect(ack());
}

TEST_CASE("A packet of another version is dropped without an answer", "[format]") {
  script s;
  app_socket a = s.peer_connects();
  s.send_in_vain(data(bytes(0, "x")).with_version(2), &counters::drop_malformed);
  s.send_in_vain(data(bytes(0, "x")).with_version(2).tagged(1), &counters::drop_malformed);
  s.expect_nothing(10_ms);
}

TEST_CASE("A packet that is shorter than its header", "[format]") {
  const bool udp = GENERATE(false, true);
  script s({.udp = udp});
  app_socket a = s.peer_connects();
  for (std::size_t n = 1; n <= 28; n += 9)
    s.send_in_vain(ping().shorter_by(n + (udp ? 0 : 4)).without_checksum(),
                   &counters::drop_malformed);
  s.expect_nothing();
}

TEST_CASE("Record types that nobody knows, or that are reserved, are skipped", "[format]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(of_type(21, "token"), bytes(0, "one"), of_type(26), of_type(27, "grant"), of_type(28),
              of_type(255, text(100)), of_type(0), bytes(3, "two")));
  s.expect(ack());
  CHECK(s.read(a) == "onetwo");
  CHECK(s.value(&counters::records_unknown_type) == 6);
}

TEST_CASE("A longer record header is skipped over", "[format]") {
  script s;
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "long").with_doff(24 << 2), bytes(4, " and normal")));
  s.expect(ack());
  CHECK(s.read(a) == "long and normal");
}

TEST_CASE("A record header that cannot be makes the packet one", "[format]") {
  const record wrong = GENERATE(bytes(3, "x").with_doff(15 << 2), bytes(3, "x").with_doff(65),
                                bytes(3, "x").with_doff(0), bytes(3, "x").with_length(2),
                                bytes(3, "x").with_length(65535));
  const bool udp = GENERATE(false, true);
  script s({.udp = udp});
  app_socket a = s.peer_connects();
  // With a CRC32C that covers the records a packet that cannot be walked is one that is spoilt.
  s.send_in_vain(data(bytes(0, "fine"), wrong),
                 udp ? &counters::drop_malformed : &counters::drop_checksum);
  s.expect_nothing(10_ms);
  CHECK(s.read(a).empty());
}

TEST_CASE("A packet that ends within a record", "[format]") {
  const std::size_t missing = GENERATE(1U, 4U, 5U, 12U, 18U);
  const bool udp = GENERATE(false, true);
  script s({.udp = udp});
  app_socket a = s.peer_connects();
  s.send_in_vain(data(bytes(0, "fine"), bytes(4, "cut")).shorter_by(missing),
                 udp ? &counters::drop_malformed : &counters::drop_checksum);
  s.expect_nothing(10_ms);
  CHECK(s.read(a).empty());
}

TEST_CASE("Bodies of records may be longer than this version knows", "[format]") {
  script s;
  s.listen();
  s.peer_opens();
  const auto longer = [](const record& r) {
    record out = r;
    out.tail = "of a later version";
    return out;
  };
  s.send(data(longer(sync())));
  s.expect(data(sync_ack()));
  s.send(data(longer(fin(0))).acking(1));
  s.expect(ack());
  app_socket a = s.accept();
  CHECK(s.read(a).empty());
  CHECK(a.at_end());
  s.send(data(longer(reset(reset_reason::aborted))));
  s.expect(ack());
  CHECK(a.failed());
}

TEST_CASE("An ACK packet carries ranges and nothing else", "[format]") {
  script s;
  app_socket a = s.peer_connects();
  packet odd = ack();
  odd.records = {bytes(0, "no"), fin(2), reset(reset_reason::aborted)};
  s.send(odd);
  s.expect_nothing(10_ms);
  CHECK(s.read(a).empty());
  CHECK_FALSE(a.failed());
}

TEST_CASE("An empty packet of records is a ping", "[format]") {
  script s;
  s.peer_opens();
  s.send(ping());
  s.expect(ack());
}

TEST_CASE("What Ethernet has padded is not part of a packet", "[format]") {
  const bool udp = GENERATE(false, true);
  script s({.udp = udp});
  app_socket a = s.peer_connects();
  std::vector<std::byte> frame = s.encoded(data(bytes(0, "x")));
  frame.resize(frame.size() + 46, std::byte{0xee});
  s.send_raw(frame);
  s.end().next += 1;
  s.expect(ack());
  CHECK(s.read(a) == "x");
}

TEST_CASE("IP packets with options, and fragments", "[format]") {
  script s;
  s.peer_opens();
  const auto spoilt = [&](auto&& change) {
    std::vector<std::byte> frame = s.encoded(ping());
    auto& ip =
        wire::at<wire::ipv4_header>(static_cast<void*>(&frame[sizeof(wire::ethernet_header)]));
    change(ip);
    ip.checksum = std::uint16_t{0};
    ip.checksum = wire::ipv4_checksum(ip);
    const std::uint64_t before = s.value(&counters::drop_malformed);
    s.send_raw(frame);
    return s.value(&counters::drop_malformed) - before;
  };
  CHECK(spoilt([](wire::ipv4_header& h) { h.version_length = 0x46; }) == 1);
  CHECK(spoilt([](wire::ipv4_header& h) { h.version_length = 0x65; }) == 1);
  CHECK(spoilt([](wire::ipv4_header& h) { h.fragment = std::uint16_t{0x2000}; }) == 1);
  CHECK(spoilt([](wire::ipv4_header& h) { h.fragment = std::uint16_t{1}; }) == 1);
  CHECK(spoilt([](wire::ipv4_header& h) { h.total_length = std::uint16_t{19}; }) == 1);
  s.expect_nothing(10_ms);
}

TEST_CASE("Packets of other protocols, for other hosts", "[format]") {
  script s;
  s.peer_opens();
  const auto dropped = [&](auto&& change) {
    std::vector<std::byte> frame = s.encoded(ping());
    change(wire::at<wire::ethernet_header>(static_cast<void*>(frame.data())),
           wire::at<wire::ipv4_header>(static_cast<void*>(&frame[sizeof(wire::ethernet_header)])));
    auto& ip =
        wire::at<wire::ipv4_header>(static_cast<void*>(&frame[sizeof(wire::ethernet_header)]));
    ip.checksum = std::uint16_t{0};
    ip.checksum = wire::ipv4_checksum(ip);
    const std::uint64_t before = s.value(&counters::drop_not_ours);
    s.send_raw(frame);
    return s.value(&counters::drop_not_ours) - before;
  };
  CHECK(dropped([](auto& e, auto&) { e.destination = test::made_mac(5); }) == 1);
  CHECK(dropped([](auto& e, auto&) { e.type = std::uint16_t{0x86dd}; }) == 1);
  CHECK(dropped([](auto&, auto& ip) { ip.destination = test::made_ip(5); }) == 1);
  CHECK(dropped([](auto&, auto& ip) { ip.protocol = 6; }) == 1);
  CHECK(dropped([](auto&, auto& ip) { ip.protocol = 17; }) == 1);
  s.expect_nothing(10_ms);
}

void no_checksum(settings& v) {
  v.checksum = "none";
}

TEST_CASE("Both ends leave checksums out", "[format]") {
  const bool udp = GENERATE(false, true);
  script s({.udp = udp, .adjust = &no_checksum});
  app_socket a = s.peer_connects();
  s.send(data(bytes(0, "bare")));
  s.expect(ack());
  CHECK(s.read(a) == "bare");
  script::write(a, "bones");
  s.expect(data(bytes(0, "bones")));
  s.send(ack());
  // What cannot be walked is malformed then.
  s.send_in_vain(data(bytes(4, "x").with_length(9)), &counters::drop_malformed);
  // Handshakes are always protected.
  s.send_in_vain(init().without_checksum(), &counters::drop_checksum);
  s.expect_nothing();
}

TEST_CASE("One end alone is willing to leave checksums out", "[format]") {
  const bool udp = GENERATE(false, true);
  SECTION("the host") {
    script s({.udp = udp, .adjust = &no_checksum});
    s.end().checksums = true;  // the peer does not offer it
    app_socket a = s.peer_connects();
    s.send_in_vain(data(bytes(0, "bare")).without_checksum(), &counters::drop_checksum);
    s.expect_nothing();
    s.send(data(bytes(0, "covered")));
    s.expect(ack());
    CHECK(s.read(a) == "covered");
  }
  SECTION("the peer") {
    script s({.udp = udp});
    s.listen();
    s.send(init().with_flags(wire::handshake_no_checksum));
    s.expect(init_ack());
    s.send(cookie_echo().with_flags(wire::handshake_no_checksum));
    s.expect(cookie_ack().with_flags(0));
    s.send_in_vain(ping().without_checksum(), &counters::drop_checksum);
    s.send(data(sync()));
    s.expect(data(sync_ack()));
    s.send(ack());
  }
}

TEST_CASE("A restart under checksum=none is told to who sends enough bytes", "[format]") {
  script s({.adjust = &no_checksum});
  s.peer_opens();
  const packet unknown = data(bytes(0, "x")).tagged(1);
  s.send_in_vain(unknown, &counters::drop_unknown_channel);
  s.expect(abort().to_channel(s.end().host_id).tagged(1));
  // An ABORT, which has a checksum, would be larger than this.
  s.send_in_vain(ping().tagged(1), &counters::drop_checksum);
  s.expect_nothing(10_ms);
}

TEST_CASE("Flags of a later version are not understood, and not minded", "[format]") {
  script s;
  s.send(init().with_flags(0xfe));
  s.expect(init_ack().with_flags(0));
  s.send(cookie_echo().with_flags(0xfe));
  s.expect(cookie_ack().with_flags(0));
}

TEST_CASE("UDP: a length beyond the packet, another port, bytes behind it", "[format][udp]") {
  script s({.udp = true});
  app_socket a = s.peer_connects();
  constexpr std::size_t udp_at = sizeof(wire::ethernet_header) + sizeof(wire::ipv4_header);
  std::vector<std::byte> frame = s.encoded(data(bytes(0, "x")));
  auto& udp = wire::at<wire::udp_header>(static_cast<void*>(&frame[udp_at]));
  const std::uint16_t length = udp.length;
  udp.length = static_cast<std::uint16_t>(length + 1);
  s.send_raw(frame);
  CHECK(s.value(&counters::drop_malformed) == 1);
  udp.length = std::uint16_t{7};
  s.send_raw(frame);
  CHECK(s.value(&counters::drop_malformed) == 2);
  udp.length = length;
  udp.destination = std::uint16_t{9020};
  s.send_raw(frame);
  CHECK(s.value(&counters::drop_not_ours) == 1);
  s.expect_nothing();
  CHECK(s.read(a).empty());
}

TEST_CASE("UDP: source ports differ by channel", "[format][udp]") {
  script s({.udp = true, .adjust = [](settings& v) { v.channels_throughput = 3; }});
  app_socket a = s.connect();
  std::vector<std::uint16_t> ports;
  for (std::size_t k = 0; k < 3; ++k) {
    ports.push_back(s.expect(init().on_channel(k)).udp_source);
  }
  CHECK(ports == std::vector<std::uint16_t>{49153, 49154, 49155});
}

}  // namespace
}  // namespace nd::script
