// Opens many connections between two processes over memif, counts what an idle socket takes at
// either end, sends a few bytes over each, and closes them all.
//
//   nd-scale [CONNECTIONS [MOST_BYTES [MESSAGE_BYTES]]]
//
// Each end counts for itself: what malloc has given out since before the runtime, what the EAL's
// heap has given out beside mbuf pools, and mbufs that are in use; all of it is put down to its
// sockets. With MOST_BYTES, more than that many a socket is a failure. Needs neither root nor
// hugepages. Exit code 0 or 1.
#include <malloc.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nd/nd.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/mbuf.hpp"

namespace {

using clock = std::chrono::steady_clock;

// One listener's port and the client's ports from 16384 on make 49,152 connections.
constexpr std::size_t connections_a_port = 40'000;
constexpr std::uint16_t first_port = 5000;
constexpr std::size_t in_flight_most = 2000;
// Beyond that a run on a busy machine is stuck.
constexpr auto step_limit = std::chrono::seconds(120);

void check(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what);
}

double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

// --- Memory --------------------------------------------------------------------------------------

std::size_t malloc_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

struct pool_bytes {
  std::size_t all = 0;
  std::size_t mbufs = 0;  ///< in use
};

/// The EAL's heap and its mbuf pools. Other pools count as heap.
std::size_t eal_bytes() {
  rte_malloc_socket_stats stats{};
  std::size_t bytes = 0;
  for (int socket = 0; socket < RTE_MAX_NUMA_NODES; ++socket)
    if (rte_malloc_get_socket_stats(socket, &stats) == 0) bytes += stats.heap_allocsz_bytes;
  pool_bytes pools;
  rte_mempool_walk(
      [](rte_mempool* p, void* out) {
        if (p->private_data_size < sizeof(rte_pktmbuf_pool_private)) return;
        auto& sum = *static_cast<pool_bytes*>(out);
        const std::size_t each = p->header_size + p->elt_size + p->trailer_size;
        sum.mbufs += each * rte_mempool_in_use_count(p);
        // Objects don't cross pages, so the chunks are larger than their sum.
        rte_mempool_mem_iter(
            p,
            [](rte_mempool*, void* all, rte_mempool_memhdr* chunk, unsigned) {
              *static_cast<std::size_t*>(all) += chunk->len;
            },
            &sum.all);
      },
      &pools);
  return bytes - pools.all + pools.mbufs;
}

/// Tells what a socket takes now.
class accountant {
 public:
  /// Before the runtime.
  accountant(const char* end, std::size_t sockets, std::optional<std::size_t> most)
      : end_(end), sockets_(sockets), most_(most), malloc_before_(malloc_bytes()) {}
  /// The runtime stands, no socket is open.
  void runtime_stands() { resident_before_ = resident_bytes(); }

  void report(const char* when) const {
    const std::size_t heap = (malloc_bytes() - malloc_before_) / sockets_;
    const std::size_t eal = eal_bytes() / sockets_;
    const std::size_t grown = resident_bytes() - std::min(resident_bytes(), resident_before_);
    const std::size_t resident = grown / sockets_;
    std::printf("%s, %s: %zu bytes a socket (%zu malloc, %zu EAL); RSS grew by %zu a socket\n",
                end_, when, heap + eal, heap, eal, resident);
    if (!most_) return;
    check(heap + eal <= *most_ && resident <= *most_,
          std::string(end_) + ": more than " + std::to_string(*most_) + " bytes a socket");
  }

 private:
  const char* end_;
  std::size_t sockets_;
  std::optional<std::size_t> most_;
  std::size_t malloc_before_;
  std::size_t resident_before_ = 0;
};

// --- The two ends --------------------------------------------------------------------------------

struct arguments {
  std::size_t connections = 100'000;
  std::optional<std::size_t> most_bytes;
  std::size_t message = 8;
};

/// One each where there are two.
std::string cpu_of(bool server) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "no CPU");
  int first = -1, last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) continue;
    if (first < 0) first = cpu;
    last = cpu;
  }
  return std::to_string(server ? first : last);
}

std::string eal_name(bool server, const std::filesystem::path& dir) {
  return dir.filename().string() + (server ? "s" : "c");
}
/// The EAL leaves its folder where there was memif.
void remove_eal_folders(const std::filesystem::path& dir) {
  const char* const xdg = std::getenv("XDG_RUNTIME_DIR");
  for (const char* root : {"/var/run", xdg != nullptr ? xdg : "/tmp"}) {
    std::error_code ignored;
    for (const bool server : {true, false})
      std::filesystem::remove_all(std::filesystem::path(root) / "dpdk" / eal_name(server, dir),
                                  ignored);
  }
}

std::unique_ptr<nd::runtime> make_runtime(bool server, const std::filesystem::path& dir,
                                          const arguments& args) {
  nd::config c;
  c.eal_args({"--lcores", "0@" + cpu_of(server), "--no-huge", "-m", "128", "--no-pci",
              "--no-telemetry", "--file-prefix", eal_name(server, dir), "--log-level",
              "lib.eal:error",
              "--vdev=net_memif0,role=" + std::string(server ? "server" : "client") +
                  ",socket=" + (dir / "memif.sock").string() + ",socket-abstract=no,bsize=2048"});
  c.set("ip", server ? "10.19.0.1/24" : "10.19.0.2/24");
  c.set("sockets", std::to_string(std::max<std::size_t>(args.connections, 16)));
  c.set("backlog", "65535");
  // Both ends are one machine's, which may be busy.
  c.set("peer_timeout", "30s");
  c.set("keepalive", "5s");
  c.set("connect_timeout", "60s");
  c.set("linger", "60s");
  return std::make_unique<nd::runtime>(c);
}

template <class Done>
void poll_until(nd::runtime& rt, const char* what, Done&& done) {
  const auto start = clock::now();
  while (!done()) {
    rt.poll();
    check(clock::now() - start < step_limit, std::string(what) + ": not done in time");
  }
}

void poll_for(nd::runtime& rt, std::chrono::milliseconds time) {
  for (const auto start = clock::now(); clock::now() - start < time;) rt.poll();
}

/// Of the message on connection `i`.
std::byte byte_of(std::size_t i, std::size_t at) {
  return static_cast<std::byte>(i * 31 + at * 7 + at / 256);
}

void check_would_block(std::error_code ec) {
  if (ec && ec != nd::errc::would_block) throw std::system_error(ec, "message");
}

/// A server's connection whose message is not back yet.
struct echo {
  std::size_t socket;
  std::size_t read = 0;
  std::vector<std::byte> waiting;  ///< what could not be written yet

  /// True when all is back.
  bool step(nd::socket& s, std::size_t message) {
    static std::vector<std::byte> buffer(64 << 10);
    for (;;) {
      std::error_code ec;
      if (waiting.empty() && s.available() > 0) {
        const std::size_t n = s.read_some(buffer, ec);
        check_would_block(ec);
        read += n;
        waiting.assign(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
      }
      if (waiting.empty()) return false;
      const std::size_t n = s.write_some(waiting, ec);
      check_would_block(ec);
      waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(n));
      if (!waiting.empty()) return false;
      if (read == message) return true;
    }
  }
};

void serve(const std::filesystem::path& dir, const arguments& args) {
  accountant memory("server", args.connections, args.most_bytes);
  auto rt = make_runtime(true, dir, args);
  std::vector<nd::acceptor> acceptors;
  for (std::size_t n = 0; n * connections_a_port < args.connections; ++n) {
    acceptors.emplace_back(
        *rt, nd::endpoint(nd::any_address, static_cast<std::uint16_t>(first_port + n)));
    acceptors.back().non_blocking(true);
  }
  memory.runtime_stands();

  std::vector<nd::socket> sockets;
  sockets.reserve(args.connections);
  poll_until(*rt, "accept", [&] {
    for (nd::acceptor& a : acceptors) {
      std::error_code ec;
      nd::socket s = a.accept(ec);
      if (ec) continue;
      s.non_blocking(true);
      sockets.push_back(std::move(s));
    }
    return sockets.size() == args.connections;
  });
  memory.report("idle, new");

  // The echo. To look at all sockets takes longer than a turn of the loop.
  std::vector<echo> open;
  open.reserve(sockets.size());
  for (std::size_t i = 0; i < sockets.size(); ++i) open.push_back({i, 0, {}});
  unsigned turn = 0;
  poll_until(*rt, "echo", [&] {
    if (++turn % 16 == 0)
      std::erase_if(open, [&](echo& e) { return e.step(sockets[e.socket], args.message); });
    return open.empty();
  });
  open = {};
  // Until the first close.
  std::byte nothing{};
  const auto at_end = [&](nd::socket& s) {
    std::error_code ec;
    s.read_some(std::span(&nothing, 1), ec);
    if (ec && ec != nd::errc::would_block && ec != nd::errc::eof)
      throw std::system_error(ec, "end");
    return ec == nd::errc::eof;
  };
  poll_for(*rt, std::chrono::milliseconds(300));
  memory.report("idle, used");
  poll_until(*rt, "close", [&] {
    while (!sockets.empty() && at_end(sockets.back())) sockets.pop_back();
    return sockets.empty();
  });
}

void connect_all(nd::runtime& rt, std::vector<nd::socket>& sockets, const arguments& args) {
  std::size_t stand = 0;
  const auto start = clock::now();
  poll_until(rt, "connect", [&] {
    while (sockets.size() < args.connections && sockets.size() - stand < in_flight_most) {
      nd::socket& s = sockets.emplace_back(rt);
      s.non_blocking(true);
      const auto port = static_cast<std::uint16_t>(first_port + sockets.size() % args.connections /
                                                                    connections_a_port);
      std::error_code ec;
      s.connect({nd::address("10.19.0.1"), port}, ec);
      if (ec && ec != nd::errc::in_progress) throw std::system_error(ec, "connect");
    }
    for (; stand < sockets.size() && sockets[stand].connected(); ++stand) {
    }
    if (stand < sockets.size() && sockets[stand].error())
      throw std::system_error(sockets[stand].error(), "connect");
    return stand == args.connections;
  });
  const double took = seconds_since(start);
  std::printf("client: %zu connects in %.2f s, %.0f a second\n", args.connections, took,
              static_cast<double>(args.connections) / took);
}

/// What is said on each connection comes back. Unread bytes take an mbuf at least, so only some
/// talk at a time.
void talk(nd::runtime& rt, std::vector<nd::socket>& sockets, const arguments& args) {
  struct one {
    std::size_t socket;
    std::size_t written = 0, read = 0;
  };
  const std::size_t most = std::clamp<std::size_t>((4 << 20) / args.message, 1, in_flight_most);
  std::vector<std::byte> buffer(args.message);
  std::vector<one> talking;
  std::size_t next = 0;
  const auto step = [&](one& o) {
    nd::socket& s = sockets[o.socket];
    std::error_code ec;
    if (o.written < args.message) {
      const auto rest = std::span(buffer).subspan(o.written);
      for (std::size_t n = 0; n < rest.size(); ++n) rest[n] = byte_of(o.socket, o.written + n);
      o.written += s.write_some(rest, ec);
      check_would_block(ec);
    }
    if (s.available() == 0) return false;
    const std::size_t n = s.read_some(buffer, ec);
    check_would_block(ec);
    check(o.read + n <= args.message, "more than was sent");
    for (std::size_t at = 0; at < n; ++at)
      check(buffer[at] == byte_of(o.socket, o.read + at), "a wrong answer");
    o.read += n;
    return o.read == args.message;
  };
  const auto start = clock::now();
  poll_until(rt, "exchange", [&] {
    while (next < sockets.size() && talking.size() < most) talking.push_back({next++, 0, 0});
    std::erase_if(talking, step);
    return talking.empty() && next == sockets.size();
  });
  std::printf("client: %zu bytes to and fro on each in %.2f s\n", args.message,
              seconds_since(start));
}

void ask(const std::filesystem::path& dir, const arguments& args) {
  accountant memory("client", args.connections, args.most_bytes);
  auto rt = make_runtime(false, dir, args);
  memory.runtime_stands();
  std::vector<nd::socket> sockets;
  sockets.reserve(args.connections);
  connect_all(*rt, sockets, args);
  memory.report("idle, new");
  talk(*rt, sockets, args);
  poll_for(*rt, std::chrono::milliseconds(500));
  memory.report("idle, used");
  const auto start = clock::now();
  // In the order in which the server looks for ends.
  while (!sockets.empty()) sockets.pop_back();
  std::printf("client: %zu closes in %.2f s\n", args.connections, seconds_since(start));
}

int end(bool server, const std::filesystem::path& dir, const arguments& args) {
  try {
    server ? serve(dir, args) : ask(dir, args);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "nd-scale: %s: %s\n", server ? "server" : "client", e.what());
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  arguments args;
  if (argc > 1) args.connections = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2) args.most_bytes = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) args.message = std::strtoull(argv[3], nullptr, 10);
  if (argc > 4 || args.message == 0 || args.connections == 0 || args.connections > 1'000'000) {
    std::fputs("usage: nd-scale [CONNECTIONS [MOST_BYTES [MESSAGE_BYTES]]]\n", stderr);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::string folder = std::filesystem::temp_directory_path() / "nd-scale-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const auto started = clock::now();
  const pid_t server = fork();
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(end(true, folder, args));
  }
  const pid_t client = fork();
  if (client == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(end(false, folder, args));
  }
  bool good = true;
  for (int left = 2; left > 0; --left) {
    int status = 0;
    const pid_t ended = wait(&status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    // The other one would wait for it.
    if (good) kill(ended == server ? client : server, SIGKILL);
    good = false;
  }
  std::filesystem::remove_all(folder);
  remove_eal_folders(folder);
  std::printf("nd-scale: %zu connections, %.1f s: %s\n", args.connections, seconds_since(started),
              good ? "passed" : "FAILED");
  return good ? 0 : 1;
}
