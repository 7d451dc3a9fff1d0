// How a memif server is asked what it takes: a server played message by message.
#include "pmd_glue/memif_inquiry.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "pmd_glue/descriptor.hpp"
#include "unit/support/memif_ends.hpp"

using namespace nd::test;
using nd::pmd::descriptor;
using nd::pmd::memif_args;
using nd::pmd::memif_inquiry;
using answer = nd::pmd::memif_inquiry::answer;

namespace {

constexpr std::uint16_t ack = 1, hello = 2, init = 3, add_ring = 5, disconnect = 8;

using message = std::array<char, 128>;

template <class T>
T at(const message& m, std::size_t offset) {
  T value;
  std::memcpy(&value, m.data() + offset, sizeof value);
  return value;
}

class played_server {
 public:
  played_server() : listener_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    const std::size_t length = memif_address(args(), address);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(length)) == 0);
    REQUIRE(::listen(listener_.get(), 1) == 0);
  }

  memif_args args() const {
    return {.name = "net_memif0",
            .socket = socket_.path(),
            .socket_abstract = false,
            .id = 7,
            .rsize = 11,
            .secret = "s3cret"};
  }
  bool accept() {
    client_.emplace(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    return static_cast<bool>(*client_);
  }
  void say(std::uint16_t type, std::size_t size = sizeof(message)) {
    message m{};
    std::memcpy(m.data(), &type, sizeof type);
    REQUIRE(::send(client_->get(), m.data(), size, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
  }
  /// What the client has said; nothing if it waits, or is gone.
  std::optional<message> hear() {
    message m{};
    iovec bytes{m.data(), m.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &bytes;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(client_->get(), &header, 0);
    gone_ = n == 0;
    if (n != static_cast<ssize_t>(m.size())) return std::nullopt;
    attached_ = CMSG_FIRSTHDR(&header) != nullptr;
    if (attached_) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof fd);
      const descriptor closes(fd);
    }
    return m;
  }
  bool attached() const { return attached_; }
  bool client_gone() {
    while (hear()) continue;
    return gone_;
  }
  void hang_up() { client_.reset(); }

  /// Takes so many of the rings that it is asked for, and refuses the next.
  answer play(memif_inquiry& inquiry, unsigned rings) {
    REQUIRE(inquiry.poll() == answer::none_yet);
    REQUIRE(accept());
    say(hello);
    for (unsigned taken = 0;; ++taken) {
      if (const answer a = inquiry.poll(); a != answer::none_yet) return a;
      REQUIRE(hear());
      say(taken <= rings ? ack : disconnect);
    }
  }

 private:
  memif_socket socket_;
  descriptor listener_;
  std::optional<descriptor> client_;
  bool attached_ = false;
  bool gone_ = false;
};

}  // namespace

TEST_CASE("A memif server is asked as the protocol has it", "[memif]") {
  played_server server;
  memif_inquiry inquiry(server.args(), 2);
  CHECK(inquiry.poll() == answer::none_yet);
  REQUIRE(server.accept());
  CHECK(inquiry.poll() == answer::none_yet);
  CHECK_FALSE(server.hear());  // it is the server that begins
  server.say(hello);
  CHECK(inquiry.poll() == answer::none_yet);
  auto said = server.hear();
  REQUIRE(said);
  CHECK(at<std::uint16_t>(*said, 0) == init);
  CHECK(at<std::uint16_t>(*said, 2) == 0x0200);
  CHECK(at<std::uint32_t>(*said, 4) == 7);
  CHECK(at<std::uint8_t>(*said, 8) == 0);
  CHECK(std::string(said->data() + 9) == "s3cret");
  CHECK(std::string(said->data() + 33) == "libndstack");
  for (std::uint16_t ring = 0; ring < 4; ++ring) {
    CAPTURE(ring);
    server.say(ack);
    CHECK(inquiry.poll() == answer::none_yet);
    CHECK(inquiry.poll() == answer::none_yet);
    said = server.hear();
    REQUIRE(said);
    CHECK(at<std::uint16_t>(*said, 0) == add_ring);
    CHECK(at<std::uint16_t>(*said, 2) == (ring % 2 == 0 ? 1 : 0));
    CHECK(at<std::uint16_t>(*said, 4) == ring / 2);
    CHECK(at<std::uint8_t>(*said, 12) == 11);
    CHECK(server.attached());
    CHECK_FALSE(server.hear());
  }
  server.say(ack);
  CHECK(inquiry.poll() == answer::pairs);
  CHECK(inquiry.pairs() == 2);
  CHECK(server.client_gone());
}

TEST_CASE("A memif server takes as many pairs as it has both rings for", "[memif]") {
  const auto rings = static_cast<unsigned>(GENERATE(0, 1, 2, 3, 4, 5, 6, 7));
  CAPTURE(rings);
  played_server server;
  memif_inquiry inquiry(server.args(), 3);
  const answer a = server.play(inquiry, rings);
  CHECK(a == (rings < 2 ? answer::nobody_there : answer::pairs));
  CHECK(inquiry.pairs() == std::min(rings / 2, 3u));
  CHECK(server.client_gone());
  // And once more from the beginning, because that one may have been another process.
  CHECK(server.play(inquiry, 4) == answer::pairs);
  CHECK(inquiry.pairs() == 2);
}

TEST_CASE("A memif server that is not there, not ready, or talks nonsense is nobody", "[memif]") {
  played_server server;
  memif_args args = server.args();
  SECTION("no such socket") {
    args.socket += "-";
    memif_inquiry inquiry(args, 1);
    CHECK(inquiry.poll() == answer::nobody_there);
    CHECK(inquiry.poll() == answer::nobody_there);
  }
  SECTION("a name that is too long") {
    args.socket.assign(200, 'x');
    memif_inquiry inquiry(args, 1);
    CHECK(inquiry.poll() == answer::nobody_there);
  }
  SECTION("in the middle") {
    memif_inquiry inquiry(args, 1);
    CHECK(inquiry.poll() == answer::none_yet);
    REQUIRE(server.accept());
    bool said_more = true;
    SECTION("not started") {
      server.say(hello);
      CHECK(inquiry.poll() == answer::none_yet);
      server.say(disconnect);
    }
    SECTION("hangs up") {
      server.hang_up();
      said_more = false;
    }
    SECTION("half a message") {
      server.say(hello, 64);
    }
    SECTION("no type that is known") {
      server.say(99);
    }
    CHECK(inquiry.poll() == answer::nobody_there);
    if (said_more) CHECK(server.client_gone());
    CHECK(server.play(inquiry, 2) == answer::pairs);
  }
}
