#include "pmd_glue/memif_inquiry.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "pmd_glue/descriptor.hpp"

namespace nd::pmd {
namespace {

// --- the protocol's messages, version 2.0, in the machine's byte order ---------------------------

enum class message_type : std::uint16_t {
  ack = 1,
  hello = 2,
  init = 3,
  add_ring = 5,
  disconnect = 8,
};

constexpr std::size_t message_bytes = 128;
constexpr std::uint16_t memif_version = 2 << 8;
constexpr std::uint8_t mode_ethernet = 0;
constexpr std::uint16_t ring_to_server = 1;

struct [[gnu::packed]] init_message {
  message_type type = message_type::init;
  std::uint16_t version = memif_version;
  std::uint32_t id = 0;
  std::uint8_t mode = mode_ethernet;
  char secret[24] = {};
  char name[32] = "libndstack";
  char rest[63] = {};
};
static_assert(sizeof(init_message) == message_bytes);

struct [[gnu::packed]] add_ring_message {
  message_type type = message_type::add_ring;
  std::uint16_t flags = 0;
  std::uint16_t index = 0;
  std::uint16_t region = 0;
  std::uint32_t offset = 0;
  std::uint8_t log2_size = 0;
  std::uint16_t private_header = 0;
  char rest[113] = {};
};
static_assert(sizeof(add_ring_message) == message_bytes);

/// A 22.11 server whose greeting meets a closed socket panics (it closes a descriptor that the EAL
/// still lists), and SIGPIPE ends one whose answer does. Its guard lets it answer within
/// round_interval_max.
constexpr int greeting_patience_ms = 1'500;

template <class Message>
bool send_message(int socket, Message message, int attached = -1) noexcept {
  iovec bytes{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof attached)] = {};
  if (attached >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof attached);
    std::memcpy(CMSG_DATA(rights), &attached, sizeof attached);
  }
  return ::sendmsg(socket, &header, MSG_NOSIGNAL) == message_bytes;
}

}  // namespace

memif_inquiry::memif_inquiry(memif_args args, unsigned wanted)
    : args_(std::move(args)), wanted_(wanted) {}

memif_inquiry::answer memif_inquiry::poll() noexcept {
  if (socket_ < 0) return dial() ? answer::none_yet : end(answer::nobody_there);
  char message[message_bytes];
  const ssize_t n = ::recv(socket_, message, sizeof message, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return answer::none_yet;
  if (n != message_bytes) return end(answer::nobody_there);
  message_type type{};
  std::memcpy(&type, message, sizeof type);
  switch (type) {
    case message_type::hello: return say_init() ? answer::none_yet : end(answer::nobody_there);
    case message_type::ack: break;
    case message_type::disconnect: return end(pairs() > 0 ? answer::pairs : answer::nobody_there);
    default: return end(answer::nobody_there);
  }
  ++acks_;
  if (pairs() == wanted_) return end(answer::pairs);
  return say_ring() ? answer::none_yet : end(answer::nobody_there);
}

bool memif_inquiry::dial() noexcept {
  acks_ = 0;
  sockaddr_un address{};
  const std::size_t length = memif_address(args_, address);
  if (length == 0) return false;
  socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return socket_ >= 0 && ::connect(socket_, reinterpret_cast<const sockaddr*>(&address),
                                   static_cast<socklen_t>(length)) == 0;
}

bool memif_inquiry::say_init() const noexcept {
  init_message init;
  init.id = args_.id;
  args_.secret.copy(init.secret, sizeof init.secret - 1);
  return send_message(socket_, init);
}

/// In the order in which some servers insist: of each direction from 0 on.
bool memif_inquiry::say_ring() const noexcept {
  const unsigned ring = acks_ - 1;
  add_ring_message add_ring;
  add_ring.flags = ring % 2 == 0 ? ring_to_server : 0;
  add_ring.index = static_cast<std::uint16_t>(ring / 2);
  add_ring.log2_size = static_cast<std::uint8_t>(args_.rsize);
  const descriptor interrupt(eventfd(0, EFD_CLOEXEC));
  return interrupt && send_message(socket_, add_ring, interrupt.get());
}

memif_inquiry::answer memif_inquiry::end(answer a) noexcept {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  return a;
}

void memif_inquiry::hang_up() noexcept {
  if (socket_ < 0) return;
  pollfd awaited{.fd = socket_, .events = POLLIN, .revents = 0};
  (void)::poll(&awaited, 1, greeting_patience_ms);
  end(answer::none_yet);
}

}  // namespace nd::pmd
