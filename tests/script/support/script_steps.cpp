// What scripts often begin with, and the host's application.
#include <array>
#include <catch2/catch.hpp>

#include "script/support/script.hpp"

namespace nd::script {

void script::peer_opens(std::size_t channel, int line) {
  send(init().on_channel(channel), line);
  expect(init_ack().on_channel(channel), line);
  send(cookie_echo().on_channel(channel), line);
  expect(cookie_ack().on_channel(channel), line);
}

void script::host_opens(std::size_t channel, int line) {
  expect(init().on_channel(channel), line);
  send(init_ack().on_channel(channel), line);
  expect(cookie_echo().on_channel(channel), line);
  send(cookie_ack().on_channel(channel), line);
}

app_socket script::peer_connects(int line) {
  listen();
  peer_opens(0, line);
  send(data(sync()), line);
  expect(data(sync_ack()), line);
  send(ack(), line);
  return accept(line);
}

app_socket script::host_connects(int line) {
  app_socket s = connect();
  host_opens(0, line);
  expect(data(sync()), line);
  send(data(sync_ack()), line);
  expect(ack(), line);
  REQUIRE(s.connected());
  return s;
}

void script::peer_restarts(std::uint64_t new_epoch) {
  epoch = new_epoch;
  for (channel_end& e : ends_) {
    const std::uint8_t traffic_class = e.traffic_class;
    const bool checksums = e.checksums;
    const std::uint32_t first = e.first, host_first = e.host_first, id = e.id, tag = e.tag;
    e = {};
    e.id = id + 100;
    e.tag = tag + 0x1000;
    e.first = first + 33;
    e.host_first = host_first;
    e.traffic_class = traffic_class;
    e.checksums = checksums;
  }
}

void script::listen(std::uint16_t port, unsigned backlog) {
  listeners_.push_back(std::make_unique<test::app_listener>(*host_, port, backlog));
  poll();
}

void script::stop_listening() {
  for (auto& listener : listeners_) listener->close();
  listeners_.clear();
  poll();
}

app_socket script::accept(int line) {
  app_socket s;
  for (auto& listener : listeners_)
    if (!s) s = listener->accept();
  if (!s) fail("nobody waits to be accepted", line);
  return s;
}

app_socket script::connect(std::uint16_t port, std::uint8_t traffic_class) {
  current.peer_port = port;
  return app_socket(*host_, test::made_ip(1), port, traffic_class, values_);
}

std::size_t script::write(app_socket& s, const std::string& text) {
  return s.write(std::as_bytes(std::span(text.data(), text.size())));
}

std::string script::read(app_socket& s) {
  std::string all;
  std::array<std::byte, 4096> buffer;
  while (const std::size_t n = s.read(buffer)) {
    all.append(reinterpret_cast<const char*>(buffer.data()), n);
    poll();
  }
  return all;
}

}  // namespace nd::script
