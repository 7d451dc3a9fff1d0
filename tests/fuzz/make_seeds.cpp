// fuzz-seeds: inputs for the fuzzers from the simulator's traffic.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "fuzz/pools.hpp"
#include "sim/simulation.hpp"

namespace nd::fuzz {
namespace {

namespace fs = std::filesystem;
using bytes = std::vector<std::byte>;

constexpr std::size_t most_frames = 24;   ///< of a run, from its start
constexpr std::size_t most_size = 400;    ///< of a frame: larger ones hold bytes of streams
constexpr std::size_t most_packets = 12;  ///< in a channel's input

void put(bytes& to, std::uint64_t value, std::size_t size) {
  for (; size > 0; --size, value >>= 8) to.push_back(static_cast<std::byte>(value));
}
void put(bytes& to, std::span<const std::byte> what) {
  to.insert(to.end(), what.begin(), what.end());
}

void save(const fs::path& file, const bytes& what) {
  fs::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(what.data()), static_cast<std::streamsize>(what.size()));
  if (!out)
    throw fs::filesystem_error("can't be written", file,
                               std::error_code(errno, std::generic_category()));
}

/// One run's frames, in the forms that the targets read.
class recorder {
 public:
  recorder(fs::path folder, std::string name, bool udp)
      : folder_(std::move(folder)), name_(std::move(name)), udp_(udp) {
    put(host_, udp ? 1 : 0, 1);
    put(host_, 0xff, 1);  // with connections
  }

  void see(test::made_frame& f) {
    if (f.bytes.size() > most_size) return;
    const std::string kind = f.is_arp() ? "arp" : std::to_string(unsigned(f.header().kind));
    if (bytes& b = parse_[kind]; b.empty()) {
      put(b, 1, 1);  // any_frame, sealed
      put(b, udp_ ? 1 : 0, 1);
      put(b, f.bytes);
    }
    if (frames_++ < most_frames) {
      put(host_, 1, 1);   // to host 1
      put(host_, 14, 1);  // raw_frame
      put(host_, f.is_arp() || wire::is_handshake(f.header().kind) ? 0 : 3, 1);
      put(host_, f.bytes.size(), 2);
      put(host_, f.bytes);
      put(host_, 0, 2);  // run
      put(host_, 1, 1);
    }
    if (!f.is_arp()) for_channel(f);
  }

  void write() const {
    for (const auto& [kind, b] : parse_) save(folder_ / "parse" / (name_ + "-" + kind), b);
    save(folder_ / "host" / name_, host_);
    for (const auto& [tag, c] : channels_)
      save(folder_ / "channel" / (name_ + "-" + std::to_string(tag)), c.what);
  }

 private:
  struct recorded {
    bytes what;
    std::size_t packets = 0;
  };

  /// The packets that one end of a channel got, each after something that it sends.
  void for_channel(test::made_frame& f) {
    const wire::channel_header& h = f.header();
    if (!wire::has_records(h.kind) || h.kind == wire::packet_kind::close) return;
    if (channels_.size() >= 3 && !channels_.contains(h.tag)) return;
    recorded& r = channels_[h.tag];
    if (r.what.empty()) {
      put(r.what, udp_ ? 4 : 0, 1);
      put(r.what, h.ack, 4);
      put(r.what, h.number, 4);
      put(r.what, 0, 1);  // accept
      put(r.what, 1500, 2);
      put(r.what, 0, 2);  // flags, what the device keeps
    }
    if (++r.packets > most_packets) return;
    put(r.what, 0x0201, 2);  // queue_small
    put(r.what, 0x0802, 2);  // send
    put(r.what, 0, 1);
    put(r.what, 5, 1);  // raw_packet
    put(r.what, f.packet().size(), 2);
    put(r.what, f.packet());
    if (h.kind == wire::packet_kind::data) put(r.what, 0, 2);
    put(r.what, 3, 1);  // advance
    put(r.what, 1000, 2);
    put(r.what, 4, 1);
  }

  fs::path folder_;
  std::string name_;
  bool udp_;
  std::map<std::string, bytes> parse_;
  bytes host_;
  std::size_t frames_ = 0;
  std::map<std::uint32_t, recorded> channels_;
};

int run(const fs::path& folder, std::uint64_t seeds) {
  for (const std::string_view profile : sim::profiles) {
    if (profile == "many") continue;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      const sim::scenario s = sim::draw_scenario(profile, seed);
      recorder r(folder, std::string(profile) + "-" + std::to_string(seed), s.udp);
      sim::trace t;
      sim::simulation simulation(s, t);
      simulation.net().wire.on_frame = [&](test::made_frame& f, test::frame_fate&) { r.see(f); };
      simulation.run();
      r.write();
    }
  }
  return 0;
}

}  // namespace
}  // namespace nd::fuzz

int main(int argc, char** argv) {
  const long seeds = argc == 3 ? std::strtol(argv[2], nullptr, 10) : 0;
  if (seeds < 1 || seeds > 1000) {
    std::fprintf(stderr,
                 "usage: %s FOLDER SEEDS   (1 to 1000 of each profile; inputs go to FOLDER/parse, "
                 "FOLDER/channel and FOLDER/host)\n",
                 argv[0]);
    return 2;
  }
  nd::fuzz::start_eal("fuzz-seeds");
  try {
    return nd::fuzz::run(argv[1], static_cast<std::uint64_t>(seeds));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 1;
  }
}
