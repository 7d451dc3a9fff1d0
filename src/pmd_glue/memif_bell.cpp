#include "pmd_glue/memif_bell.hpp"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace nd::pmd {
namespace {

constexpr std::uint16_t local_experiment = 0x88b5;  // EtherType, IEEE 802
constexpr char text[] = "nd: ring when you send";

struct question_frame {
  rte_ether_hdr ethernet;
  char text[24];
  memif_bell::socket_name name;
  std::array<std::uint8_t, 4> number;  // in the order of this machine, which both ends are on
  std::array<char, 12> rest;           // to the least that Ethernet carries
};
static_assert(sizeof(question_frame) == 60 && sizeof text <= sizeof(question_frame::text));

struct ring_datagram {
  std::uint32_t number;
  std::uint32_t sound;
};

constexpr socklen_t name_length = offsetof(sockaddr_un, sun_path) + sizeof(memif_bell::socket_name);

/// unix(7), autobind: a NUL and five hexadecimal digits.
bool is_name(const memif_bell::socket_name& name) noexcept {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return name[0] == '\0' && std::all_of(name.begin() + 1, name.end(), is_digit);
}

bool is_question(const rte_mbuf* m) noexcept {
  const auto* frame = rte_pktmbuf_mtod(m, const question_frame*);
  return m->data_len == sizeof *frame &&
         frame->ethernet.ether_type == rte_cpu_to_be_16(local_experiment) &&
         std::memcmp(frame->text, text, sizeof text) == 0 && is_name(frame->name);
}

}  // namespace

void memif_bell::reset() noexcept {
  owes_ = promised_ = false;
  unanswered_ = wait_ = 0;
}

std::size_t memif_bell::without_questions(std::span<rte_mbuf*> frames) noexcept {
  const auto rest = std::remove_if(frames.begin(), frames.end(), [this](rte_mbuf* m) {
    if (!is_question(m)) return false;
    const auto* frame = rte_pktmbuf_mtod(m, const question_frame*);
    other_name_ = frame->name;
    std::memcpy(&other_number_, frame->number.data(), sizeof other_number_);
    rte_pktmbuf_free(m);
    unanswered_ = 0;  // it knows of bells
    owes_ = open();
    if (owes_) tell(sound::owes);
    return true;
  });
  return static_cast<std::size_t>(rest - frames.begin());
}

void memif_bell::ring() noexcept {
  owes_ = false;
  tell(sound::rang);
}

void memif_bell::nudge() noexcept {
  tell(sound::asks);
}

bool memif_bell::promised() noexcept {
  hear();
  return promised_ && looks_ >= enough_looks;
}

rte_mbuf* memif_bell::question() noexcept {
  if (promised_ || unanswered_ >= most_unanswered || !open()) return nullptr;
  if (wait_ > 0) {
    --wait_;
    return nullptr;
  }
  rte_mbuf* m = rte_pktmbuf_alloc(pool_);
  if (m == nullptr) return nullptr;
  wait_ = wait_for_answer;
  ++unanswered_;
  ++number_;
  auto* frame = reinterpret_cast<question_frame*>(rte_pktmbuf_append(m, sizeof(question_frame)));
  *frame = {};
  std::ranges::copy(mac_broadcast, frame->ethernet.dst_addr.addr_bytes);
  std::ranges::copy(mac_, frame->ethernet.src_addr.addr_bytes);
  frame->ethernet.ether_type = rte_cpu_to_be_16(local_experiment);
  std::memcpy(frame->text, text, sizeof text);
  frame->name = name_;
  std::memcpy(frame->number.data(), &number_, sizeof number_);
  return m;
}

void memif_bell::hear() noexcept {
  if (!socket_) return;
  ring_datagram d;
  while (recv(socket_->get(), &d, sizeof d, MSG_DONTWAIT) == sizeof d) {
    if (d.number != number_) continue;  // of a question that another one has followed
    if (d.sound == static_cast<std::uint32_t>(sound::owes)) {
      promised_ = true;
      unanswered_ = looks_ = wait_ = 0;
    } else if (d.sound == static_cast<std::uint32_t>(sound::rang)) {
      promised_ = false;
    }
  }
}

/// Once, and again where the process had no descriptor left.
bool memif_bell::open() noexcept {
  if (socket_) return true;
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  descriptor opened(fd);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  socklen_t length = sizeof address;
  const auto* const any = reinterpret_cast<const sockaddr*>(&address);
  if (bind(fd, any, sizeof(sa_family_t)) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 || length != name_length)
    return false;
  std::copy_n(address.sun_path, name_.size(), name_.begin());
  socket_.emplace(opened.keep());
  return true;
}

/// A queue that is full has been readable for long, and one without an owner needs nothing.
void memif_bell::tell(sound what) noexcept {
  sockaddr_un to{.sun_family = AF_UNIX, .sun_path = {}};
  std::ranges::copy(other_name_, to.sun_path);
  const ring_datagram d{.number = other_number_, .sound = static_cast<std::uint32_t>(what)};
  sendto(socket_->get(), &d, sizeof d, MSG_DONTWAIT | MSG_NOSIGNAL,
         reinterpret_cast<const sockaddr*>(&to), name_length);
}

}  // namespace nd::pmd
