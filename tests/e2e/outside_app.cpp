// An app outside the tree: the README's program, word for word. Built by tests/install_test.
// clang-format off
#include <nd/nd.hpp>
#include <array>
int main(int argc, char** argv) {
  nd::runtime rt(argc, argv);             // EAL options, "--", ND options; the rest in rt.args()
  nd::acceptor acceptor(rt, nd::endpoint(nd::any_address, 4000));
  nd::socket s = acceptor.accept();
  std::array<std::byte, 65536> buffer;
  std::error_code ec;
  while (std::size_t n = s.read_some(buffer, ec)) nd::write(s, std::span(buffer).first(n), ec);
  return ec && ec != nd::errc::eof;
}
