// Two hosts over memif: the command lines of the programs under test.
#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "process.hpp"

namespace nd::e2e {

using words = std::vector<std::string>;

inline std::string program(const char* variable) {
  const char* path = std::getenv(variable);
  if (path == nullptr) FAIL(variable << " must name the program under test");
  return path;
}

/// The CPU of a host: one each where there are two.
std::string cpu_list(bool server);

/// On a machine that is shared, a host may stand still for longer than a quarter of the default.
inline const words patient{"--set", "peer_timeout=10s"};

/// One folder with one memif socket, and the arguments of both ends.
class memif_pair {
 public:
  /// `options` of both.
  explicit memif_pair(words options = patient) : options_(std::move(options)) {}

  /// `server`: the memif role, which says nothing about who listens.
  words command(const char* variable, bool server, const words& arguments,
                const std::string& lcores = "") const {
    words w{program(variable)};
    const std::string cpu = server ? "0" : "1";
    const words eal{"--lcores",
                    lcores.empty() ? "0@" + cpu_list(server) : lcores,
                    "--no-huge",
                    "-m",
                    "256",
                    "--no-pci",
                    "--no-telemetry",
                    "--file-prefix",
                    "nd-e2e-" + dir_.path().filename().string() + cpu,
                    "--log-level",
                    "lib.eal:error",
                    "--vdev=net_memif0,role=" + std::string(server ? "server" : "client") +
                        ",socket=" + (dir_ / "memif.sock").string() +
                        ",socket-abstract=no,bsize=9216",
                    "--",
                    "--ip",
                    server ? "10.19.0.1/24" : "10.19.0.2/24"};
    for (const words* more : {&eal, &options_, &arguments})
      w.insert(w.end(), more->begin(), more->end());
    return w;
  }
  static std::string address(bool server) { return server ? "10.19.0.1" : "10.19.0.2"; }

  std::filesystem::path file(const std::string& name) const { return dir_ / name; }

 private:
  words options_;
  temp_dir dir_;
};

/// A clean end: the status that was expected, and no mbuf missing from a pool.
inline void check_end(process& p, int expected, const std::filesystem::path& err) {
  const int status = p.wait();
  INFO(read_file(err));
  CHECK(status == expected);
  CHECK(read_file(err).find("mbufs are missing") == std::string::npos);
}

}  // namespace nd::e2e
