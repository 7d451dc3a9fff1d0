#include "pmd_glue/memif_args.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using nd::pmd::memif_address;
using nd::pmd::memif_args;
using nd::pmd::memif_role;
using nd::pmd::parse_memif_vdev;
using nd::pmd::prepare_memif_servers;
using nd::pmd::remove_stale_socket;
using nd::pmd::stale_socket;

namespace {

class temp_directory {
 public:
  temp_directory() {
    path_ = std::filesystem::temp_directory_path() / "memif_args.XXXXXX";
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~temp_directory() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A socket file at `path`, as the PMD makes it. Closed, it is what a killed server leaves.
class bound_socket {
 public:
  explicit bound_socket(const std::string& path, int type = SOCK_SEQPACKET) {
    fd_ = ::socket(AF_UNIX, type, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~bound_socket() { ::close(fd_); }
  bool has_visitor() const {
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    return ::poll(&readable, 1, 0) != 0;
  }
  void listen(int backlog) { REQUIRE(::listen(fd_, backlog) == 0); }

 private:
  int fd_;
};

void leave_stale(const std::string& path) {
  bound_socket{path};
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

}  // namespace

TEST_CASE("a memif vdev that says nothing has the PMD's defaults", "[memif_args]") {
  const auto args = parse_memif_vdev("net_memif0");
  REQUIRE(args.has_value());
  CHECK(args->name == "net_memif0");
  CHECK(args->role == memif_role::client);
  CHECK(args->socket == "/run/memif.sock");
  CHECK(args->socket_abstract);
  CHECK(args->id == 0);
  CHECK(args->bsize == 2048);
  CHECK_FALSE(args->leaves_a_file());
}

TEST_CASE("every key that matters to us is read", "[memif_args]") {
  const auto args = parse_memif_vdev(
      "net_memif_a,role=server,id=7,bsize=9216,rsize=11,socket=/tmp/x.sock,socket-abstract=no,"
      "mac=02:00:00:00:00:01,zero-copy=no,secret=s=t");
  REQUIRE(args.has_value());
  CHECK(*args == memif_args{.name = "net_memif_a",
                            .role = memif_role::server,
                            .socket = "/tmp/x.sock",
                            .socket_abstract = false,
                            .id = 7,
                            .bsize = 9216,
                            .rsize = 11,
                            .secret = "s=t"});
  CHECK(args->leaves_a_file());
}

TEST_CASE("values are read as the PMD reads them", "[memif_args]") {
  CHECK(parse_memif_vdev("net_memif0,role=master")->role == memif_role::server);
  CHECK(parse_memif_vdev("net_memif0,role=slave")->role == memif_role::client);
  CHECK(parse_memif_vdev("net_memif0,id=1,id=2")->id == 2);
  CHECK(parse_memif_vdev("net_memif0,id=x")->id == 0);
  CHECK(parse_memif_vdev("net_memif0,bsize=0")->bsize == 2048);
  CHECK(parse_memif_vdev("net_memif0,bsize=65535")->bsize == 65535);
  CHECK(parse_memif_vdev("net_memif0,bsize=65536")->bsize == 2048);
  CHECK(parse_memif_vdev("net_memif0,,role")->role == memif_role::client);
}

TEST_CASE("a client leaves no file, and neither does an abstract server", "[memif_args]") {
  CHECK_FALSE(parse_memif_vdev("net_memif0,role=client,socket-abstract=no")->leaves_a_file());
  CHECK_FALSE(parse_memif_vdev("net_memif0,role=server")->leaves_a_file());
  CHECK_FALSE(parse_memif_vdev("net_memif0,role=server,socket-abstract=yes")->leaves_a_file());
}

TEST_CASE("other devices are not memif", "[memif_args]") {
  CHECK_FALSE(parse_memif_vdev("").has_value());
  CHECK_FALSE(parse_memif_vdev("net_tap0,iface=x").has_value());
  CHECK_FALSE(parse_memif_vdev("net_ring0,net_memif0").has_value());
}

TEST_CASE("an address is a path, or a NUL and a name whose length counts", "[memif_args]") {
  sockaddr_un address{};
  memif_args args{.name = "net_memif0", .socket = "/tmp/x"};
  CHECK(memif_address(args, address) == offsetof(sockaddr_un, sun_path) + 1 + 6);
  CHECK(address.sun_path[0] == '\0');
  CHECK(std::string(address.sun_path + 1) == "/tmp/x");

  args.socket_abstract = false;
  CHECK(memif_address(args, address) == sizeof(address));
  CHECK(std::string(address.sun_path) == "/tmp/x");

  args.socket = std::string(sizeof(address.sun_path) - 1, 'x');
  CHECK(memif_address(args, address) == sizeof(address));
  args.socket += 'x';
  CHECK(memif_address(args, address) == 0);
  args.socket.clear();
  CHECK(memif_address(args, address) == 0);
}

TEST_CASE("only a socket that nobody has is removed", "[memif_args]") {
  const temp_directory directory;
  const std::string path = directory.file("memif.sock");

  SECTION("missing") {
    CHECK(remove_stale_socket(path) == stale_socket::missing);
    CHECK(remove_stale_socket(directory.file("no/such/directory")) == stale_socket::missing);
    CHECK(remove_stale_socket("") == stale_socket::missing);
  }
  SECTION("a regular file") {
    std::ofstream(path) << "precious";
    CHECK(remove_stale_socket(path) == stale_socket::not_a_socket);
    CHECK(exists(path));
    CHECK(remove_stale_socket(path + "/below") == stale_socket::missing);
  }
  SECTION("a directory") {
    CHECK(remove_stale_socket(directory.file("")) == stale_socket::not_a_socket);
  }
  SECTION("a link to a stale socket: neither is touched") {
    const std::string target = directory.file("target");
    leave_stale(target);
    std::filesystem::create_symlink(target, path);
    CHECK(remove_stale_socket(path) == stale_socket::not_a_socket);
    CHECK(exists(path));
    CHECK(exists(target));
  }
  SECTION("what a killed server leaves") {
    leave_stale(path);
    CHECK(remove_stale_socket(path) == stale_socket::removed);
    CHECK_FALSE(exists(path));
    CHECK(remove_stale_socket(path) == stale_socket::missing);
  }
  SECTION("a live server, which does not notice the question") {
    bound_socket server(path);
    CHECK(remove_stale_socket(path) == stale_socket::in_use);  // bound, and about to listen
    server.listen(1);
    for (int i = 0; i < 4; ++i) CHECK(remove_stale_socket(path) == stale_socket::in_use);
    CHECK(exists(path));
    CHECK_FALSE(server.has_visitor());
  }
  SECTION("a live socket of another type") {
    const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM);
    bound_socket server(path, type);
    CHECK(remove_stale_socket(path) == stale_socket::in_use);
    if (type == SOCK_STREAM) server.listen(1);
    CHECK(remove_stale_socket(path) == stale_socket::in_use);
    CHECK(exists(path));
  }
  SECTION("a name that no socket can have") {
    CHECK(remove_stale_socket(directory.file(std::string(200, 'x'))) == stale_socket::missing);
  }
}

TEST_CASE("each memif server in the EAL arguments is prepared", "[memif_args]") {
  const temp_directory directory;
  const auto stale = [&](const std::string& name) {
    leave_stale(directory.file(name));
    return directory.file(name);
  };
  const std::string joined = stale("joined");
  const std::string apart = stale("apart");
  const std::string client = stale("client");
  const std::string abstract = stale("abstract");
  const std::string behind = stale("behind");
  const std::string server = "net_memif0,role=server,socket-abstract=no,socket=";
  const std::vector<std::string> words{
      "app",
      "-l",
      "0",
      "--vdev=" + server + joined,
      "--vdev",
      server + apart,
      "--vdev=net_memif2,role=client,socket-abstract=no,socket=" + client,
      "--vdev=net_memif3,role=server,socket=" + abstract,
      "--vdevs=" + server + client,
      "--",
      "--vdev=" + server + behind,
      "--vdev"};
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());

  CHECK(prepare_memif_servers(argv) == 2);
  CHECK_FALSE(exists(joined));
  CHECK_FALSE(exists(apart));
  CHECK(exists(client));
  CHECK(exists(abstract));
  CHECK(exists(behind));
  CHECK(prepare_memif_servers(argv) == 0);
}

TEST_CASE("an option without its value ends the arguments", "[memif_args]") {
  const std::vector<const char*> argv{"app", "--vdev"};
  CHECK(prepare_memif_servers(argv) == 0);
  CHECK(prepare_memif_servers({}) == 0);
}
