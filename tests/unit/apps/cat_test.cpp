// nd-cat's loop between pipes, files and a made connection.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "fake_network.hpp"
#include "nd-cat/transfer.hpp"

namespace {

using namespace nd::apps;
using namespace nd::apps::cat;
using nd::apps::test::fake_network;
using nd::apps::test::fake_stream;

std::vector<std::byte> random_bytes(std::size_t size) {
  std::mt19937_64 random(3);
  std::vector<std::byte> out(size);
  for (std::byte& b : out) b = static_cast<std::byte>(random());
  return out;
}

// A file without a name.
int temporary(const std::vector<std::byte>& contents) {
  std::string name = "/tmp/nd-cat-test-XXXXXX";
  const int fd = ::mkstemp(name.data());
  REQUIRE(fd >= 0);
  ::unlink(name.c_str());
  REQUIRE(::write(fd, contents.data(), contents.size()) == static_cast<ssize_t>(contents.size()));
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

std::vector<std::byte> contents_of(int fd) {
  std::vector<std::byte> out(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)));
  REQUIRE(::pread(fd, out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()));
  return out;
}

}  // namespace

TEST_CASE("nd-cat: files cross in both directions, and two half closes end it") {
  const std::vector<std::byte> left = random_bytes(1000003);
  const std::vector<std::byte> right = random_bytes(300007);
  fake_network net(1);
  fake_stream a = net.connect({}, echo::mode::stream);
  fake_stream b = std::move(net.accepted.front());

  const int left_in = temporary(left);
  const int right_in = temporary(right);
  const int left_out = temporary({});
  const int right_out = temporary({});
  source left_source(left_in);
  source right_source(right_in);
  sink left_sink(::dup(left_out));
  sink right_sink(::dup(right_out));
  CHECK(left_source.size() == left.size());

  transfer<fake_stream> ta(a, left_source, left_sink);
  transfer<fake_stream> tb(b, right_source, right_sink);
  bool more_a = true;
  bool more_b = true;
  while (more_a || more_b) {
    if (more_a) more_a = ta.step();
    if (more_b) more_b = tb.step();
  }
  CHECK(ta.error().empty());
  CHECK(tb.error().empty());
  CHECK(ta.bytes().sent == left.size());
  CHECK(ta.bytes().received == right.size());
  CHECK(contents_of(right_out) == left);
  CHECK(contents_of(left_out) == right);
  for (const int fd : {left_in, right_in, left_out, right_out}) ::close(fd);
}

TEST_CASE("nd-cat: a pipe is read without waiting, and keeps its flags") {
  std::array<int, 2> p{};
  REQUIRE(::pipe(p.data()) == 0);
  source s(p[0]);
  CHECK_FALSE(s.is_terminal());
  CHECK_FALSE(s.size());
  std::array<std::byte, 100> buffer{};
  for (int i = 0; i < 50; ++i) CHECK(s.read_some(buffer).status == io_status::would_block);
  REQUIRE(::write(p[1], "abc", 3) == 3);
  ::close(p[1]);
  io_result r;
  for (int i = 0; i < 20 && r.status == io_status::would_block; ++i) r = s.read_some(buffer);
  CHECK(r.status == io_status::ok);
  CHECK(r.bytes == 3);
  CHECK(s.read_some(buffer).status == io_status::eof);
  CHECK((::fcntl(p[0], F_GETFL) & O_NONBLOCK) == 0);
  ::close(p[0]);
}

TEST_CASE("nd-cat: a pipe that nobody reads stops the sink, not the loop") {
  std::array<int, 2> p{};
  REQUIRE(::pipe(p.data()) == 0);
  const int shared = ::dup(p[1]);
  sink s(p[1]);
  const std::vector<std::byte> bytes = random_bytes(4 << 20);
  std::size_t written = 0;
  io_result r;
  while ((r = s.write_some(std::span(bytes).subspan(written))).status == io_status::ok) {
    written += r.bytes;
  }
  CHECK(r.status == io_status::would_block);
  CHECK(written > 0);
  CHECK((::fcntl(shared, F_GETFL) & O_NONBLOCK) == 0);
  ::close(shared);

  std::signal(SIGPIPE, SIG_IGN);
  ::close(p[0]);
  CHECK(s.write_some(bytes).status == io_status::failed);
  CHECK(s.error() == std::errc::broken_pipe);
}

TEST_CASE("nd-cat: a full disk is an error") {
  const int full = ::open("/dev/full", O_WRONLY);
  REQUIRE(full >= 0);
  sink s(full);
  CHECK(s.write_some(random_bytes(10)).status == io_status::failed);
  CHECK(s.error() == std::errc::no_space_on_device);
}

TEST_CASE("nd-cat: a connection that breaks ends it with the reason") {
  fake_network net(2);
  fake_stream a = net.connect({}, echo::mode::stream);
  const int in = temporary(random_bytes(100000));
  source from(in);
  sink to(temporary({}));
  transfer<fake_stream> t(a, from, to);
  for (int i = 0; i < 10; ++i) CHECK(t.step());
  net.last->reset = true;
  while (t.step()) {
  }
  CHECK(t.error().find("fake: ") == 0);
  ::close(in);
}

TEST_CASE("nd-cat: what it says") {
  using namespace std::chrono_literals;
  CHECK(summary_line({1000000000, 0}, 1s) ==
        "sent 1000000000 bytes, received 0 bytes in 1.000 s, 8.000 Gbit/s");
  const std::string half = progress_line({500, 0}, 1s, 1000);
  CHECK(half.find("[###############...............]  50 %") == 0);
  CHECK(progress_line({500, 0}, 1s, std::nullopt).find('[') == std::string::npos);
}

TEST_CASE("nd-cat: SHA-256 of what went each way") {
  fake_network net(1);
  fake_stream a = net.connect({}, echo::mode::stream);
  fake_stream b = std::move(net.accepted.front());
  const std::string text = "abc";  // FIPS 180-4's example
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  const int in = temporary({bytes, bytes + text.size()});
  const int empty = temporary({});
  source from(in), nothing(empty);
  sink a_out(temporary({})), b_out(temporary({}));
  digests at_a, at_b;
  transfer<fake_stream> left(a, from, a_out, &at_a);
  transfer<fake_stream> right(b, nothing, b_out, &at_b);
  bool going = true;
  for (int turns = 0; turns < 10000 && going; ++turns) {
    const bool l = left.step();
    going = right.step() || l;
  }
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  CHECK(at_a.sent.text() == abc);
  CHECK(at_b.received.text() == abc);
  CHECK(at_b.sent.text() == nd::apps::sha256().text());
  CHECK(at_a.received.text() != abc);
  ::close(in);
  ::close(empty);
}
